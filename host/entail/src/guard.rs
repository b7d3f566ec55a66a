//! The host does not trust the policy.
//!
//! What a policy chose must have been offered, be usable, be shared with the
//! requesting scope, and be reachable through links that each scope in between
//! opted in to. This is written anew here, from the facts alone, and shares no
//! code with any policy: a policy can refuse or choose; it can never widen.

use entail_policy::{Credential, Decision, Facts, Grant, Inheritance, Outcome, Scope, Sharing};
use wildmatch::{WildMatch, WildMatchPattern};

/// What a policy did that it may not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {how}")]
pub struct Violation {
    what: String,
    how: &'static str,
}

impl Violation {
    fn new(what: &str, how: &'static str) -> Self {
        // The text is the policy's own; it is shown, so it is kept short and plain.
        let what: String = what.chars().filter(|c| !c.is_control()).take(64).collect();
        Violation { what, how }
    }
}

/// Lets a decision pass, unless it grants what goes beyond the facts. A refusal never
/// does.
pub(crate) fn pass(facts: &Facts, decision: Decision) -> Result<Decision, Violation> {
    if let Outcome::Granted(grant) = &decision.outcome {
        check(facts, grant)?;
    }
    Ok(decision)
}

/// Refuses a grant that goes beyond the facts.
fn check(facts: &Facts, grant: &Grant) -> Result<(), Violation> {
    check_model(facts, grant)?;
    let mut seen: Vec<&str> = Vec::with_capacity(1 + grant.alternates.len());
    for id in std::iter::once(&grant.credential).chain(&grant.alternates) {
        if seen.contains(&id.as_str()) {
            return Err(Violation::new(id, "is named twice"));
        }
        seen.push(id);
        check_one(facts, id, grant.model.as_deref())?;
    }
    Ok(())
}

/// The model is the request's, or one that a reachable scope sets.
fn check_model(facts: &Facts, grant: &Grant) -> Result<(), Violation> {
    let Some(model) = &grant.model else {
        return match facts.request.model {
            None => Ok(()),
            Some(_) => Err(Violation::new("the model of the request", "was dropped")),
        };
    };
    let known = match &facts.request.model {
        Some(requested) => requested == model,
        None => reachable(facts).any(|(_, scope)| scope.default_model.as_ref() == Some(model)),
    };
    if known {
        Ok(())
    } else {
        Err(Violation::new(
            model,
            "is not the model of the request or of a reachable scope",
        ))
    }
}

fn check_one(facts: &Facts, id: &str, model: Option<&str>) -> Result<(), Violation> {
    let holds = |scope: &Scope| {
        scope
            .credentials
            .iter()
            .any(|credential| credential.id == id)
    };
    let violation = |how| Err(Violation::new(id, how));
    let Some((depth, scope)) = reachable(facts).find(|(_, scope)| holds(scope)) else {
        return match facts.chain.iter().any(holds) {
            true => violation("is beyond a scope that has not opted in"),
            false => violation("was not offered"),
        };
    };
    let Some(credential) = scope
        .credentials
        .iter()
        .find(|credential| credential.id == id)
    else {
        return violation("was not offered");
    };
    let requesting = facts.chain.first().map_or("", |scope| scope.path.as_str());
    if depth > 0 && !shared(&credential.sharing, requesting) {
        return violation("is not shared with the requesting scope");
    }
    if facts
        .request
        .credential
        .as_ref()
        .is_some_and(|name| *name != credential.name)
    {
        return violation("is not the credential that the request names");
    }
    match unusable(credential, facts.request.now_ms, model) {
        Some(how) => violation(how),
        None => Ok(()),
    }
}

/// The scopes from the requesting one up, for as long as each opted in to the
/// next, with their distance.
fn reachable(facts: &Facts) -> impl Iterator<Item = (usize, &Scope)> {
    let mut opted_in = true;
    facts
        .chain
        .iter()
        .enumerate()
        .take_while(move |(_, scope)| {
            let reachable = opted_in;
            opted_in = scope.inheritance != Inheritance::Isolated;
            reachable
        })
}

fn unusable(credential: &Credential, now_ms: u64, model: Option<&str>) -> Option<&'static str> {
    if !credential.enabled {
        return Some("is disabled");
    }
    if !credential.readable {
        return Some("cannot be read");
    }
    if credential.expires_at_ms.is_some_and(|end| now_ms >= end) {
        return Some("has expired");
    }
    let allowed = match (&credential.models, model) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(patterns), Some(model)) => patterns
            .iter()
            .any(|pattern| WildMatch::new(pattern).matches(model)),
    };
    (!allowed).then_some("does not allow the model")
}

fn shared(sharing: &Sharing, requesting: &str) -> bool {
    let segments: Vec<&str> = requesting.split('/').collect();
    match sharing {
        Sharing::All => true,
        Sharing::None => false,
        Sharing::Paths(patterns) => patterns
            .iter()
            .any(|pattern| path_fits(&pattern.split('/').collect::<Vec<_>>(), &segments)),
    }
}

/// At most eight segments on either side, so recursion is shallow.
fn path_fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), here) => {
            path_fits(rest, path) || here.is_some_and(|(_, below)| path_fits(pattern, below))
        }
        (Some((segment, rest)), Some((name, below))) => {
            // No character stands for "any one" in a path.
            WildMatchPattern::<'*', '\0'>::new(segment).matches(name) && path_fits(rest, below)
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
                    {"path": "acme/a/b", "inheritance": "inherit", "credentials": [
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

    #[test]
    fn what_was_offered_and_can_be_used_passes() {
        let alternates = ["shared", "shared-deep", "shared-near"];
        assert_eq!(
            check(&facts(), &grant("own", &alternates, Some("gpt-5"))),
            Ok(())
        );
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
    fn the_model_is_not_the_policys_to_invent() {
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
    }

    #[test]
    fn the_named_credential_is_the_only_one() {
        let mut named = facts();
        named.request.credential = Some("shared".to_owned());
        assert!(check(&named, &grant("shared", &[], Some("gpt-5"))).is_ok());
        assert!(check(&named, &grant("own", &[], Some("gpt-5"))).is_err());
    }
}
