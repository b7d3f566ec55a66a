//! Facts as JSON, from `entail policy decide` and the decision log.
//!
//! Checked: parsed facts round-trip without loss. The default policy decides on any facts,
//! always in the same way, or reports that they violate the contract; it never traps,
//! exceeds its deadline or returns a malformed decision. Its decision agrees with the naive
//! model of the rules.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use entail::policy::{
    CallError, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Outcome, Policy, Sharing,
};
use libfuzzer_sys::fuzz_target;

// Included as a file, since its crate depends on a command line parser.
#[path = "../../src/naive.rs"]
#[allow(dead_code)] // only a part is used
mod naive;

/// Far more than any call takes, even on a busy machine, and less than the timeout of the
/// fuzzer.
const DEADLINE: Duration = Duration::from_secs(5);

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let settings = EngineConfig {
        limits: Limits {
            deadline: DEADLINE,
            ..Limits::default()
        },
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    };
    let engine = Engine::new(settings);
    engine
        .admit(entail::DEFAULT_POLICY)
        .expect("the built-in policy is admitted")
});

fuzz_target!(
    init: {
        // Compile the policy before the first input.
        LazyLock::force(&POLICY);
    },
    |data: &[u8]| {
        let Ok(facts) = serde_json::from_slice::<Facts>(data) else {
            return;
        };
        let written = serde_json::to_string(&facts).expect("facts are plain data");
        let reread: Facts = serde_json::from_str(&written).expect("facts read back");
        assert_eq!(reread, facts);
        entail_fuzz::assert_nothing_lost(data, &written);

        match POLICY.decide(&facts) {
            Ok(decision) => {
                assert_eq!(POLICY.decide(&reread).ok().as_ref(), Some(&decision));
                if is_small(&facts) {
                    assert_eq!(without_message(decision), naive::decide(&facts));
                }
            }
            Err(CallError::InvalidFacts(_) | CallError::TooManyCredentials { .. }) => {}
            Err(failure) => panic!("the default policy failed: {failure}"),
        }
    }
);

/// Whether the naive model, which tries every interpretation of a pattern, is fast enough
/// for these facts.
fn is_small(facts: &Facts) -> bool {
    let requesting = facts.chain.first().map_or(0, |scope| scope.path.len());
    let credentials = || facts.chain.iter().flat_map(|scope| &scope.credentials);
    let models = credentials().flat_map(|credential| credential.models.iter().flatten());
    let paths = credentials().flat_map(|credential| match &credential.sharing {
        Sharing::Paths(paths) => paths.as_slice(),
        Sharing::All | Sharing::None => &[],
    });
    let is_simple = |pattern: &String| pattern.matches('*').count() <= 4;
    facts.chain.len() <= 8
        && requesting <= 100
        && credentials().count() <= 12
        && models.chain(paths).all(is_simple)
}

/// Removes the message of a refusal, which the rules do not define.
fn without_message(mut decision: Decision) -> Decision {
    if let Outcome::Refused(refusal) = &mut decision.outcome {
        refusal.message = String::new().into();
    }
    decision
}
