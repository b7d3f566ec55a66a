//! The guard: what the organization and its projects set is the ceiling.
//!
//! The links, sharing, mandatory credentials and usability that the organization and its
//! projects set are the ceiling; a policy may refuse, or choose and reorder among the
//! usable credentials of the search, nothing else.
//!
//! These are rules 1, 3, 5, 6 and 7 of the default policy, and rule 2 for the model that
//! rule 7 asks about. They are decided here from the facts alone, by code that shares
//! nothing with any policy, for the grant and its alternates alike.

use crate::{CredentialFacts, Decision, Facts, Grant, Inheritance, Outcome, ScopeFacts, Sharing};
use entail_text::Shown;
use wildmatch::{WildMatch, WildMatchPattern};

/// What a policy did that it may not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {how}")]
pub struct Violation {
    what: String,
    how: &'static str,
}

impl Violation {
    /// `what` is the policy's own text.
    fn new(what: &str, how: &'static str) -> Self {
        let what = Shown::of(what).to_string();
        Violation { what, how }
    }
}

/// Returns the decision, unless it grants what is above the ceiling. A refusal never is.
///
/// # Errors
///
/// [`Violation`] names what the policy may not grant, and why.
pub fn enforce(facts: &Facts, decision: Decision) -> Result<Decision, Violation> {
    if let Outcome::Granted(grant) = &decision.outcome {
        check(facts, grant)?;
    }
    Ok(decision)
}

fn check(facts: &Facts, grant: &Grant) -> Result<(), Violation> {
    let ceiling = Ceiling::of(facts);
    if ceiling.model != grant.model.as_deref() {
        let model = grant.model.as_deref().unwrap_or("no model");
        return Err(Violation::new(model, "is not the effective model"));
    }
    let mut seen: Vec<&str> = Vec::with_capacity(1 + grant.alternates.len());
    for id in std::iter::once(&grant.credential).chain(&grant.alternates) {
        if seen.contains(&id.as_str()) {
            return Err(Violation::new(id, "is named twice"));
        }
        seen.push(id);
        ceiling.check(id).map_err(|how| Violation::new(id, how))?;
    }
    Ok(())
}

/// What the facts allow at most. A level is how far up the chain a scope is: 0 is the
/// requesting one.
struct Ceiling<'a> {
    facts: &'a Facts,
    requesting: &'a str,
    /// The effective model.
    model: Option<&'a str>,
    /// How many levels are reachable.
    reachable: usize,
    /// The farthest level with a mandatory credential that is shared with the
    /// requesting scope.
    mandating: Option<usize>,
    /// How many levels the search visits.
    searched: usize,
}

impl<'a> Ceiling<'a> {
    fn of(facts: &'a Facts) -> Self {
        let chain = &facts.chain;
        let links = chain
            .iter()
            .take_while(|scope| scope.inheritance != Inheritance::Isolated);
        let reachable = chain.len().min(1 + links.count());
        let requesting = chain.first().map_or("", |scope| scope.path.as_str());
        let mandates = |scope: &ScopeFacts| {
            let mut credentials = scope.credentials.iter();
            credentials.any(|c| c.mandatory && is_shared(&c.sharing, requesting))
        };
        let defaults = chain.iter().take(reachable);
        let mut ceiling = Ceiling {
            facts,
            requesting,
            model: match &facts.request.model {
                Some(model) => Some(model),
                None => defaults
                    .into_iter()
                    .find_map(|s| s.default_model.as_deref()),
            },
            reachable,
            mandating: (1..chain.len())
                .rev()
                .find(|level| chain.get(*level).is_some_and(mandates)),
            searched: reachable,
        };
        let last = chain
            .iter()
            .enumerate()
            .take(reachable)
            .find(|(level, scope)| {
                let visible = |credential| ceiling.hidden(*level, credential).is_none();
                scope.inheritance != Inheritance::FallBack && scope.credentials.iter().any(visible)
            });
        if let Some((level, _)) = last {
            ceiling.searched = level + 1;
        }
        ceiling
    }

    /// Fails with the reason for which the credential of that id may not be granted.
    fn check(&self, id: &str) -> Result<(), &'static str> {
        let chain = self.facts.chain.iter().enumerate();
        let mut holders = chain.flat_map(|(level, scope)| {
            let of_id = scope.credentials.iter().filter(|c| c.id == id);
            of_id.map(move |credential| (level, credential))
        });
        let (level, credential) = match (holders.next(), holders.next()) {
            (None, _) => return Err("was not offered"),
            (Some(_), Some(_)) => return Err("is the id of several credentials"),
            (Some(holder), None) => holder,
        };
        if self.mandating.is_some_and(|level| level >= self.reachable) {
            return Err(
                "is granted although a mandatory credential is beyond a scope that has not opted in",
            );
        }
        if let Some(reason) = self.hidden(level, credential) {
            return Err(reason);
        }
        if level >= self.searched {
            return Err("is above a scope with credentials of its own that does not fall back");
        }
        match self.unusable(credential) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    /// Why a credential is not eligible to be found (rules 1, 3 and 5); `None` if it is.
    fn hidden(&self, level: usize, credential: &CredentialFacts) -> Option<&'static str> {
        if level >= self.reachable {
            return Some("is beyond a scope that has not opted in");
        }
        if level > 0 && !is_shared(&credential.sharing, self.requesting) {
            return Some("is not shared with the requesting scope");
        }
        if self.mandating.is_some_and(|mandating| level < mandating) {
            return Some("is overridden by a mandatory credential");
        }
        let named = self.facts.request.credential.as_ref();
        if named.is_some_and(|name| *name != credential.name) {
            return Some("is not the credential that the request names");
        }
        None
    }

    /// Why a credential cannot be used (rule 7); `None` if it can.
    fn unusable(&self, credential: &CredentialFacts) -> Option<&'static str> {
        if !credential.enabled {
            return Some(DISABLED);
        }
        if !credential.readable {
            return Some(UNREADABLE);
        }
        let now_ms = self.facts.request.now_ms;
        if credential.expires_at_ms.is_some_and(|end| now_ms >= end) {
            return Some(EXPIRED);
        }
        let is_allowed = match (&credential.models, self.model) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(patterns), Some(model)) => patterns
                .iter()
                .any(|pattern| WildMatch::new(pattern).matches(model)),
        };
        (!is_allowed).then_some(OTHER_MODEL)
    }
}

/// Whether the facts, and not a policy's own reasons, make a credential unusable for the
/// reason that has this code in the default policy (rule 7).
pub fn is_unusable_for(facts: &Facts, credential: &CredentialFacts, code: &str) -> bool {
    let ceiling = Ceiling::of(facts);
    let reason = ceiling.unusable(credential);
    match code {
        "disabled" => reason == Some(DISABLED),
        "unreadable" => reason == Some(UNREADABLE),
        "expired" => reason == Some(EXPIRED),
        "model-required" => reason == Some(OTHER_MODEL) && ceiling.model.is_none(),
        "model-not-allowed" => reason == Some(OTHER_MODEL),
        _ => false,
    }
}

const DISABLED: &str = "is disabled";
const UNREADABLE: &str = "cannot be read";
const EXPIRED: &str = "has expired";
const OTHER_MODEL: &str = "does not allow the model";

fn is_shared(sharing: &Sharing, requesting: &str) -> bool {
    let segments: Vec<&str> = requesting.split('/').collect();
    match sharing {
        Sharing::All => true,
        Sharing::None => false,
        Sharing::Paths(patterns) => patterns
            .iter()
            .any(|pattern| path_matches(&pattern.split('/').collect::<Vec<_>>(), &segments)),
    }
}

/// A path has at most eight segments, so recursion is shallow.
fn path_matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) if rest.first() == Some(&"**") => path_matches(rest, path),
        (Some((&"**", rest)), here) => {
            path_matches(rest, path) || here.is_some_and(|(_, below)| path_matches(pattern, below))
        }
        (Some((segment, rest)), Some((name, below))) => {
            // No character stands for "any one" in a path.
            WildMatchPattern::<'*', '\0'>::new(segment).matches(name) && path_matches(rest, below)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        serde_json::from_str(
            r#"{
                "request": {"provider": "openai", "model": "gpt-5", "now_ms": 1000},
                "chain": [
                    {"path": "acme/a/b", "inheritance": "fall-back", "credentials": [
                        {"id": "own", "name": "default", "sharing": "none"},
                        {"id": "off", "name": "off", "enabled": false},
                        {"id": "unreadable", "name": "unreadable", "readable": false},
                        {"id": "expired", "name": "expired", "expires_at_ms": 1000},
                        {"id": "other-model", "name": "other-model", "models": ["claude-*"]}
                    ]},
                    {"path": "acme/a", "inheritance": "isolated", "credentials": [
                        {"id": "shared", "name": "shared", "sharing": {"paths": ["acme/**/b"]}},
                        {"id": "shared-deep", "name": "shared-deep", "sharing": {"paths": ["**"]}},
                        {"id": "shared-near", "name": "shared-near", "sharing": {"paths": ["acme/a/**/b"]}},
                        {"id": "unshared", "name": "unshared", "sharing": "none"},
                        {"id": "for-others", "name": "for-others", "sharing": {"paths": ["acme/*"]}}
                    ]},
                    {"path": "acme", "credentials": [{"id": "beyond", "name": "beyond"}]}
                ]
            }"#,
        )
        .unwrap()
    }

    fn grant(credential: &str, alternates: &[&str], model: Option<&str>) -> Grant {
        Grant {
            credential: credential.to_owned(),
            alternates: alternates.iter().map(|id| (*id).to_owned()).collect(),
            model: model.map(str::to_owned),
        }
    }

    fn violation(facts: &Facts, grant: &Grant) -> String {
        check(facts, grant).unwrap_err().to_string()
    }

    #[test]
    fn a_code_is_a_policys_own_where_the_facts_do_not_bear_it_out() {
        let facts = facts();
        let holds = |id: &str, code: &str| {
            let mut credentials = facts.chain.iter().flat_map(|scope| &scope.credentials);
            let credential = credentials.find(|credential| credential.id == id).unwrap();
            is_unusable_for(&facts, credential, code)
        };
        for (id, code) in [
            ("off", "disabled"),
            ("unreadable", "unreadable"),
            ("expired", "expired"),
            ("other-model", "model-not-allowed"),
        ] {
            assert!(holds(id, code), "{code}");
            assert!(!holds("own", code), "{code}");
            assert!(!holds(id, "closed-for-now"), "{code}");
        }
        assert!(!holds("other-model", "model-required"));
    }

    #[test]
    fn the_usable_credentials_of_the_search_pass_in_any_order() {
        let all = ["own", "shared", "shared-deep", "shared-near"];
        for first in all {
            let others: Vec<&str> = all.into_iter().rev().filter(|id| *id != first).collect();
            let granted = grant(first, &others, Some("gpt-5"));
            assert_eq!(check(&facts(), &granted), Ok(()));
            assert_eq!(check(&facts(), &grant(first, &[], Some("gpt-5"))), Ok(()));
        }
    }

    #[test]
    fn whatever_would_widen_is_stopped_with_its_reason() {
        for (id, how) in [
            ("forged", "was not offered"),
            ("", "was not offered"),
            ("off", "is disabled"),
            ("unreadable", "cannot be read"),
            ("expired", "has expired"),
            ("other-model", "does not allow the model"),
            ("unshared", "is not shared with the requesting scope"),
            ("for-others", "is not shared with the requesting scope"),
            ("beyond", "is beyond a scope that has not opted in"),
        ] {
            for grant in [
                grant(id, &[], Some("gpt-5")),
                grant("own", &[id], Some("gpt-5")),
            ] {
                let violation = check(&facts(), &grant).unwrap_err();
                assert_eq!(violation, Violation::new(id, how));
            }
        }
        assert!(check(&facts(), &grant("own", &["own"], Some("gpt-5"))).is_err());
    }

    #[test]
    fn a_parent_pays_only_where_the_project_has_none_of_its_own_or_falls_back() {
        let shared = grant("shared", &[], Some("gpt-5"));
        let mut facts = facts();
        assert_eq!(check(&facts, &shared), Ok(()));
        facts.chain[0].inheritance = Inheritance::Inherit;
        let how = "is above a scope with credentials of its own that does not fall back";
        assert_eq!(violation(&facts, &shared), format!("shared {how}"));
        // A broken own key is one of its own.
        facts.chain[0]
            .credentials
            .retain(|credential| credential.id == "off");
        assert_eq!(violation(&facts, &shared), format!("shared {how}"));
        // One of another name is none of those that the request asks for.
        facts.request.credential = Some("shared".to_owned());
        assert_eq!(check(&facts, &shared), Ok(()));
        facts.request.credential = None;
        facts.chain[0].credentials.clear();
        assert_eq!(check(&facts, &shared), Ok(()));
    }

    #[test]
    fn a_mandatory_credential_overrides_all_that_are_nearer() {
        let mut facts = facts();
        let own = grant("own", &[], Some("gpt-5"));
        facts.chain[1].credentials[0].mandatory = true;
        let how = "is overridden by a mandatory credential";
        assert_eq!(violation(&facts, &own), format!("own {how}"));
        assert_eq!(check(&facts, &grant("shared", &[], Some("gpt-5"))), Ok(()));
        // Also when it is of no use itself.
        facts.chain[1].credentials[0].enabled = false;
        assert_eq!(violation(&facts, &own), format!("own {how}"));
        assert_eq!(
            check(&facts, &grant("shared-deep", &[], Some("gpt-5"))),
            Ok(())
        );
        // Not when it is not shared, or the requesting scope's own.
        facts.chain[1].credentials[0].sharing = Sharing::None;
        facts.chain[0].credentials[0].mandatory = true;
        assert_eq!(check(&facts, &own), Ok(()));
        // Beyond a scope that has not opted in, it lets nothing be granted at all.
        facts.chain[2].credentials[0].mandatory = true;
        for id in ["own", "shared-deep", "beyond"] {
            let violation = violation(&facts, &grant(id, &[], Some("gpt-5")));
            assert!(
                violation.contains("although a mandatory credential"),
                "{violation}"
            );
        }
    }

    #[test]
    fn the_model_is_the_effective_one() {
        assert!(check(&facts(), &grant("own", &[], Some("gpt-6"))).is_err());
        assert!(check(&facts(), &grant("own", &[], None)).is_err());
        let mut open = facts();
        open.request.model = None;
        assert!(check(&open, &grant("own", &[], None)).is_ok());
        assert!(check(&open, &grant("own", &[], Some("gpt-5"))).is_err());
        open.chain[1].default_model = Some("near".to_owned());
        open.chain[2].default_model = Some("beyond".to_owned());
        assert!(check(&open, &grant("own", &[], Some("near"))).is_ok());
        assert!(check(&open, &grant("own", &[], Some("beyond"))).is_err());
        assert!(check(&open, &grant("own", &[], None)).is_err());
        open.chain[0].default_model = Some("nearest".to_owned());
        assert!(check(&open, &grant("own", &[], Some("near"))).is_err());
    }

    #[test]
    fn the_named_credential_is_the_only_one() {
        let mut named = facts();
        named.request.credential = Some("shared".to_owned());
        assert!(check(&named, &grant("shared", &[], Some("gpt-5"))).is_ok());
        assert!(check(&named, &grant("own", &[], Some("gpt-5"))).is_err());
    }

    #[test]
    fn an_id_that_is_not_one_credential_s_names_none() {
        let mut twice = facts();
        let own = twice.chain[0].credentials[0].clone();
        twice.chain[1].credentials.push(own);
        let how = "own is the id of several credentials";
        assert_eq!(violation(&twice, &grant("own", &[], Some("gpt-5"))), how);
    }
}
