//! Why a policy gave no answer.

use entail_text::{Shown, sanitized};
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::engine::EngineError;
use crate::limits::{Exceeded, Limits};

/// Why a policy gave no decision. Each is a refusal in effect; none is the fault
/// of the request.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It went over a limit.
    #[error("the policy {0}")]
    Exceeded(Exceeded),
    /// It trapped, as a program does that crashes.
    #[error("the policy trapped: {0}")]
    Trapped(&'static str),
    /// What it returned is no value of the contract.
    #[error("the policy's answer is malformed: {}", sanitized(.0))]
    Malformed(String),
    /// It says that the facts break the contract.
    #[error("the policy finds the facts invalid: {}", sanitized(.0))]
    InvalidFacts(String),
    /// It says that it cannot decide.
    #[error("the policy could not decide: {}", sanitized(.0))]
    Undecided(String),
    /// There are more credentials in the facts than a policy is given.
    #[error("the facts have {found} credentials, and {limit} are allowed")]
    TooManyCredentials {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// As many calls as there is room for are under way or wait for their turn.
    #[error("too many policy calls are under way")]
    Busy,
    /// What runs the policy failed, not the policy.
    #[error("the engine crashed at the policy, and goes on without its answer")]
    Crashed,
    /// The threads that policies run on are not to be had.
    #[error(transparent)]
    Engine(EngineError),
}

impl Failure {
    /// Whether it did not end by itself.
    pub(crate) fn is_deadline(&self) -> bool {
        matches!(self, Failure::Exceeded(Exceeded::DeadlineMs(_)))
    }

    /// Tells what the engine's error means for a call under `limits`.
    pub(crate) fn of(error: wasmtime::Error, limits: &Limits) -> Self {
        if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
            return Failure::Exceeded(*exceeded);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Failure::Busy;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                Failure::Exceeded(Exceeded::DeadlineMs(limits.deadline.as_millis()))
            }
            Some(Trap::StackOverflow) => Failure::Exceeded(Exceeded::Stack),
            Some(trap) => Failure::Trapped(trap_name(*trap)),
            // The engine's error for this has no public type.
            None if error
                .root_cause()
                .to_string()
                .contains("fuel allocated for hostcalls") =>
            {
                Failure::Exceeded(Exceeded::ResultBytes(limits.result_bytes))
            }
            None => Failure::Malformed(plain(&format!("{error:#}"))),
        }
    }
}

/// A policy's own words as they may be shown.
pub(crate) fn plain(text: &str) -> String {
    Shown::of(text).to_string()
}

fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "access outside of its memory",
        Trap::TableOutOfBounds => "access outside of a table",
        Trap::IndirectCallToNull | Trap::BadSignature => "bad indirect call",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "bad conversion to an integer",
        Trap::UnreachableCodeReached => "it gave up (unreachable)",
        _ => "against the rules of WebAssembly",
    }
}
