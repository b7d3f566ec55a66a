//! What differs between two answers: what a policy decides now, and what it, or
//! another, would decide.
//!
//! The guard stands behind both: an answer that it stops is a failure, since nothing
//! is granted on its account.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use entail_policy::{CallError, Code, Decision, Facts, Grant, Outcome, Policy};
use entail_text::{Shown, sanitized};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use entail_decision::guard;

/// How long a call waits for room among others. Each of those ends by its deadline,
/// and no deadline is longer.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether there is room.
const PAUSE: Duration = Duration::from_millis(1);

/// An answer, as far as it matters to who gets what: without its trail and words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// There is nobody to ask: the scope is not there.
    Absent,
    /// Something may be used.
    Granted {
        /// What may be used: the chosen one, then its alternates, in order.
        credentials: Vec<Offered>,
        /// The model that the policy settled on; none when the request named one,
        /// which is then the grant's, or when nobody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Nothing may be used.
    Refused {
        /// The refusal's code.
        code: Code,
    },
    /// The policy failed, or the guard stopped it: nothing may be used.
    Failed {
        /// Why.
        cause: String,
    },
}

/// A credential that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offered {
    /// Its id, by which it is told from others.
    pub id: String,
    /// The path of the scope that holds it.
    pub holder: String,
    /// Its name there.
    pub name: String,
}

/// What differs between an answer and another one to the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Something may be used that could not be before: there was no grant and is one,
    /// or what may be used has a member that it lacked. Whatever else changed.
    Widened,
    /// There was a decision and is none: the policy fails. Nothing may be used then,
    /// whatever it was before.
    Failing,
    /// There was a grant and is none, or what may be used lacks a member that it had,
    /// and has no new one.
    Narrowed,
    /// The same may be used; but another is the chosen one, the alternates have
    /// another order, or the policy settles on another model.
    Moved,
    /// Nothing may be used before or after, for another reason: another code of a
    /// refusal, another failure, a scope that was not there.
    Reworded,
    /// The same may be used, in the same order, for the same model; or nothing, for
    /// the same reason. Trail, messages and attributes do not count.
    Same,
}

impl Difference {
    /// What differs between the answer `before` and the one `after`.
    pub fn between(before: &Answer, after: &Answer) -> Self {
        if before == after {
            return Difference::Same;
        }
        let has_failed = |answer: &Answer| matches!(answer, Answer::Failed { .. });
        if has_failed(after) && !has_failed(before) {
            return Difference::Failing;
        }
        let (had, has) = (before.ids(), after.ids());
        if had.is_empty() && has.is_empty() {
            return Difference::Reworded;
        }
        if !has.is_subset(&had) {
            Difference::Widened
        } else if has.len() < had.len() {
            Difference::Narrowed
        } else {
            Difference::Moved
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Difference::Widened => "widened",
            Difference::Failing => "failing",
            Difference::Narrowed => "narrowed",
            Difference::Moved => "moved",
            Difference::Reworded => "reworded",
            Difference::Same => "same",
        })
    }
}

/// How many answers differ, and in what way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// See [`Difference::Widened`].
    pub widened: u64,
    /// See [`Difference::Failing`].
    pub failing: u64,
    /// See [`Difference::Narrowed`].
    pub narrowed: u64,
    /// See [`Difference::Moved`].
    pub moved: u64,
    /// See [`Difference::Reworded`].
    pub reworded: u64,
    /// See [`Difference::Same`].
    pub same: u64,
}

impl FromIterator<Difference> for Counts {
    fn from_iter<T: IntoIterator<Item = Difference>>(differences: T) -> Self {
        let mut counts = Counts::default();
        differences.into_iter().for_each(|one| counts.add(one));
        counts
    }
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, difference: Difference) {
        *match difference {
            Difference::Widened => &mut self.widened,
            Difference::Failing => &mut self.failing,
            Difference::Narrowed => &mut self.narrowed,
            Difference::Moved => &mut self.moved,
            Difference::Reworded => &mut self.reworded,
            Difference::Same => &mut self.same,
        } += 1;
    }

    pub(crate) fn add_all(&mut self, other: &Counts) {
        self.widened += other.widened;
        self.failing += other.failing;
        self.narrowed += other.narrowed;
        self.moved += other.moved;
        self.reworded += other.reworded;
        self.same += other.same;
    }

    /// How many differ.
    pub fn changed(&self) -> u64 {
        self.widened + self.failing + self.narrowed + self.moved + self.reworded
    }

    /// How many there are.
    pub fn all(&self) -> u64 {
        self.changed() + self.same
    }
}

impl Answer {
    /// Asks a policy, and the guard after it.
    pub(crate) fn of(policy: &Policy, facts: &Facts) -> Self {
        Self::to(facts, decide(policy, facts))
    }

    /// What a policy's decision comes to, with the guard after it.
    pub(crate) fn to(facts: &Facts, decided: Result<Decision, CallError>) -> Self {
        let guarded = decided
            .map_err(Error::from)
            .and_then(|decision| guard::enforce(facts, decision).map_err(Error::GuardViolated));
        Self::guarded(facts, &guarded)
    }

    /// The same of a decision that the guard has seen.
    pub(crate) fn guarded(facts: &Facts, decided: &Result<Decision, Error>) -> Self {
        match decided {
            Ok(decision) => match &decision.outcome {
                Outcome::Granted(grant) => Answer::granted(facts, grant),
                Outcome::Refused(refusal) => Answer::refused(&refusal.code),
            },
            // That nothing is granted goes without saying here.
            Err(Error::PolicyFailed(failure)) => Answer::failed(&failure.to_string()),
            Err(error) => Answer::failed(&error.to_string()),
        }
    }

    /// A grant on `facts`.
    pub(crate) fn granted(facts: &Facts, grant: &Grant) -> Self {
        let ids = std::iter::once(&grant.credential).chain(&grant.alternates);
        Answer::Granted {
            credentials: ids.map(|id| Offered::new(facts, id)).collect(),
            model: match facts.request.model {
                Some(_) => None,
                None => grant.model.clone(),
            },
        }
    }

    /// A refusal with this code.
    pub(crate) fn refused(code: &Code) -> Self {
        Answer::Refused { code: code.clone() }
    }

    /// No decision, for this reason, which may be foreign text.
    pub(crate) fn failed(cause: &str) -> Self {
        Answer::Failed {
            cause: Shown::of(cause).to_string(),
        }
    }

    /// What may be used, the chosen one first; nothing, unless it is a grant.
    pub fn credentials(&self) -> &[Offered] {
        match self {
            Answer::Granted { credentials, .. } => credentials,
            Answer::Absent | Answer::Refused { .. } | Answer::Failed { .. } => &[],
        }
    }

    fn ids(&self) -> HashSet<&str> {
        let ids = self.credentials().iter().map(|offered| &*offered.id);
        ids.collect()
    }
}

/// For a person: `default of acme, else backup of acme, for gpt-5`, or
/// `refused: expired`. Whatever code a policy chooses, a refusal looks like one.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Absent => f.write_str("no such scope"),
            Answer::Granted { credentials, model } => {
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
            Answer::Refused { code } => write!(f, "refused: {code}"),
            Answer::Failed { cause } => write!(f, "failed: {}", sanitized(cause)),
        }
    }
}

impl Offered {
    /// The credential of that id in `facts`; an id that is not there, which the guard
    /// would have stopped, stands for itself.
    fn new(facts: &Facts, id: &str) -> Self {
        let found = facts.chain.iter().find_map(|scope| {
            let credential = scope.credentials.iter().find(|c| c.id == id)?;
            Some((scope.path.clone(), credential.name.clone()))
        });
        let (holder, name) =
            found.unwrap_or_else(|| ("nobody".to_owned(), Shown::of(id).to_string()));
        Offered {
            id: id.to_owned(),
            holder,
            name,
        }
    }
}

/// Asks a policy on the caller's thread. That as many calls are under way as there is
/// room for says nothing of the policy; so it waits.
fn decide(policy: &Policy, facts: &Facts) -> Result<Decision, CallError> {
    let started = Instant::now();
    loop {
        match policy.decide(facts) {
            Err(CallError::Busy) if started.elapsed() < ROOM_WITHIN => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(ids: &[&str], model: Option<&str>) -> Answer {
        let credentials = ids.iter().map(|id| Offered {
            id: (*id).to_owned(),
            holder: "acme".to_owned(),
            name: (*id).to_owned(),
        });
        Answer::Granted {
            credentials: credentials.collect(),
            model: model.map(str::to_owned),
        }
    }

    #[test]
    fn what_may_be_used_counts_first_then_its_order_then_the_reason() {
        let refused = Answer::refused(&"expired".parse().unwrap());
        let failed = Answer::failed("the policy trapped");
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
            (Answer::Absent, granted(&["a"], None), Difference::Widened),
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
            (granted(&["a"], None), failed.clone(), Difference::Failing),
            (granted(&["a"], None), Answer::Absent, Difference::Narrowed),
            (
                granted(&["a", "b"], None),
                granted(&["b", "a"], None),
                Difference::Moved,
            ),
            (
                granted(&["a"], None),
                granted(&["a"], Some("gpt-5")),
                Difference::Moved,
            ),
            (
                refused.clone(),
                Answer::refused(&"disabled".parse().unwrap()),
                Difference::Reworded,
            ),
            (refused.clone(), failed.clone(), Difference::Failing),
            (
                failed.clone(),
                Answer::failed("again"),
                Difference::Reworded,
            ),
            (failed.clone(), refused.clone(), Difference::Reworded),
            (failed, granted(&["a"], None), Difference::Widened),
            (Answer::Absent, refused, Difference::Reworded),
        ] {
            let found = Difference::between(&before, &after);
            assert_eq!(found, difference, "{before} → {after}");
        }
    }

    #[test]
    fn a_grant_names_what_may_be_used_and_the_model_that_nobody_asked_for() {
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
            Answer::granted(&facts, &grant).to_string(),
            "default of acme, else 2\\u{7} of nobody, for gpt-5"
        );
        facts.request.model = Some("gpt-5".to_owned());
        assert_eq!(
            Answer::granted(&facts, &grant).to_string(),
            "default of acme, else 2\\u{7} of nobody"
        );
    }
}
