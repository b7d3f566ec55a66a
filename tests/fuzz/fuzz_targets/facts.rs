//! Facts as JSON, as `entail policy decide` and the decision log have them.
//!
//! Checked: facts that are read are written and read back equal, with nothing
//! lost. The default policy answers whatever facts there are, the same each time,
//! or finds that they break the contract; it never traps, never takes long, never
//! gives a malformed answer. Where it answers, it agrees with the naive model of
//! the rules.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use entail::policy::{
    CallError, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Outcome, Policy, Sharing,
};
use libfuzzer_sys::fuzz_target;

// As a file, since the crate that it is in brings a command line with it.
#[path = "../../src/naive.rs"]
#[allow(dead_code)] // not all of it is compared here
mod naive;

/// Far more than any call takes, so that a busy machine makes no difference,
/// and less than a run of the fuzzer may take.
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
        // Compiling the policy is no finding of the first input.
        LazyLock::force(&POLICY);
    },
    |data: &[u8]| {
        let Ok(facts) = serde_json::from_slice::<Facts>(data) else {
            return;
        };
        let written = serde_json::to_string(&facts).expect("facts are plain data");
        let again: Facts = serde_json::from_str(&written).expect("facts read back");
        assert_eq!(again, facts);
        entail_fuzz::assert_nothing_lost(data, &written);

        match POLICY.decide(&facts) {
            Ok(decision) => {
                assert_eq!(POLICY.decide(&again).ok().as_ref(), Some(&decision));
                if is_small(&facts) {
                    assert_eq!(without_prose(decision), naive::decide(&facts));
                }
            }
            Err(CallError::InvalidFacts(_) | CallError::TooManyCredentials { .. }) => {}
            Err(failure) => panic!("the default policy failed: {failure}"),
        }
    }
);

/// Whether the naive model, which tries everything that a pattern could mean, is
/// done with them in a moment.
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

/// The sentence of a refusal is the policy's own affair.
fn without_prose(mut decision: Decision) -> Decision {
    if let Outcome::Refused(refusal) = &mut decision.outcome {
        refusal.message = String::new().into();
    }
    decision
}
