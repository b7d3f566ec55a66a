//! Compiling in a process of its own: what is compiled there is found here, and what
//! takes too much ends there.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use entail_policy::{Engine, Limits, Rejected, Sandbox, Settings, serve};
use libtest_mimic::{Arguments, Failed, Trial};

mod sketch;

use sketch::Sketch;

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    // The program that compiles is this one.
    if let Some(exit) = serve() {
        return exit;
    }
    let trials: [(&str, Test); 6] = [
        ("what is compiled once is found again", is_found_again),
        (
            "what is compiled is held to lower limits anew",
            is_held_to_less,
        ),
        ("memory may be used up to the limit and not beyond", memory),
        ("time may be used up to the limit and not beyond", time),
        ("an invalid component is told apart", invalid),
        ("without a cache there is no sandbox", no_cache),
    ];
    let trials = trials.map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn engine(cache: &Path) -> Engine {
    engine_with(cache, Sandbox::this_program().unwrap())
}

fn engine_with(cache: &Path, sandbox: Sandbox) -> Engine {
    Engine::new(Settings {
        code_cache: Some(cache.to_owned()),
        sandbox: Some(sandbox),
        ..Settings::default()
    })
    .unwrap()
}

fn is_found_again() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let component = Sketch::default().component();
    engine(folder.path()).admit(&component)?;
    let marks = folder.path().join("compiled");
    assert_eq!(std::fs::read_dir(&marks)?.count(), 1);
    // A child that is not needed need not be there.
    let nobody = || engine_with(folder.path(), Sandbox::program("/nowhere"));
    nobody().admit(&component)?;
    let more = Limits {
        compile_time: Duration::from_mins(1),
        ..Limits::default()
    };
    nobody().admit_within(&component, &more)?;
    let less = Limits {
        compile_time: Duration::from_secs(20),
        ..Limits::default()
    };
    assert!(nobody().admit_within(&component, &less).is_err());
    engine(folder.path()).admit_within(&component, &less)?;
    nobody().admit_within(&component, &less)?;
    Ok(())
}

/// That there is code for a component does not mean that it can be made with less.
fn is_held_to_less() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let component = Sketch::default().component();
    let engine = engine(folder.path());
    engine.admit(&component)?;
    let less = Limits {
        compile_memory_bytes: 24 << 20,
        ..Limits::default()
    };
    let rejected = engine.admit_within(&component, &less);
    assert!(
        matches!(rejected, Err(Rejected::CompileMemory { .. })),
        "{rejected:?}"
    );
    engine.admit(&component)?;
    for entry in std::fs::read_dir(folder.path())? {
        let name = entry?.file_name().display().to_string();
        assert!(!name.starts_with("trial"), "{name}");
    }
    Ok(())
}

/// A component that takes far longer to compile than to read: a function of many
/// locals that are all alive at once.
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
    let folder = tempfile::tempdir()?;
    let component = Sketch::default().component();
    let limits = Limits {
        compile_memory_bytes: 24 << 20,
        ..Limits::default()
    };
    let rejected = engine(folder.path()).admit_within(&component, &limits);
    assert!(
        matches!(
            rejected,
            Err(Rejected::CompileMemory { .. } | Rejected::CompileCrashed(_) | Rejected::Engine(_))
        ),
        "{rejected:?}"
    );
    engine(folder.path()).admit(&component)?;
    Ok(())
}

fn time() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let limits = |seconds| Limits {
        compile_time: Duration::from_secs(seconds),
        ..Limits::default()
    };
    let engine = engine(folder.path());
    let component = bomb();
    let rejected = engine.admit_within(&component, &limits(1));
    assert!(
        matches!(rejected, Err(Rejected::CompileTime { .. })),
        "{rejected:?}"
    );
    Ok(())
}

fn invalid() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut component = Sketch::default().component();
    component.truncate(component.len() / 2);
    let rejected = engine(folder.path()).admit(&component);
    assert!(
        matches!(rejected, Err(Rejected::Invalid(_))),
        "{rejected:?}"
    );
    Ok(())
}

fn no_cache() -> Result<(), Failed> {
    let engine = Engine::new(Settings {
        sandbox: Some(Sandbox::this_program()?),
        ..Settings::default()
    })?;
    let rejected = engine.admit(&Sketch::default().component());
    assert!(matches!(rejected, Err(Rejected::Engine(_))), "{rejected:?}");
    Ok(())
}
