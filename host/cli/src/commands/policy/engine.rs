//! Engines of commands that need no home.

use entail::policy::{Policy, Sandbox};
use entail_policy_tools::component::Component;
use entail_policy_tools::test_engine::TestEngine;

use crate::code_cache::{Cache, code_cache};
use crate::error::CliError;
use crate::output::err;
use crate::session::Session;

/// Compiling a component from this size on takes noticeably long.
const LARGE_BYTES: usize = 4 << 20;

/// A test engine, and the cache of its code.
pub struct CommandEngine {
    pub tests: TestEngine,
    _code: Cache,
}

impl CommandEngine {
    /// Creates an engine that keeps code in the home, if there is one, or in the user's
    /// cache directory.
    ///
    /// # Errors
    ///
    /// Fails if there is no directory for code.
    pub fn new(session: &Session) -> Result<Self, CliError> {
        let code = code_cache(session)?;
        Ok(CommandEngine {
            tests: TestEngine::new(code.cache.clone(), Sandbox::this_program()),
            _code: code,
        })
    }

    /// Admits a component under its own limits.
    ///
    /// # Errors
    ///
    /// Fails if it is not admitted, with what is wrong with it.
    pub fn admit(&self, component: &Component) -> Result<Policy, CliError> {
        announce(component);
        Ok(self.tests.admit(component)?)
    }
}

/// Prints a note that compiling a large component takes long.
pub fn announce(component: &Component) {
    if component.bytes.len() > LARGE_BYTES {
        err!(
            "{} is large: unless it was compiled before, compiling it may take a minute …",
            component.name
        );
    }
}
