//! Compiling, composing and validating in a child process, with its limits.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use entail_policy::{
    BadSettings, CodeCache, Compiler, ComposeError, Engine, EngineConfig, Limits, Rejected,
    Sandbox, Values, run_compile_worker,
};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

mod sketch;

use sketch::Sketch;

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    // This program is also the compile worker.
    if let Some(exit) = run_compile_worker() {
        return exit;
    }
    let trials: [(&str, Test); 10] = [
        ("compiled code is found in the cache", cached_code_is_found),
        (
            "with lower limits a component is compiled again",
            lower_limits_compile_again,
        ),
        (
            "damaged code is compiled again in the sandbox",
            damaged_code_is_compiled_again,
        ),
        ("memory may be used up to the limit and not beyond", memory),
        ("time may be used up to the limit and not beyond", time),
        ("an invalid component is rejected as invalid", invalid),
        ("without a cache it is compiled each time", no_cache),
        ("a problem of settings has its path and rule", problem),
        ("a schema may use its limits and not more", schemas),
        (
            "components are composed in the sandbox",
            components_are_composed,
        ),
    ];
    let trials = trials.map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn engine(cache: &Path) -> Engine {
    engine_with(cache, Sandbox::this_program())
}

fn engine_with(cache: &Path, sandbox: Sandbox) -> Engine {
    Engine::new(EngineConfig {
        code_cache: Some(CodeCache::new(cache.join("code"), cache.join("key"))),
        compiler: Compiler::Sandboxed(sandbox),
        ..EngineConfig::default()
    })
}

fn in_this_process() -> Engine {
    Engine::new(EngineConfig {
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    })
}

fn without_cache() -> Engine {
    Engine::new(EngineConfig {
        compiler: Compiler::Sandboxed(Sandbox::this_program()),
        ..EngineConfig::default()
    })
}

/// An engine whose compile worker does not exist.
fn no_worker(cache: &Path) -> Engine {
    engine_with(cache, Sandbox::program("/nowhere"))
}

fn cached_code_is_found() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let component = Sketch::default().component();
    engine(directory.path()).admit(&component)?;
    assert_eq!(std::fs::read_dir(directory.path().join("code"))?.count(), 1);
    let admit_cached =
        |limits: &Limits| no_worker(directory.path()).admit_within(&component, limits);
    admit_cached(&Limits::default())?;
    let more = Limits {
        compile_time: Duration::from_mins(1),
        ..Limits::default()
    };
    admit_cached(&more)?;
    let less = Limits {
        compile_time: Duration::from_secs(20),
        ..Limits::default()
    };
    assert!(admit_cached(&less).is_err());
    engine(directory.path()).admit_within(&component, &less)?;
    admit_cached(&less)?;
    Ok(())
}

/// Cached code does not mean that the component compiles under lower limits.
fn lower_limits_compile_again() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let component = Sketch::default().component();
    let engine = engine(directory.path());
    engine.admit(&component)?;
    let less = Limits {
        compile_memory_bytes: 24 << 20,
        ..Limits::default()
    };
    let rejected = engine.admit_within(&component, &less);
    assert!(
        matches!(rejected, Err(Rejected::CompileMemory { limit }) if limit == 24 << 20),
        "{rejected:?}"
    );
    engine.admit(&component)?;
    Ok(())
}

/// Code that was compiled without limits, or is damaged, is not used or replaced in this
/// process.
fn damaged_code_is_compiled_again() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let component = Sketch::default().component();
    let unlimited = Engine::new(EngineConfig {
        code_cache: Some(CodeCache::new(
            directory.path().join("code"),
            directory.path().join("key"),
        )),
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    unlimited.admit(&component)?;
    let rejected = no_worker(directory.path()).admit(&component);
    assert!(matches!(rejected, Err(Rejected::Engine(_))), "{rejected:?}");
    engine(directory.path()).admit(&component)?;
    no_worker(directory.path()).admit(&component)?;
    for entry in std::fs::read_dir(directory.path().join("code"))? {
        std::fs::write(entry?.path(), b"damaged")?;
    }
    let rejected = no_worker(directory.path()).admit(&component);
    assert!(matches!(rejected, Err(Rejected::Engine(_))), "{rejected:?}");
    engine(directory.path()).admit(&component)?;
    no_worker(directory.path()).admit(&component)?;
    Ok(())
}

/// A component that takes far longer to compile than to read: a function of many
/// locals that are all live at the same time.
fn bomb() -> Vec<u8> {
    let locals = 1_500;
    let mut text = String::from("(func (export \"bomb\") (param $p i32) (result i32)");
    for n in 0..locals {
        write!(text, "(local $l{n} i32)").unwrap();
    }
    for n in 0..locals {
        write!(
            text,
            "(local.set $l{n} (i32.mul (local.get $p) (i32.const {n})))"
        )
        .unwrap();
    }
    for n in 0..locals * 20 {
        let (a, b) = (n % locals, (n * 7 + 3) % locals);
        write!(text, "(if (i32.gt_u (local.get $l{a}) (local.get $l{b})) (then (local.set $l{a} (i32.xor (local.get $l{a}) (local.get $l{b})))))").unwrap();
    }
    text.push_str("(local.get $l0))");
    Sketch {
        items: Box::leak(text.into_boxed_str()),
        ..Sketch::default()
    }
    .component()
}

fn memory() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let component = Sketch::default().component();
    let limits = Limits {
        compile_memory_bytes: 24 << 20,
        ..Limits::default()
    };
    let rejected = engine(directory.path()).admit_within(&component, &limits);
    assert!(
        matches!(rejected, Err(Rejected::CompileMemory { .. })),
        "{rejected:?}"
    );
    engine(directory.path()).admit(&component)?;
    Ok(())
}

fn time() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let limits = |seconds| Limits {
        compile_time: Duration::from_secs(seconds),
        ..Limits::default()
    };
    let engine = engine(directory.path());
    let component = bomb();
    let rejected = engine.admit_within(&component, &limits(1));
    assert!(
        matches!(rejected, Err(Rejected::CompileTime { .. })),
        "{rejected:?}"
    );
    Ok(())
}

fn invalid() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut component = Sketch::default().component();
    component.truncate(component.len() / 2);
    let rejected = engine(directory.path()).admit(&component);
    assert!(
        matches!(rejected, Err(Rejected::Invalid(_))),
        "{rejected:?}"
    );
    Ok(())
}

fn no_cache() -> Result<(), Failed> {
    let component = Sketch::default().component();
    without_cache().admit(&component)?;
    let rejected = without_cache().admit_within(
        &component,
        &Limits {
            compile_memory_bytes: 24 << 20,
            ..Limits::default()
        },
    );
    assert!(
        matches!(rejected, Err(Rejected::CompileMemory { .. })),
        "{rejected:?}"
    );
    Ok(())
}

fn set(schema: &Value, settings: Value) -> Result<(), BadSettings> {
    let schema = schema.to_string();
    let sketch = Sketch {
        schema: Box::leak(schema.into_boxed_str()),
        ..Sketch::default()
    };
    let policy = without_cache().admit(&sketch.component()).unwrap();
    let Value::Object(settings) = settings else {
        panic!("settings are an object");
    };
    policy.with_settings(&Values::from(settings)).map(drop)
}

fn problem() -> Result<(), Failed> {
    let schema = json!({"properties": {"n": {"type": "array", "items": {"minimum": 1}}}});
    set(&schema, json!({"n": [1, 2]}))?;
    match set(&schema, json!({"n": [1, -77]})) {
        Err(BadSettings::NotAccepted(problems)) => {
            let [problem] = problems.as_slice() else {
                panic!("{problems:?}");
            };
            assert_eq!(problem.path, "/n/1");
            assert!(problem.rule.contains("minimum"), "{problem}");
            assert!(!problem.rule.contains("77"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    match set(&json!({"type": 7}), json!({})) {
        Err(BadSettings::Schema(reason)) => assert!(reason.contains("JSON Schema"), "{reason}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// Schemas of a few kilobytes that take gigabytes or minutes.
#[allow(clippy::unnecessary_wraps)] // as every trial
fn schemas() -> Result<(), Failed> {
    let many = |count: usize, keyword: &dyn Fn(usize) -> Value| {
        Value::Array((0..count).map(keyword).collect())
    };
    // The pattern may match after each position.
    let mut random = 1_u32;
    let letters = (0..900_000).map(|_| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if random >> 31 == 0 { 'a' } else { 'b' }
    });
    let letters: String = letters.collect();
    // An ordinary schema needs little.
    set(
        &json!({"additionalProperties": {"pattern": "^[a-z]{1,63}$"}}),
        json!({"a": "x"}),
    )?;
    for (what, schema, settings, bound) in [
        (
            "patterns that each take up their limit",
            json!({"allOf": many(2_000, &|n| json!({"pattern": format!("[^a]{{990}}{n}")}))}),
            json!({"a": "x"}),
            "more than 268435456 bytes of memory",
        ),
        (
            "patterns that fit nearly everywhere",
            json!({"properties": {"a": {"allOf": many(20, &|n| {
                json!({"pattern": format!("a[ab]{{1500}}c{n}")})
            })}}}),
            json!({"a": letters}),
            "longer than 5000 ms",
        ),
    ] {
        let started = Instant::now();
        match set(&schema, settings) {
            Err(BadSettings::Schema(reason)) => {
                println!("{what}: {reason}, after {:.1?}", started.elapsed());
                assert!(reason.contains(bound), "{what}: {reason}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps)] // as every trial
fn components_are_composed() -> Result<(), Failed> {
    let engine = without_cache();
    let policy = Sketch::default().component();
    engine.admit(&policy)?;
    // The errors are the same with and without a sandbox.
    let in_process = in_this_process().compose(&policy, &policy).unwrap_err();
    let in_sandbox = engine.compose(&policy, &policy).unwrap_err();
    assert!(
        matches!(in_sandbox, ComposeError::NoMatchingImport),
        "{in_sandbox}"
    );
    assert_eq!(in_process.to_string(), in_sandbox.to_string());
    let in_process = in_this_process().compose(b"noise", &policy).unwrap_err();
    let in_sandbox = engine.compose(b"noise", &policy).unwrap_err();
    assert!(
        matches!(in_sandbox, ComposeError::Invalid { .. }),
        "{in_sandbox}"
    );
    assert_eq!(in_process.to_string(), in_sandbox.to_string());
    let little = Engine::new(EngineConfig {
        limits: Limits {
            compile_memory_bytes: 24 << 20,
            ..Limits::default()
        },
        compiler: Compiler::Sandboxed(Sandbox::this_program()),
        ..EngineConfig::default()
    });
    let in_sandbox = little.compose(&policy, &policy).unwrap_err();
    assert!(
        matches!(in_sandbox, ComposeError::ChildProcess(_)),
        "{in_sandbox}"
    );
    Ok(())
}
