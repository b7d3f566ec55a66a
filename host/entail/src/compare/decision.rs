//! How a policy's decision differs from another policy's, or from an earlier one.
//!
//! The guard comes after both: a decision that it rejects counts as a failure, since it
//! grants nothing.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use entail_policy::{CallError, Code, Decision, Facts, Grant, Outcome, Policy};
use entail_text::{Shown, sanitized};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use entail_decision::guard;

/// How long a call waits for a free slot. The calls under way end by their deadlines, and
/// no deadline is longer.
const WAIT_WITHIN: Duration = Duration::from_secs(10);

/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(1);

/// What a decision means for access: without its trail and messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectiveDecision {
    /// No decision: the scope does not exist.
    Absent,
    /// Credentials may be used.
    Granted {
        /// The credentials: the chosen one, then its alternates, in order.
        credentials: Vec<UsableCredential>,
        /// The effective model; `None` if the request names it, or if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// The policy refused.
    Refused {
        /// The refusal's code.
        code: Code,
    },
    /// The policy failed, or the guard rejected its decision: nothing may be used.
    Failed {
        /// Why.
        cause: String,
    },
}

/// A credential that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UsableCredential {
    /// Its id.
    pub id: String,
    /// The path of the scope that holds it.
    pub holder: String,
    /// Its name in that scope.
    pub name: String,
}

/// How two decisions on the same request differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// A credential may be used that could not be used before, whatever else changed.
    Widened,
    /// There was a decision, and now the policy fails, so nothing may be used.
    NowFailing,
    /// A credential may no longer be used, and no other may be used instead.
    Narrowed,
    /// The same credentials may be used, but the chosen one, the order of the alternates or
    /// the effective model differs.
    Reordered,
    /// Nothing may be used before or after, for different reasons: another refusal code,
    /// another failure, or a scope that did not exist.
    ReasonChanged,
    /// The same credentials in the same order with the same model; or nothing, for the same
    /// reason. Trail, messages and attributes do not count.
    Same,
}

impl Difference {
    /// How the decision `after` differs from the one `before`.
    pub fn between(before: &EffectiveDecision, after: &EffectiveDecision) -> Self {
        if before == after {
            return Difference::Same;
        }
        let has_failed = |one: &EffectiveDecision| matches!(one, EffectiveDecision::Failed { .. });
        if has_failed(after) && !has_failed(before) {
            return Difference::NowFailing;
        }
        let (had, has) = (before.ids(), after.ids());
        if had.is_empty() && has.is_empty() {
            return Difference::ReasonChanged;
        }
        if !has.is_subset(&had) {
            Difference::Widened
        } else if has.len() < had.len() {
            Difference::Narrowed
        } else {
            Difference::Reordered
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Difference::Widened => "widened",
            Difference::NowFailing => "now-failing",
            Difference::Narrowed => "narrowed",
            Difference::Reordered => "reordered",
            Difference::ReasonChanged => "reason-changed",
            Difference::Same => "same",
        })
    }
}

/// How many decisions differ, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DifferenceCounts {
    /// See [`Difference::Widened`].
    pub widened: u64,
    /// See [`Difference::NowFailing`].
    pub now_failing: u64,
    /// See [`Difference::Narrowed`].
    pub narrowed: u64,
    /// See [`Difference::Reordered`].
    pub reordered: u64,
    /// See [`Difference::ReasonChanged`].
    pub reason_changed: u64,
    /// See [`Difference::Same`].
    pub same: u64,
}

impl FromIterator<Difference> for DifferenceCounts {
    fn from_iter<T: IntoIterator<Item = Difference>>(differences: T) -> Self {
        let mut counts = DifferenceCounts::default();
        differences.into_iter().for_each(|one| counts.add(one));
        counts
    }
}

impl DifferenceCounts {
    /// Adds one difference.
    pub fn add(&mut self, difference: Difference) {
        *match difference {
            Difference::Widened => &mut self.widened,
            Difference::NowFailing => &mut self.now_failing,
            Difference::Narrowed => &mut self.narrowed,
            Difference::Reordered => &mut self.reordered,
            Difference::ReasonChanged => &mut self.reason_changed,
            Difference::Same => &mut self.same,
        } += 1;
    }

    pub(crate) fn add_all(&mut self, other: &DifferenceCounts) {
        self.widened += other.widened;
        self.now_failing += other.now_failing;
        self.narrowed += other.narrowed;
        self.reordered += other.reordered;
        self.reason_changed += other.reason_changed;
        self.same += other.same;
    }

    /// The number that differ.
    pub fn changed(&self) -> u64 {
        self.widened + self.now_failing + self.narrowed + self.reordered + self.reason_changed
    }

    /// The number of all.
    pub fn all(&self) -> u64 {
        self.changed() + self.same
    }
}

impl EffectiveDecision {
    /// Asks a policy, and enforces the guard's rules.
    pub(crate) fn of(policy: &Policy, facts: &Facts) -> Self {
        Self::of_unguarded(facts, decide(policy, facts))
    }

    /// Of a policy's decision, to which the guard's rules are applied.
    pub(crate) fn of_unguarded(facts: &Facts, decided: Result<Decision, CallError>) -> Self {
        let guarded = decided
            .map_err(Error::from)
            .and_then(|decision| guard::enforce(facts, decision).map_err(Error::GuardViolated));
        Self::of_guarded(facts, &guarded)
    }

    /// Of a decision to which the guard's rules have been applied.
    pub(crate) fn of_guarded(facts: &Facts, decided: &Result<Decision, Error>) -> Self {
        match decided {
            Ok(decision) => match &decision.outcome {
                Outcome::Granted(grant) => EffectiveDecision::granted(facts, grant),
                Outcome::Refused(refusal) => EffectiveDecision::refused(&refusal.code),
            },
            // Without the text that nothing is granted.
            Err(Error::PolicyFailed(failure)) => EffectiveDecision::failed(&failure.to_string()),
            Err(error) => EffectiveDecision::failed(&error.to_string()),
        }
    }

    /// A grant on `facts`.
    pub(crate) fn granted(facts: &Facts, grant: &Grant) -> Self {
        let ids = std::iter::once(&grant.credential).chain(&grant.alternates);
        EffectiveDecision::Granted {
            credentials: ids.map(|id| UsableCredential::new(facts, id)).collect(),
            model: match facts.request.model {
                Some(_) => None,
                None => grant.model.clone(),
            },
        }
    }

    /// A refusal with this code.
    pub(crate) fn refused(code: &Code) -> Self {
        EffectiveDecision::Refused { code: code.clone() }
    }

    /// A failure with this cause, which may be text from outside.
    pub(crate) fn failed(cause: &str) -> Self {
        EffectiveDecision::Failed {
            cause: Shown::of(cause).to_string(),
        }
    }

    /// The credentials that may be used, the chosen one first; empty unless it is a grant.
    pub fn credentials(&self) -> &[UsableCredential] {
        match self {
            EffectiveDecision::Granted { credentials, .. } => credentials,
            EffectiveDecision::Absent
            | EffectiveDecision::Refused { .. }
            | EffectiveDecision::Failed { .. } => &[],
        }
    }

    fn ids(&self) -> HashSet<&str> {
        let ids = self.credentials().iter().map(|usable| &*usable.id);
        ids.collect()
    }
}

/// For the user: `default of acme, else backup of acme, for gpt-5`, or `refused: expired`.
impl fmt::Display for EffectiveDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EffectiveDecision::Absent => f.write_str("no such scope"),
            EffectiveDecision::Granted { credentials, model } => {
                for (position, credential) in credentials.iter().enumerate() {
                    let joint = if position == 0 { "" } else { ", else " };
                    let name = sanitized(&credential.name);
                    write!(f, "{joint}{name} of {}", sanitized(&credential.holder))?;
                }
                match model {
                    Some(model) => write!(f, ", for {}", sanitized(model)),
                    None => Ok(()),
                }
            }
            EffectiveDecision::Refused { code } => write!(f, "refused: {code}"),
            EffectiveDecision::Failed { cause } => write!(f, "failed: {}", sanitized(cause)),
        }
    }
}

impl UsableCredential {
    /// The credential with this id in `facts`. For an unknown id, which the guard rejects,
    /// the name is the id.
    fn new(facts: &Facts, id: &str) -> Self {
        let found = facts.chain.iter().find_map(|scope| {
            let credential = scope.credentials.iter().find(|c| c.id == id)?;
            Some((scope.path.clone(), credential.name.clone()))
        });
        let (holder, name) =
            found.unwrap_or_else(|| ("nobody".to_owned(), Shown::of(id).to_string()));
        UsableCredential {
            id: id.to_owned(),
            holder,
            name,
        }
    }
}

/// Asks a policy on the caller's thread. Waits if too many calls are running, since
/// that is not a failure of the policy.
fn decide(policy: &Policy, facts: &Facts) -> Result<Decision, CallError> {
    let started = Instant::now();
    loop {
        match policy.decide(facts) {
            Err(CallError::Busy) if started.elapsed() < WAIT_WITHIN => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(ids: &[&str], model: Option<&str>) -> EffectiveDecision {
        let credentials = ids.iter().map(|id| UsableCredential {
            id: (*id).to_owned(),
            holder: "acme".to_owned(),
            name: (*id).to_owned(),
        });
        EffectiveDecision::Granted {
            credentials: credentials.collect(),
            model: model.map(str::to_owned),
        }
    }

    #[test]
    fn usable_credentials_count_first_then_their_order_then_the_reason() {
        let refused = EffectiveDecision::refused(&"expired".parse().unwrap());
        let failed = EffectiveDecision::failed("the policy trapped");
        for (before, after, difference) in [
            (
                granted(&["a"], None),
                granted(&["a"], None),
                Difference::Same,
            ),
            (refused.clone(), refused.clone(), Difference::Same),
            (failed.clone(), failed.clone(), Difference::Same),
            (refused.clone(), granted(&["a"], None), Difference::Widened),
            (failed.clone(), granted(&["a"], None), Difference::Widened),
            (
                EffectiveDecision::Absent,
                granted(&["a"], None),
                Difference::Widened,
            ),
            (
                granted(&["a"], None),
                granted(&["b"], None),
                Difference::Widened,
            ),
            (
                granted(&["a"], None),
                granted(&["a", "b"], None),
                Difference::Widened,
            ),
            (
                granted(&["a", "b"], None),
                granted(&["b", "c"], None),
                Difference::Widened,
            ),
            (
                granted(&["a", "b"], None),
                granted(&["b"], None),
                Difference::Narrowed,
            ),
            (granted(&["a"], None), refused.clone(), Difference::Narrowed),
            (
                granted(&["a"], None),
                failed.clone(),
                Difference::NowFailing,
            ),
            (
                granted(&["a"], None),
                EffectiveDecision::Absent,
                Difference::Narrowed,
            ),
            (
                granted(&["a", "b"], None),
                granted(&["b", "a"], None),
                Difference::Reordered,
            ),
            (
                granted(&["a"], None),
                granted(&["a"], Some("gpt-5")),
                Difference::Reordered,
            ),
            (
                refused.clone(),
                EffectiveDecision::refused(&"disabled".parse().unwrap()),
                Difference::ReasonChanged,
            ),
            (refused.clone(), failed.clone(), Difference::NowFailing),
            (
                failed.clone(),
                EffectiveDecision::failed("again"),
                Difference::ReasonChanged,
            ),
            (failed.clone(), refused.clone(), Difference::ReasonChanged),
            (failed, granted(&["a"], None), Difference::Widened),
            (
                EffectiveDecision::Absent,
                refused,
                Difference::ReasonChanged,
            ),
        ] {
            let found = Difference::between(&before, &after);
            assert_eq!(found, difference, "{before} → {after}");
        }
    }

    #[test]
    fn a_grant_names_its_credentials_and_a_model_that_the_request_does_not_name() {
        let facts = r#"{
            "request": {"provider": "openai", "now_ms": 1},
            "chain": [{"path": "acme", "credentials": [{"id": "1", "name": "default"}]}]
        }"#;
        let mut facts: Facts = serde_json::from_str(facts).unwrap();
        let grant = Grant {
            credential: "1".to_owned(),
            alternates: vec!["2\u{7}".to_owned()],
            model: Some("gpt-5".to_owned()),
        };
        assert_eq!(
            EffectiveDecision::granted(&facts, &grant).to_string(),
            "default of acme, else 2\\u{7} of nobody, for gpt-5"
        );
        facts.request.model = Some("gpt-5".to_owned());
        assert_eq!(
            EffectiveDecision::granted(&facts, &grant).to_string(),
            "default of acme, else 2\\u{7} of nobody"
        );
    }
}
