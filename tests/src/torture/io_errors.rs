//! System calls that fail under a worker: each one, once and from then on.

use super::check::{Ledger, check};
use super::worker::make_home;
use super::{Program, block_on, copy_folder};
use crate::crash::{CALLS, Fault, record, run_with_fault};

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed {
    /// Runs in which a call failed.
    pub runs: usize,
    /// Those after which the worker said that something is wrong.
    pub said: usize,
}

/// Lets each call of a worker that makes a few changes fail, with each error, once and
/// for ever; `every` is 1 for all, or leaves some out. What was acknowledged must be
/// there afterwards, and the store must never be taken for an empty one.
///
/// # Panics
///
/// When it is otherwise.
pub fn io_errors(program: &Program, every: u32, mut on_run: impl FnMut(Failed)) -> Failed {
    let cache = tempfile::tempdir().unwrap();
    let mut failed = Failed::default();
    for role in ["writer", "rotator"] {
        let limit = if role == "writer" { "3" } else { "2" };
        let template = tempfile::tempdir().unwrap();
        let prototype = template.path().join("home");
        block_on(make_home(&prototype, cache.path(), 1));
        let worker = |home: &std::path::Path| {
            let mut command =
                program.command(&["work", "--role", role, "--number", "0", "--from", "0"]);
            command
                .args(["--limit", limit, "--home"])
                .arg(home)
                .arg("--cache")
                .arg(cache.path());
            command
        };
        let recorded = template.path().join("recorded");
        copy_folder(&prototype, &recorded);
        let recording = record(&worker(&recorded), &recorded).unwrap();
        for call in CALLS {
            for (error, forever) in [
                ("EIO", false),
                ("EIO", true),
                ("ENOSPC", false),
                ("ENOSPC", true),
            ] {
                for nth in (1..).step_by(usize::try_from(every).unwrap()) {
                    let folder = tempfile::tempdir().unwrap();
                    let home = folder.path().join("home");
                    copy_folder(&prototype, &home);
                    let fault = Fault {
                        call,
                        nth,
                        forever,
                        error,
                    };
                    let run =
                        run_with_fault(&worker(&home), &home, recording.names(), &fault).unwrap();
                    if !run.injected {
                        break;
                    }
                    let mut ledger = Ledger::new(1);
                    ledger.take(
                        run.lines
                            .iter()
                            .map(String::as_str)
                            .filter(|line| !line.starts_with("rotated")),
                    );
                    failed.runs += 1;
                    failed.said += usize::from(!run.status.success());
                    if let Err(problem) = block_on(check(&home, cache.path(), &ledger)) {
                        let kept = folder.keep();
                        panic!(
                            "{role}, {fault:?} ({:?}): {problem}\nit said: {} (in {})",
                            run.hits,
                            run.stderr,
                            kept.display()
                        );
                    }
                    on_run(failed);
                }
            }
        }
    }
    failed
}
