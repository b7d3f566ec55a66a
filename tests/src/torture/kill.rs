//! Kills processes while they write and rotate keys.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::check::{Ledger, check};
use super::worker::{Role, make_home};
use super::{Program, block_on};

/// The number of concurrent writers, besides one rotator.
const WRITERS: u32 = 2;

/// The number of cycles per home: the journal grows, and with it the time to check it.
const CYCLES_PER_HOME: u64 = 25;

/// The range of milliseconds after which a worker is killed.
const LIFE_MS: std::ops::Range<u64> = 30..160;

/// The result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// The number of times all workers were started and killed.
    pub cycles: u64,
    /// The number of cycles in which a change was acknowledged.
    pub with_changes: u64,
    /// The number of acknowledged changes.
    pub changes: u64,
    /// The number of workers that ended with an error of the store.
    pub failed: u64,
}

/// Starts workers and kills them at random, `cycles` times. Checks the store after each
/// cycle.
///
/// # Panics
///
/// If a check fails.
pub fn kill(program: &Program, cycles: u64, seed: u64, mut on_cycle: impl FnMut(Killed)) -> Killed {
    let mut random = fastrand::Rng::with_seed(seed);
    let cache = tempfile::tempdir().unwrap();
    let mut killed = Killed::default();
    while killed.cycles < cycles {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        block_on(make_home(&home, cache.path(), WRITERS));
        let mut ledger = Ledger::new(WRITERS);
        for _ in 0..CYCLES_PER_HOME.min(cycles - killed.cycles) {
            let (lines, failed) = cycle(program, &home, cache.path(), &ledger, &mut random);
            killed.failed += failed;
            let changes = ledger.add_lines(lines.iter().map(String::as_str));
            killed.cycles += 1;
            killed.with_changes += u64::from(changes > 0);
            killed.changes += u64::try_from(changes).unwrap();
            match block_on(check(&home, cache.path(), &ledger)) {
                Ok(found) => ledger.catch_up(&found),
                Err(error) => {
                    let kept_directory = directory.keep();
                    panic!(
                        "seed {seed}, cycle {}: {error} (in {})",
                        killed.cycles,
                        kept_directory.display()
                    );
                }
            }
            on_cycle(killed);
        }
    }
    killed
}

/// Runs one cycle. Returns the lines that the workers printed, and the number of workers
/// that failed.
fn cycle(
    program: &Program,
    home: &Path,
    cache: &Path,
    ledger: &Ledger,
    random: &mut fastrand::Rng,
) -> (Vec<String>, u64) {
    let roles = ledger
        .writers()
        .map(|(writer, acknowledged)| (Role::Writer(writer), acknowledged.newest()))
        .chain([(Role::Rotator, random.u64(0..2))]);
    let mut workers: Vec<(Child, u64)> = roles
        .map(|(role, from)| {
            let life = random.u64(LIFE_MS);
            (start(program, home, cache, role, from), life)
        })
        .collect();
    workers.sort_by_key(|(_, life)| *life);
    let mut passed = 0;
    let mut failed = 0;
    let mut lines = Vec::new();
    for (worker, life) in &mut workers {
        std::thread::sleep(Duration::from_millis(*life - passed));
        passed = *life;
        worker.kill().unwrap();
    }
    for (mut worker, _) in workers {
        let output = BufReader::new(worker.stdout.take().unwrap());
        // An incomplete line is not an acknowledgement.
        lines.extend(output.lines().map(Result::unwrap));
        failed += u64::from(worker.wait().unwrap().code().is_some());
    }
    lines.retain(|line| !line.starts_with("rotated"));
    (lines, failed)
}

/// Starts a worker that runs until it is killed.
pub fn start(program: &Program, home: &Path, cache: &Path, role: Role, from: u64) -> Child {
    let from = from.to_string();
    let (role, number) = match role {
        Role::Writer(writer) => ("writer", writer.to_string()),
        Role::Rotator => ("rotator", "0".to_owned()),
        Role::Reader(scope) => ("reader", scope.to_string()),
    };
    program
        .command(&["work", "--role", role, "--number", &number, "--from", &from])
        .arg("--home")
        .arg(home)
        .arg("--cache")
        .arg(cache)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}
