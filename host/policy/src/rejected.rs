//! Why a component is not admitted.

use std::time::Duration;

use entail_text::sanitized;

use crate::error::{CallError, CompilerDisabled, EngineError};

/// Why a component is not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The component is foreign, and the engine has no compiler for it.
    #[error(transparent)]
    CompilerDisabled(#[from] CompilerDisabled),
    /// A limit is above [`Limits::CEILING`](crate::Limits::CEILING).
    #[error("the limit {0} is above the maximum for policies")]
    AboveCeiling(&'static str),
    /// A limit is below [`Limits::FLOOR`](crate::Limits::FLOOR).
    #[error("the limit {0} is below the minimum for policies")]
    BelowFloor(&'static str),
    /// The component is too large.
    #[error("the component has {bytes} bytes, and {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is a core module.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// It is neither a component nor a core module.
    #[error("this is not a WebAssembly component in binary form")]
    NotAComponent,
    /// It is invalid, uses a proposal that is disabled, or needs more than the engine has.
    #[error("the component cannot be used: {}", sanitized(.0))]
    Invalid(String),
    /// Compiling it takes too much memory.
    #[error("compiling the component takes more than {limit} bytes of memory")]
    CompileMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Compiling it takes more memory than the system allows this process.
    #[error(
        "compiling the component takes more than the {limit} bytes of address space that a process is given here (ulimit -v)"
    )]
    CompileAddressSpace {
        /// The system's limit, in bytes.
        limit: u64,
    },
    /// Compiling it takes too long.
    #[error("compiling the component takes longer than {} ms", .limit.as_millis())]
    CompileTime {
        /// The limit.
        limit: Duration,
    },
    /// Its compiled code is too large.
    #[error("the compiled code of the component has more than {limit} bytes")]
    CodeTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The compile worker crashed.
    #[error("the compiler crashed: {}", sanitized(.0))]
    CompileCrashed(String),
    /// It has imports.
    #[error("a policy imports nothing, but this one imports {}", sanitized(.0.join(", ")))]
    Imports(Vec<String>),
    /// It lacks an export of the contract.
    #[error("the component does not export the contract: {}", sanitized(.0))]
    MissingExport(String),
    /// An export of the contract has another type.
    #[error("the component's exports differ from the contract: {}", sanitized(.0))]
    WrongType(String),
    /// Its description cannot be shown.
    #[error("the policy's description cannot be shown: {0}")]
    Description(&'static str),
    /// The schema of its settings is not valid.
    #[error("the schema of the policy's settings cannot be used: {}", sanitized(.0))]
    Schema(String),
    /// Its trial call failed.
    #[error("the policy failed its trial call: {0}")]
    Trial(#[source] CallError),
    /// The inspection was not completed.
    #[error("the component was not inspected: {0}")]
    NotInspected(#[source] CallError),
    /// The engine could not be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
