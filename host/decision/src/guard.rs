//! The guard: rejects decisions that grant more than the facts allow.
//!
//! The inheritance, sharing, mandatory credentials and usability that the organization and
//! its projects set are the *ceiling*. A policy may refuse, or choose and reorder among the
//! usable credentials of the search; it can never grant others.
//!
//! The ceiling is rules 1, 3, 5, 6 and 7 of the default policy, and rule 2 for the model in
//! rule 7. It is computed from the facts alone, by code that is shared with no policy, and
//! applies to the granted credential and its alternates alike.
//!
//! ```
//! use entail_decision::{Decision, Facts, guard};
//!
//! // A project that inherits from its organization. Its own key is disabled.
//! let facts: Facts = serde_json::from_str(r#"{
//!     "request": {"provider": "openai", "now_ms": 1767225600000},
//!     "chain": [
//!         {"path": "acme/evals", "inheritance": "inherit", "credentials": [
//!             {"id": "own", "name": "default", "enabled": false}
//!         ]},
//!         {"path": "acme", "credentials": [{"id": "shared", "name": "default"}]}
//!     ]
//! }"#)?;
//! // Some policy grants the organization's key.
//! let decision: Decision = serde_json::from_str(
//!     r#"{"granted": {"credential": "shared"}, "trail": []}"#,
//! )?;
//! // But the project does not fall back: its own key ends the search.
//! let violation = guard::enforce(&facts, decision).unwrap_err();
//! assert_eq!(violation.code(), "outside-search");
//! assert_eq!(
//!     violation.to_string(),
//!     "shared is above a scope that has its own credentials and does not fall back",
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeSet;

use wildmatch::{WildMatch, WildMatchPattern};

pub use crate::violation::Violation;

use crate::violation::ViolationKind;
use crate::{CredentialFacts, Decision, Facts, Grant, Inheritance, Outcome, ScopeFacts, Sharing};

/// Returns the decision if it grants nothing above the ceiling. A refusal always passes.
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
        return Err(Violation::new(model, ViolationKind::WrongModel));
    }
    let mut seen: Vec<&str> = Vec::with_capacity(1 + grant.alternates.len());
    for id in std::iter::once(&grant.credential).chain(&grant.alternates) {
        if seen.contains(&id.as_str()) {
            return Err(Violation::new(id, ViolationKind::Duplicate));
        }
        seen.push(id);
        ceiling.check(id).map_err(|kind| Violation::new(id, kind))?;
    }
    Ok(())
}

/// The most that a decision may grant. A level is the position of a scope in the chain: 0 is
/// the requesting scope.
struct Ceiling<'a> {
    facts: &'a Facts,
    requesting: &'a str,
    /// The effective model.
    model: Option<&'a str>,
    /// The number of reachable levels.
    reachable: usize,
    /// The farthest level with a mandatory credential that is shared with the requesting
    /// scope.
    mandating: Option<usize>,
    /// The number of levels that the search visits.
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
                let visible = |credential| ceiling.check_visible(*level, credential).is_ok();
                scope.inheritance != Inheritance::FallBack && scope.credentials.iter().any(visible)
            });
        if let Some((level, _)) = last {
            ceiling.searched = level + 1;
        }
        ceiling
    }

    /// Checks that the credential with this id may be granted.
    fn check(&self, id: &str) -> Result<(), ViolationKind> {
        let chain = self.facts.chain.iter().enumerate();
        let mut holders = chain.flat_map(|(level, scope)| {
            let of_id = scope.credentials.iter().filter(|c| c.id == id);
            of_id.map(move |credential| (level, credential))
        });
        let (level, credential) = match (holders.next(), holders.next()) {
            (None, _) => return Err(ViolationKind::UnknownCredential),
            (Some(_), Some(_)) => return Err(ViolationKind::AmbiguousCredential),
            (Some(holder), None) => holder,
        };
        if self.mandating.is_some_and(|level| level >= self.reachable) {
            return Err(ViolationKind::MandatoryNotReachable);
        }
        self.check_visible(level, credential)?;
        if level >= self.searched {
            return Err(ViolationKind::OutsideSearch);
        }
        self.check_usable(credential)
    }

    /// Checks that the search can find a credential (rules 1, 3 and 5).
    fn check_visible(
        &self,
        level: usize,
        credential: &CredentialFacts,
    ) -> Result<(), ViolationKind> {
        if level >= self.reachable {
            return Err(ViolationKind::NotOptedIn);
        }
        if level > 0 && !is_shared(&credential.sharing, self.requesting) {
            return Err(ViolationKind::NotShared);
        }
        if self.mandating.is_some_and(|mandating| level < mandating) {
            return Err(ViolationKind::OverrideForbidden);
        }
        let named = self.facts.request.credential.as_ref();
        if named.is_some_and(|name| *name != credential.name) {
            return Err(ViolationKind::NameMismatch);
        }
        Ok(())
    }

    /// Checks that a credential is usable (rule 7).
    fn check_usable(&self, credential: &CredentialFacts) -> Result<(), ViolationKind> {
        if !credential.enabled {
            return Err(ViolationKind::Disabled);
        }
        if !credential.readable {
            return Err(ViolationKind::Unreadable);
        }
        let now_ms = self.facts.request.now_ms;
        if credential.expires_at_ms.is_some_and(|end| now_ms >= end) {
            return Err(ViolationKind::Expired);
        }
        let is_allowed = match (&credential.models, self.model) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(patterns), Some(model)) => patterns
                .iter()
                .any(|pattern| WildMatch::new(pattern).matches(model)),
        };
        if is_allowed {
            Ok(())
        } else {
            Err(ViolationKind::ModelNotAllowed)
        }
    }
}

/// Whether the facts make a credential unusable for the reason with this code of the default
/// policy (rule 7). `false` if the code is one that only the policy can explain.
pub fn is_unusable_for(facts: &Facts, credential: &CredentialFacts, code: &str) -> bool {
    let ceiling = Ceiling::of(facts);
    match ceiling.check_usable(credential) {
        Ok(()) => false,
        Err(ViolationKind::ModelNotAllowed) if code == "model-required" => ceiling.model.is_none(),
        Err(kind) => code == kind.code(),
    }
}

/// The ids of the credentials that the built-in policy can grant to some request of the requesting
/// scope, whatever its model, its credential name and its time. So nothing else is needed to serve
/// the scope from these facts, and few other secrets leave with them: a credential counts unless
/// one before it, in the order of rule 4, can always be used.
pub fn grantable(facts: &Facts) -> BTreeSet<&str> {
    let chain = facts.chain.iter();
    let credentials = chain.flat_map(|scope| &scope.credentials);
    // A name passes over scopes that have other credentials, so it can lead further.
    let names: BTreeSet<&String> = credentials.map(|credential| &credential.name).collect();
    let mut found = BTreeSet::new();
    let mut asked = facts.clone();
    for name in std::iter::once(None).chain(names.into_iter().map(Some)) {
        asked.request.credential = name.cloned();
        let ceiling = Ceiling::of(&asked);
        for credential in in_order(facts) {
            let is_granted = match ceiling.check(&credential.id) {
                Ok(()) => true,
                Err(kind) => kind == ViolationKind::ModelNotAllowed,
            };
            let allows_some = credential
                .models
                .as_ref()
                .is_none_or(|list| !list.is_empty());
            if is_granted && allows_some {
                found.insert(credential.id.as_str());
                if credential.models.is_none() && credential.expires_at_ms.is_none() {
                    break;
                }
            }
        }
    }
    found
}

/// All credentials in the order of rule 4.
fn in_order(facts: &Facts) -> Vec<&CredentialFacts> {
    let scopes = facts.chain.iter().map(|scope| {
        let mut credentials: Vec<&CredentialFacts> = scope.credentials.iter().collect();
        credentials.sort_by_key(|credential| (credential.priority, &credential.name));
        credentials
    });
    scopes.flatten().collect()
}

/// The number of scopes of the chain that the requesting scope reaches by inheritance (rule 1),
/// itself included.
pub fn reachable_scopes(facts: &Facts) -> usize {
    Ceiling::of(facts).reachable
}

/// Whether a credential is shared with the scope of this path.
pub fn is_shared(sharing: &Sharing, requesting: &str) -> bool {
    let segments: Vec<&str> = requesting.split('/').collect();
    match sharing {
        Sharing::All => true,
        Sharing::None => false,
        Sharing::Paths(patterns) => patterns
            .iter()
            .any(|pattern| path_matches(&pattern.split('/').collect::<Vec<_>>(), &segments)),
    }
}

/// A path has at most eight segments, so the recursion is shallow.
fn path_matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) if rest.first() == Some(&"**") => path_matches(rest, path),
        (Some((&"**", rest)), here) => {
            path_matches(rest, path) || here.is_some_and(|(_, below)| path_matches(pattern, below))
        }
        (Some((segment, rest)), Some((name, below))) => {
            // Path patterns have no character that matches any one character.
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
    fn a_code_holds_only_if_the_facts_confirm_it() {
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
    fn what_can_be_granted_depends_on_the_name_but_not_on_the_model() {
        let facts = facts();
        let found: Vec<&str> = grantable(&facts).into_iter().collect();
        assert_eq!(
            found,
            ["other-model", "own", "shared", "shared-deep", "shared-near"]
        );
        // Without falling back, the nearest scope that has the name ends the search.
        let mut ending = facts.clone();
        ending.chain[0].inheritance = Inheritance::Inherit;
        assert!(grantable(&ending).contains("shared"));
        ending.chain[1].credentials[0].name = "default".to_owned();
        assert!(!grantable(&ending).contains("shared"));
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
    fn a_grant_above_the_ceiling_is_a_violation_with_its_reason() {
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
                assert_eq!(violation.to_string(), format!("{id} {how}"));
            }
        }
        assert!(check(&facts(), &grant("own", &["own"], Some("gpt-5"))).is_err());
    }

    #[test]
    fn a_parents_credential_needs_a_project_that_has_none_or_falls_back() {
        let shared = grant("shared", &[], Some("gpt-5"));
        let mut facts = facts();
        assert_eq!(check(&facts, &shared), Ok(()));
        facts.chain[0].inheritance = Inheritance::Inherit;
        let how = "is above a scope that has its own credentials and does not fall back";
        assert_eq!(violation(&facts, &shared), format!("shared {how}"));
        // An unusable credential also ends the search.
        facts.chain[0]
            .credentials
            .retain(|credential| credential.id == "off");
        assert_eq!(violation(&facts, &shared), format!("shared {how}"));
        // A credential with another name than the request names does not.
        facts.request.credential = Some("shared".to_owned());
        assert_eq!(check(&facts, &shared), Ok(()));
        facts.request.credential = None;
        facts.chain[0].credentials.clear();
        assert_eq!(check(&facts, &shared), Ok(()));
    }

    #[test]
    fn a_mandatory_credential_overrides_all_nearer_ones() {
        let mut facts = facts();
        let own = grant("own", &[], Some("gpt-5"));
        facts.chain[1].credentials[0].mandatory = true;
        let how = "is overridden by a mandatory credential";
        assert_eq!(violation(&facts, &own), format!("own {how}"));
        assert_eq!(check(&facts, &grant("shared", &[], Some("gpt-5"))), Ok(()));
        // Also if it is unusable itself.
        facts.chain[1].credentials[0].enabled = false;
        assert_eq!(violation(&facts, &own), format!("own {how}"));
        assert_eq!(
            check(&facts, &grant("shared-deep", &[], Some("gpt-5"))),
            Ok(())
        );
        // Not if it is not shared, or belongs to the requesting scope.
        facts.chain[1].credentials[0].sharing = Sharing::None;
        facts.chain[0].credentials[0].mandatory = true;
        assert_eq!(check(&facts, &own), Ok(()));
        // If it is not reachable, no credential may be granted.
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
    fn an_id_of_several_credentials_is_a_violation() {
        let mut twice = facts();
        let own = twice.chain[0].credentials[0].clone();
        twice.chain[1].credentials.push(own);
        let how = "own is the id of several credentials";
        assert_eq!(violation(&twice, &grant("own", &[], Some("gpt-5"))), how);
    }
}
