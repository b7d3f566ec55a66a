//! Errors of policy calls and of the engine.

use entail_text::{Shown, sanitized};

use crate::limits::Exceeded;

/// Why a call of a policy returned no decision. Callers must treat each as a refusal; none
/// of them is the fault of the request.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It exceeded a limit.
    #[error("the policy {0}")]
    Exceeded(Exceeded),
    /// It trapped, as a program does that crashes.
    #[error("the policy trapped: {0}")]
    Trapped(&'static str),
    /// It returned a value that the contract does not allow.
    #[error("the policy's result is malformed: {}", sanitized(.0))]
    Malformed(String),
    /// It returned the contract's error `invalid-facts`.
    #[error("the policy finds the facts invalid: {}", sanitized(.0))]
    InvalidFacts(String),
    /// It returned the contract's error `other`.
    #[error("the policy could not decide: {}", sanitized(.0))]
    Undecided(String),
    /// The facts have more credentials than the policy's limits allow.
    #[error("the facts have {found} credentials, and {limit} are allowed")]
    TooManyCredentials {
        /// The number of credentials.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many calls are running or queued.
    #[error("too many policy calls are running")]
    Busy,
    /// The engine panicked.
    #[error("the engine crashed during the policy call")]
    Crashed,
    /// The threads for policy calls could not be started.
    #[error(transparent)]
    Engine(EngineError),
}

impl CallError {
    /// Whether the call was stopped at its deadline.
    pub(crate) fn is_deadline(&self) -> bool {
        matches!(self, CallError::Exceeded(Exceeded::DeadlineMs(_)))
    }
}

/// Why an engine could not be set up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the policy engine cannot be set up: {}", sanitized(.0))]
pub struct EngineError(String);

impl EngineError {
    pub(crate) fn new(reason: impl std::fmt::Display) -> Self {
        EngineError(reason.to_string())
    }
}

/// The engine has no compiler for foreign components: see
/// [`Compiler::Disabled`](crate::Compiler::Disabled).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program compiles no foreign components: its policy engine has no compiler (entail_policy::Compiler)"
)]
pub struct CompilerDisabled;

/// Returns foreign text in a form that is safe to show.
pub(crate) fn sanitize(text: &str) -> String {
    Shown::of(text).to_string()
}
