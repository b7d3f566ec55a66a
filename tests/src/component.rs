//! The default policy run as the component that the product carries.

use std::path::Path;
use std::time::Duration;

use entail_policy::{CallError, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Policy};

/// What is compared is what a policy decides, not how soon: a busy machine must
/// not make a difference.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reads and admits a component.
///
/// # Errors
///
/// What went wrong with which file, in words.
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

/// Asks a component.
///
/// # Errors
///
/// As [`native::decide`](crate::native::decide) has them, for the policy's own;
/// the words of any other failure after `failure: `.
pub fn decide(policy: &Policy, facts: &Facts) -> Result<Decision, String> {
    policy.decide(facts).map_err(|failure| match failure {
        CallError::InvalidFacts(text) => format!("invalid-facts: {text}"),
        CallError::Undecided(text) => format!("other: {text}"),
        failure => format!("failure: {failure}"),
    })
}
