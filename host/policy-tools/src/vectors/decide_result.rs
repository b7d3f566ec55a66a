//! What policies return, as far as it is compared.

use std::fmt::Write as _;

use entail::policy::{CallError, Decision, Outcome};
use entail_text::Shown;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a policy returns for facts, without the message of a refusal or error.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DecideResult {
    /// A decision.
    Decision(Decision),
    /// An error.
    Error {
        /// Its code.
        error: DecideErrorCode,
    },
}

/// The code of an error that a policy returns instead of a decision: a case of the
/// contract's variant `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecideErrorCode {
    /// The facts break the contract.
    InvalidFacts,
    /// Another reason.
    Other,
}

impl DecideErrorCode {
    /// Returns the code of a policy's error; `None` if the policy failed without one.
    pub fn of(failure: &CallError) -> Option<Self> {
        match failure {
            CallError::InvalidFacts(_) => Some(DecideErrorCode::InvalidFacts),
            CallError::Undecided(_) => Some(DecideErrorCode::Other),
            _ => None,
        }
    }

    /// Returns its name: `invalid-facts`.
    pub fn name(self) -> &'static str {
        match self {
            DecideErrorCode::InvalidFacts => "invalid-facts",
            DecideErrorCode::Other => "other",
        }
    }
}

impl From<Decision> for DecideResult {
    fn from(mut decision: Decision) -> Self {
        if let Outcome::Refused(refusal) = &mut decision.outcome {
            refusal.message = String::new().into();
        }
        DecideResult::Decision(decision)
    }
}

impl DecideResult {
    /// Returns the result of a call, or the failure if the policy returned none.
    pub(super) fn from_call(result: Result<Decision, CallError>) -> Result<Self, CallError> {
        match result {
            Ok(decision) => Ok(decision.into()),
            Err(failure) => match DecideErrorCode::of(&failure) {
                Some(error) => Ok(DecideResult::Error { error }),
                None => Err(failure),
            },
        }
    }

    /// Returns the result as lines that a person can compare.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            DecideResult::Error { error } => writeln!(lines, "error {}", error.name()),
            DecideResult::Decision(decision) => write_decision(&mut lines, decision),
        };
        lines
    }
}

fn write_decision(lines: &mut String, decision: &Decision) -> std::fmt::Result {
    match &decision.outcome {
        Outcome::Granted(grant) => {
            writeln!(lines, "granted {}", Shown::of(&grant.credential))?;
            if let Some(model) = &grant.model {
                writeln!(lines, "  model {}", Shown::of(model))?;
            }
            for alternate in &grant.alternates {
                writeln!(lines, "  alternate {}", Shown::of(alternate))?;
            }
        }
        Outcome::Refused(refusal) => writeln!(lines, "refused {}", refusal.code)?,
    }
    for finding in &decision.trail {
        let credential = Shown::of(&finding.credential);
        write!(lines, "trail {credential}: {}", finding.code)?;
        if finding.attributes.is_empty() {
            writeln!(lines)?;
        } else {
            writeln!(lines, " {}", json!(finding.attributes))?;
        }
    }
    if decision.attributes.is_empty() {
        return Ok(());
    }
    writeln!(lines, "attributes {}", json!(decision.attributes))
}
