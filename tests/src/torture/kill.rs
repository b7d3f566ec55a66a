//! Processes that are killed while they write and renew keys.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::check::{Ledger, check};
use super::worker::{Role, make_home};
use super::{Program, block_on};

/// Writers at once, beside one that renews keys.
const WRITERS: u32 = 2;

/// Cycles on one home, before the next one is made: the journal grows, and with it
/// the time that it takes to check.
const CYCLES_PER_HOME: u64 = 25;

/// A worker is killed after so many milliseconds.
const LIFE_MS: std::ops::Range<u64> = 30..160;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// How often all workers were started and killed.
    pub cycles: u64,
    /// In how many of them a change was acknowledged.
    pub with_changes: u64,
    /// How many changes were acknowledged.
    pub changes: u64,
    /// Workers that gave up by themselves: the store failed them.
    pub failed: u64,
}

/// Starts workers and kills them at random, `cycles` times; after each time
/// everything must be there.
///
/// # Panics
///
/// When it is not.
pub fn kill(program: &Program, cycles: u64, seed: u64, mut on_cycle: impl FnMut(Killed)) -> Killed {
    let mut random = fastrand::Rng::with_seed(seed);
    let cache = tempfile::tempdir().unwrap();
    let mut killed = Killed::default();
    while killed.cycles < cycles {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        block_on(make_home(&home, cache.path(), WRITERS));
        let mut ledger = Ledger::new(WRITERS);
        for _ in 0..CYCLES_PER_HOME.min(cycles - killed.cycles) {
            let (lines, failed) = cycle(program, &home, cache.path(), &ledger, &mut random);
            killed.failed += failed;
            let changes = ledger.take(lines.iter().map(String::as_str));
            killed.cycles += 1;
            killed.with_changes += u64::from(changes > 0);
            killed.changes += u64::try_from(changes).unwrap();
            match block_on(check(&home, cache.path(), &ledger)) {
                Ok(found) => ledger.catch_up(&found),
                Err(error) => {
                    let kept = folder.keep();
                    panic!(
                        "seed {seed}, cycle {}: {error} (in {})",
                        killed.cycles,
                        kept.display()
                    );
                }
            }
            on_cycle(killed);
        }
    }
    killed
}

/// One life of all workers; answers with what they said, and how many gave up.
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
        // A line without its end was never said.
        lines.extend(output.lines().map(Result::unwrap));
        failed += u64::from(worker.wait().unwrap().code().is_some());
    }
    lines.retain(|line| !line.starts_with("rotated"));
    (lines, failed)
}

/// Starts a worker that goes on until it is stopped.
pub fn start(program: &Program, home: &Path, cache: &Path, role: Role, from: u64) -> Child {
    let from = from.to_string();
    let (role, number) = match role {
        Role::Writer(writer) => ("writer", writer.to_string()),
        Role::Rotator => ("rotator", "0".to_owned()),
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
