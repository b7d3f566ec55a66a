//! Runs the collection through the engine alone.

use std::path::Path;
use std::time::Duration;

use entail_policy::{
    CodeCache, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Outcome, Sandbox,
};

use super::{Case, Cause, Expected, Query};

/// The deadline for calls that should return: a busy machine must not make a difference.
const GENEROUS_DEADLINE: Duration = Duration::from_secs(10);

/// The deadline for calls that never return.
const SHORT_DEADLINE: Duration = Duration::from_millis(60);

/// The time limit for compiling: many times what an ordinary sketch takes, and short enough
/// that a compilation bomb ends soon.
const COMPILE_TIME: Duration = Duration::from_secs(1);

/// The memory limit for compiling.
const COMPILE_MEMORY: u64 = 512 << 20;

/// The limits of a case.
pub fn limits(case: &Case) -> Limits {
    Limits {
        deadline: match case.waits_for_deadline() {
            true => SHORT_DEADLINE,
            false => GENEROUS_DEADLINE,
        },
        ..base_limits()
    }
}

fn base_limits() -> Limits {
    Limits {
        deadline: GENEROUS_DEADLINE,
        compile_time: COMPILE_TIME,
        compile_memory_bytes: COMPILE_MEMORY,
        ..Limits::default()
    }
}

/// The configuration of an engine that compiles in a separate process.
pub fn settings(sandbox: Sandbox) -> EngineConfig {
    EngineConfig {
        limits: base_limits(),
        compiler: Compiler::Sandboxed(sandbox),
        ..EngineConfig::default()
    }
}

/// An engine with that configuration that caches compiled code in `cache`.
pub fn engine(cache: &Path, sandbox: Sandbox) -> Engine {
    let settings = EngineConfig {
        code_cache: Some(CodeCache::new(cache.join("code"), cache.join("key"))),
        ..settings(sandbox)
    };
    Engine::new(settings)
}

/// Runs a case and returns its result.
pub fn run(engine: &Engine, case: &Case) -> Cause {
    let policy = match engine.admit_within(&case.bytes, &limits(case)) {
        Ok(policy) => policy,
        Err(rejected) => return Cause::from(&rejected),
    };
    let policy = match &case.settings {
        None => policy,
        Some(settings) => match policy.with_settings(settings) {
            Ok(policy) => policy,
            Err(bad) => return Cause::from(&bad),
        },
    };
    let policy = policy.with_isolation(case.isolation);
    let facts = case.query.facts();
    let mut last = Cause::Refuses;
    for _ in 0..case.calls {
        match policy.decide(&facts) {
            Err(failure) => return Cause::Fails((&failure).into()),
            Ok(decision) => last = judge(case.query, &facts, &decision),
        }
        if let Cause::Widens(_) = last {
            return last;
        }
    }
    last
}

/// Whether a decision stays within the facts. The facts are known here, so the rules of the
/// guard are not needed.
fn judge(query: Query, facts: &Facts, decision: &Decision) -> Cause {
    let Outcome::Granted(grant) = &decision.outcome else {
        return Cause::Refuses;
    };
    let mut ids: Vec<&str> = vec![&grant.credential];
    ids.extend(grant.alternates.iter().map(String::as_str));
    let mut names: Vec<&str> = Vec::new();
    for id in ids {
        let credentials = facts.chain.iter().flat_map(|scope| &scope.credentials);
        let Some(credential) = credentials.into_iter().find(|c| c.id == id) else {
            return Cause::Widens("was not offered");
        };
        if names.contains(&credential.name.as_str()) || !query.allows(&credential.name) {
            return Cause::Widens("is out of reach");
        }
        names.push(&credential.name);
    }
    let model_fits = match query.model() {
        Some(model) => grant.model.as_deref() == Some(model),
        None => matches!(grant.model.as_deref(), None | Some("lab-model")),
    };
    match model_fits {
        true => Cause::Grants,
        false => Cause::Widens("is not the model"),
    }
}

/// Whether the result of a case is the expected one. The engine has no guard, so the reason
/// of an excessive grant is not compared.
pub fn is_as_expected(case: &Case, cause: Cause) -> bool {
    match (&case.expected, cause) {
        (Expected::OneOf(causes), Cause::Widens(_)) => causes
            .iter()
            .any(|expected| matches!(expected, Cause::Widens(_))),
        (expected, cause) => expected.includes(cause),
    }
}
