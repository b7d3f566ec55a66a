//! What a principal may learn of a decision that it asked for.
//!
//! A policy sees the whole chain. A principal that holds only some scopes does not: it learns of
//! the credentials that its own scopes hold, and of those that are shared with the requesting
//! scope and that the requesting scope reaches by inheritance. Of any other it learns the code
//! of its finding and nothing else, so an isolated project does not learn the names of its
//! neighbours' credentials, nor how far above they are.
//!
//! The texts of a policy, which may name anything, are left out where something is hidden. So are
//! the reasons of errors that only an administrator can do something about.

use std::collections::BTreeSet;
use std::sync::Arc;

use entail_policy::{Decision, Facts, Outcome, Sharing};

use crate::error::Error;
use crate::principal::{Principal, PrincipalKind};
use entail_decision::{Code, guard};

/// The message of a refusal, if the policy's may name what is hidden.
const WITHHELD: &str = "the policy refused, and its reason may be about credentials of others";

/// The findings that a principal may not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenFindings {
    /// How many there are.
    pub count: usize,
    /// Their codes.
    pub codes: BTreeSet<Code>,
}

/// What a principal may see of a decision and its facts.
#[derive(Clone, Debug)]
pub(crate) struct Redacted {
    pub(crate) facts: Arc<Facts>,
    pub(crate) decision: Decision,
    pub(crate) hidden: HiddenFindings,
}

/// What `viewer` may see of a decision on these facts.
pub(crate) fn redact(viewer: &Principal, facts: Arc<Facts>, decision: Decision) -> Redacted {
    let visible = match viewer.kind() {
        PrincipalKind::Local => None,
        PrincipalKind::Project => Some(visible_facts(viewer, &facts)),
    };
    match visible {
        Some(visible) if visible != *facts => redact_decision(visible, decision),
        _ => Redacted {
            facts,
            decision,
            hidden: HiddenFindings::default(),
        },
    }
}

/// The facts that `viewer` may see: the scopes that it holds and those that the requesting scope
/// reaches, and of their credentials those that it may use.
fn visible_facts(viewer: &Principal, facts: &Facts) -> Facts {
    let requesting = facts.chain.first().map_or("", |scope| scope.path.as_str());
    let held = facts.chain.iter();
    let held = held.take_while(|scope| viewer.holds(&scope.path)).count();
    let reachable = guard::reachable_scopes(facts);
    let mut visible = facts.clone();
    visible.chain.truncate(held.max(reachable));
    for scope in visible.chain.iter_mut().skip(held) {
        let shared = |sharing: &Sharing| guard::is_shared(sharing, requesting);
        scope
            .credentials
            .retain(|credential| shared(&credential.sharing));
        for credential in &mut scope.credentials {
            // The patterns may name those that it is shared with as well.
            if matches!(credential.sharing, Sharing::Paths(_)) {
                credential.sharing = Sharing::Paths(vec![requesting.to_owned()]);
            }
        }
    }
    visible
}

fn redact_decision(visible: Facts, decision: Decision) -> Redacted {
    let credentials = visible.chain.iter().flat_map(|scope| &scope.credentials);
    let ids: BTreeSet<&str> = credentials
        .map(|credential| credential.id.as_str())
        .collect();
    let (mut trail, hidden): (Vec<_>, Vec<_>) = decision
        .trail
        .into_iter()
        .partition(|finding| ids.contains(finding.credential.as_str()));
    for finding in &mut trail {
        finding.attributes.clear();
    }
    let outcome = match decision.outcome {
        Outcome::Granted(mut grant) => {
            grant.alternates.retain(|id| ids.contains(id.as_str()));
            Outcome::Granted(grant)
        }
        Outcome::Refused(mut refusal) => {
            refusal.message = WITHHELD.into();
            Outcome::Refused(refusal)
        }
    };
    let hidden = HiddenFindings {
        count: hidden.len(),
        codes: hidden.into_iter().map(|finding| finding.code).collect(),
    };
    Redacted {
        decision: Decision {
            outcome,
            trail,
            attributes: [].into(),
        },
        facts: Arc::new(visible),
        hidden,
    }
}

/// The error that `viewer` may see: not what a policy or the store says of credentials of
/// others.
pub(crate) fn redact_error(viewer: &Principal, error: Error) -> Error {
    match (viewer.kind(), &error) {
        (
            PrincipalKind::Project,
            Error::PolicyFailed(_)
            | Error::PolicyUnready(_)
            | Error::GuardViolated(_)
            | Error::Tampered(_)
            | Error::Unavailable(_),
        ) => Error::Withheld {
            kind: error.kind(),
            code: error.code(),
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `acme/evals/nightly` inherits from `acme/evals`, which inherits from `acme` or not.
    fn facts(evals: &str) -> Arc<Facts> {
        let json = r#"{
            "request": {"provider": "openai", "now_ms": 1000},
            "chain": [
                {"path": "acme/evals/nightly", "inheritance": "inherit", "credentials": [
                    {"id": "1", "name": "own", "sharing": "none"}
                ]},
                {"path": "acme/evals", "inheritance": "EVALS", "credentials": [
                    {"id": "2", "name": "parents", "sharing": "none"}
                ]},
                {"path": "acme", "default_model": "secret-model", "credentials": [
                    {"id": "3", "name": "shared", "models": ["secret-*"],
                     "sharing": {"paths": ["acme/neighbour", "acme/evals/*"]}},
                    {"id": "4", "name": "neighbours", "sharing": {"paths": ["acme/neighbour"]}},
                    {"id": "5", "name": "everybodys"}
                ]}
            ]
        }"#;
        Arc::new(serde_json::from_str(&json.replace("EVALS", evals)).unwrap())
    }

    fn refused() -> Decision {
        serde_json::from_str(
            r#"{
                "refused": {"code": "expired", "message": "ask neighbour"},
                "trail": [
                    {"credential": "1", "code": "expired", "attributes": {"like": "neighbours"}},
                    {"credential": "2", "code": "not-shared"},
                    {"credential": "3", "code": "shadowed"},
                    {"credential": "4", "code": "not-shared"},
                    {"credential": "5", "code": "shadowed"}
                ],
                "attributes": {"neighbour": "x"}
            }"#,
        )
        .unwrap()
    }

    fn project(scope: &str) -> Principal {
        Principal::project(&scope.parse().unwrap())
    }

    fn ids(redacted: &Redacted) -> Vec<&str> {
        let trail = redacted.decision.trail.iter();
        trail.map(|finding| finding.credential.as_str()).collect()
    }

    fn codes(redacted: &Redacted) -> Vec<&str> {
        redacted.hidden.codes.iter().map(Code::as_str).collect()
    }

    #[test]
    fn a_local_principal_sees_everything() {
        let (facts, decision) = (facts("isolated"), refused());
        let seen = redact(&Principal::LocalOwner, Arc::clone(&facts), decision.clone());
        assert_eq!((seen.facts, seen.decision), (facts, decision));
        assert_eq!(seen.hidden, HiddenFindings::default());
    }

    #[test]
    fn a_project_sees_what_it_holds_and_what_is_shared_with_it_by_inheritance() {
        for (viewer, expected) in [
            ("acme/evals/nightly", &["1", "3", "5"][..]),
            ("acme/evals", &["1", "2", "3", "5"]),
            ("acme", &["1", "2", "3", "4", "5"]),
        ] {
            let seen = redact(&project(viewer), facts("inherit"), refused());
            assert_eq!(ids(&seen), expected, "{viewer}");
            assert_eq!(seen.hidden.count, 5 - expected.len(), "{viewer}");
        }
    }

    #[test]
    fn a_project_does_not_see_beyond_an_isolated_scope() {
        let seen = redact(&project("acme/evals/nightly"), facts("isolated"), refused());
        assert_eq!(ids(&seen), ["1"]);
        assert_eq!(seen.hidden.count, 4);
        assert_eq!(codes(&seen), ["not-shared", "shadowed"]);
        let paths: Vec<&str> = seen.facts.chain.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths, ["acme/evals/nightly", "acme/evals"]);
    }

    #[test]
    fn nothing_that_a_project_is_told_names_what_is_hidden_from_it() {
        for link in ["isolated", "inherit"] {
            let seen = redact(&project("acme/evals/nightly"), facts(link), refused());
            let text = format!(
                "{} {}",
                serde_json::to_string(&*seen.facts).unwrap(),
                serde_json::to_string(&seen.decision).unwrap()
            );
            for hidden in ["neighbour", "parents", r#"id":"2"#, r#"id":"4"#] {
                assert!(!text.contains(hidden), "{hidden} in {text}");
            }
            assert_eq!(text.contains("secret-model"), link == "inherit", "{text}");
        }
    }

    #[test]
    fn a_policys_texts_are_told_if_nothing_is_hidden() {
        let seen = redact(&project("acme"), facts("isolated"), refused());
        assert_eq!(seen.decision, refused());
    }

    #[test]
    fn an_error_about_others_keeps_its_kind_and_code_and_loses_its_text() {
        let error = || Error::PolicyUnready("the credential neighbours".to_owned());
        let seen = redact_error(&project("acme/evals"), error());
        assert!(!seen.to_string().contains("neighbours"), "{seen}");
        assert_eq!((seen.kind(), seen.code()), (error().kind(), error().code()));
        let seen = redact_error(&Principal::LocalOwner, error());
        assert!(seen.to_string().contains("neighbours"), "{seen}");
    }
}
