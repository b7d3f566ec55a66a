//! The default policy run as the component that the product contains.

use std::path::Path;
use std::time::Duration;

use entail_policy::{CallError, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Policy};

/// Long, because the tests compare decisions, not times: a busy machine must not make a
/// difference.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reads and admits a component.
///
/// # Errors
///
/// The path of the file and a description of the error.
pub fn load(file: &Path) -> Result<Policy, String> {
    let failed = |error: &dyn std::error::Error| format!("{}: {error}", file.display());
    let bytes = std::fs::read(file).map_err(|error| failed(&error))?;
    let limits = Limits {
        deadline: DEADLINE,
        ..Limits::default()
    };
    let settings = EngineConfig {
        limits,
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    };
    Engine::new(settings)
        .admit(&bytes)
        .map_err(|error| failed(&error))
}

/// Calls a component.
///
/// # Errors
///
/// An error of the policy as in [`native::decide`](crate::native::decide); for any other
/// failure, its description after `failure: `.
pub fn decide(policy: &Policy, facts: &Facts) -> Result<Decision, String> {
    policy.decide(facts).map_err(|failure| match failure {
        CallError::InvalidFacts(text) => format!("invalid-facts: {text}"),
        CallError::Undecided(text) => format!("other: {text}"),
        failure => format!("failure: {failure}"),
    })
}
