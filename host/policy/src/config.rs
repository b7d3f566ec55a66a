//! The configuration of an engine.

use crate::code_cache::CodeCache;
use crate::error::CompilerDisabled;
use crate::limits::Limits;
use crate::sandbox::Sandbox;

/// The configuration of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The limits of each call, unless a policy has its own limits. The slots of the
    /// pool have this size.
    pub limits: Limits,
    /// The number of calls that may run at the same time; one more fails with [`Busy`].
    /// Each reserves address space, not memory.
    ///
    /// [`Busy`]: crate::CallError::Busy
    pub concurrent_calls: u32,
    /// The cache of compiled code, so that the next process need not compile again.
    pub code_cache: Option<CodeCache>,
    /// Where foreign components are compiled and composed, and their settings validated.
    pub compiler: Compiler,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            limits: Limits::default(),
            // Far more than there are processors; a call never waits.
            concurrent_calls: 64,
            code_cache: None,
            compiler: Compiler::default(),
        }
    }
}

/// Where foreign components are compiled and composed, and their settings validated.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// Foreign components are rejected. Components that are part of the program
    /// ([`Engine::admit_trusted`](crate::Engine::admit_trusted)) are not foreign.
    #[default]
    Disabled,
    /// In a child process, under limits.
    Sandboxed(Sandbox),
    /// In this process. Nothing limits the time and the memory of compiling: a component of
    /// a few kilobytes can take all memory, or never end, and a fault of the compiler is a
    /// fault of this process. Only for components that are trusted as much as the program.
    UnsafeInThisProcess,
}

impl Compiler {
    /// Returns the sandbox, or `None` for this process.
    pub(crate) fn sandbox(&self) -> Result<Option<&Sandbox>, CompilerDisabled> {
        match self {
            Compiler::Disabled => Err(CompilerDisabled),
            Compiler::Sandboxed(sandbox) => Ok(Some(sandbox)),
            Compiler::UnsafeInThisProcess => Ok(None),
        }
    }
}
