//! Fails system calls of a worker: each call, once and from then on.

use super::check::{Ledger, check};
use super::worker::make_home;
use super::{Program, block_on, copy_directory};
use crate::crash::{CALLS, Fault, record, run_with_fault};

/// The counts of the runs so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed {
    /// The number of runs in which a call failed.
    pub runs: usize,
    /// The number of runs in which the worker reported an error.
    pub reported: usize,
}

/// Fails each call of a worker that makes a few changes, with each error, once and
/// permanently. `every` is 1 for all calls, or skips some. Afterwards every acknowledged
/// change must exist, and the store must never be mistaken for an empty one.
///
/// # Panics
///
/// If a check fails.
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
        copy_directory(&prototype, &recorded);
        let recording = record(&worker(&recorded), &recorded).unwrap();
        for call in CALLS {
            for (error, forever) in [
                ("EIO", false),
                ("EIO", true),
                ("ENOSPC", false),
                ("ENOSPC", true),
            ] {
                for nth in (1..).step_by(usize::try_from(every).unwrap()) {
                    let directory = tempfile::tempdir().unwrap();
                    let home = directory.path().join("home");
                    copy_directory(&prototype, &home);
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
                    ledger.add_lines(
                        run.lines
                            .iter()
                            .map(String::as_str)
                            .filter(|line| !line.starts_with("rotated")),
                    );
                    failed.runs += 1;
                    failed.reported += usize::from(!run.status.success());
                    if let Err(problem) = block_on(check(&home, cache.path(), &ledger)) {
                        let kept_directory = directory.keep();
                        panic!(
                            "{role}, {fault:?} ({:?}): {problem}\nstandard error: {} (in {})",
                            run.hits,
                            run.stderr,
                            kept_directory.display()
                        );
                    }
                    on_run(failed);
                }
            }
        }
    }
    failed
}
