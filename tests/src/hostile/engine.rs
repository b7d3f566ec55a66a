//! The collection against the engine alone.

use std::path::Path;
use std::time::Duration;

use entail_policy::{
    CodeCache, Compiler, Decision, Engine, EngineConfig, Facts, Limits, Outcome, Sandbox,
};

use super::{Ask, Case, Cause, Expected};

/// Time for what is to end by itself: a busy machine must not make a difference.
const PATIENT: Duration = Duration::from_secs(10);

/// Time for what is not.
const HURRIED: Duration = Duration::from_millis(60);

/// Time for compiling: what an ordinary sketch takes many times over, and so little
/// that a bomb is soon over.
const COMPILE_TIME: Duration = Duration::from_secs(1);

/// Memory for compiling.
const COMPILE_MEMORY: u64 = 512 << 20;

/// What a case may use up.
pub fn limits(case: &Case) -> Limits {
    Limits {
        deadline: match case.waits_for_deadline() {
            true => HURRIED,
            false => PATIENT,
        },
        ..own_limits()
    }
}

fn own_limits() -> Limits {
    Limits {
        deadline: PATIENT,
        compile_time: COMPILE_TIME,
        compile_memory_bytes: COMPILE_MEMORY,
        ..Limits::default()
    }
}

/// Settings of an engine that compiles in a process of its own.
pub fn settings(sandbox: Sandbox) -> EngineConfig {
    EngineConfig {
        limits: own_limits(),
        compiler: Compiler::Sandboxed(sandbox),
        ..EngineConfig::default()
    }
}

/// Such an engine, which keeps the code in `cache`.
pub fn engine(cache: &Path, sandbox: Sandbox) -> Engine {
    let settings = EngineConfig {
        code_cache: Some(CodeCache::new(cache.join("code"), cache.join("key"))),
        ..settings(sandbox)
    };
    Engine::new(settings)
}

/// What comes of a case.
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
    let facts = case.ask.facts();
    let mut last = Cause::Refuses;
    for _ in 0..case.calls {
        match policy.decide(&facts) {
            Err(failure) => return Cause::Fails((&failure).into()),
            Ok(decision) => last = judge(case.ask, &facts, &decision),
        }
        if let Cause::Widens(_) = last {
            return last;
        }
    }
    last
}

/// Whether a decision stays within the facts. This knows what they are, so it need not
/// work that out as a guard must.
fn judge(ask: Ask, facts: &Facts, decision: &Decision) -> Cause {
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
        if names.contains(&credential.name.as_str()) || !ask.allows(&credential.name) {
            return Cause::Widens("is out of reach");
        }
        names.push(&credential.name);
    }
    let model_fits = match ask.model() {
        Some(model) => grant.model.as_deref() == Some(model),
        None => matches!(grant.model.as_deref(), None | Some("lab-model")),
    };
    match model_fits {
        true => Cause::Grants,
        false => Cause::Widens("is not the model"),
    }
}

/// Whether what came of a case is what must. The engine has no guard, so for a grant
/// that goes too far the reason is not looked at.
pub fn is_as_expected(case: &Case, cause: Cause) -> bool {
    match (&case.expected, cause) {
        (Expected::OneOf(causes), Cause::Widens(_)) => causes
            .iter()
            .any(|expected| matches!(expected, Cause::Widens(_))),
        (expected, cause) => expected.includes(cause),
    }
}
