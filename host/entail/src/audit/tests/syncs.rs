//! What a power cut may lose, with and without syncs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::{TestHome, block_on, decide, grant, lines, open};
use crate::audit::DecisionLog;
use crate::audit::OpeningResult::Opened;
use crate::audit::files::LogPaths;
use crate::audit::heads::{CheckpointKind, HeadFile, LogKey};

/// Records a grant and its opening, and syncs both.
fn reveal(log: &Arc<DecisionLog>) {
    let decision = grant(log, "acme").unwrap();
    let opening = open(log, &decision, Opened).unwrap();
    block_on(log.sync(&decision, &opening)).unwrap();
}

fn cut(home: &TestHome, to: usize) {
    let lines = lines(&home.text());
    home.put(&lines[..to]);
}

fn durable_lines(home: &TestHome) -> u64 {
    let paths = LogPaths::of(&home.home);
    let key = LogKey::read(&paths.key).unwrap().unwrap();
    let heads = HeadFile::open_to_read(&paths.heads).unwrap().unwrap();
    let durable = heads.checkpoint(&key, CheckpointKind::Durable).unwrap();
    durable.unwrap().at.lines
}

#[test]
fn what_was_revealed_is_not_excused_as_lost_after_a_reboot() {
    let made = |settings: &str| {
        let home = TestHome::with_settings(settings);
        let log = home.open();
        reveal(&log);
        reveal(&log);
        decide(&log, "acme").unwrap();
        home.assert_intact(5);
        home
    };
    for (sync, to, lost) in [
        ("grouped", 4, Some(1)),
        ("grouped", 3, None),
        ("none", 4, Some(1)),
        ("none", 3, Some(2)),
        ("none", 0, Some(5)),
    ] {
        let home = made(&format!("sync = {sync:?}"));
        cut(&home, to);
        home.assert_breached("within one boot");
        home.clock.start("second");
        if let Some(lost) = lost {
            let report = home.assert_intact(to as u64);
            assert_eq!(report.lost, lost, "{sync} {to}");
            home.run(2);
            home.assert_intact(to as u64 + 2);
        } else {
            home.assert_breached(sync);
            home.run(2);
            home.assert_breached(sync);
        }
    }
}

#[test]
fn a_sync_covers_the_records_of_all_processes_before_it() {
    let home = TestHome::new();
    let (one, two) = (home.open(), home.open());
    decide(&one, "acme").unwrap();
    decide(&two, "acme").unwrap();
    reveal(&one);
    assert_eq!(durable_lines(&home), 4);
    // An older position does not replace a newer one.
    for _ in 0..3 {
        decide(&two, "acme").unwrap();
        home.clock.pass(61_000);
        reveal(&home.open());
    }
    assert_eq!(durable_lines(&home), 13);
}

#[test]
fn parts_that_read_as_zeros_after_a_reboot_are_lost_and_the_log_continues() {
    let made = || {
        let home = TestHome::new();
        let log = home.open();
        reveal(&log);
        for _ in 0..4 {
            decide(&log, "acme").unwrap();
        }
        home.assert_intact(6);
        home
    };
    let zero = |home: &TestHome, line: usize| {
        let lines = lines(&home.text());
        let begin: usize = lines[..line].iter().map(String::len).sum();
        let file = File::options().write(true).open(home.log()).unwrap();
        let zeros = vec![0; lines[line].len()];
        file.write_all_at(&zeros, begin as u64).unwrap();
    };
    for line in 2..6 {
        let home = made();
        zero(&home, line);
        home.assert_breached("within one boot");
        home.clock.start("second");
        let report = home.assert_intact(line as u64);
        assert_eq!(report.lost, 6 - line as u64);
        home.run(2);
        let report = home.assert_intact(line as u64 + 2);
        assert_eq!(report.lost, 6 - line as u64);
    }
    // What was revealed is on the disk.
    for line in 0..2 {
        let home = made();
        zero(&home, line);
        home.clock.start("second");
        home.assert_breached("revealed");
        home.run(2);
        home.assert_breached("revealed");
    }
}

#[test]
fn a_head_that_is_older_than_the_log_after_a_reboot_is_not_a_breach() {
    // The parts of the head file that are older than the log: all, or all but the durable
    // position.
    for keeps_durable in [false, true] {
        let home = TestHome::new();
        let log = home.open();
        reveal(&log);
        let old = std::fs::read(home.head()).unwrap();
        reveal(&log);
        decide(&log, "acme").unwrap();
        let slot = |kind: CheckpointKind| kind as usize * 256..(kind as usize + 1) * 256;
        let mut found = old;
        let now = std::fs::read(home.head()).unwrap();
        if keeps_durable {
            let durable = slot(CheckpointKind::Durable);
            found[durable.clone()].copy_from_slice(&now[durable]);
        }
        std::fs::write(home.head(), found).unwrap();
        home.clock.start("second");
        assert_eq!(home.assert_intact(5).after_head, 3);
        home.run(1);
        assert_eq!(home.assert_intact(6).after_head, 0);
        // The end may be in ruins as well.
        std::fs::write(home.log(), home.text() + "\0\0\0").unwrap();
        home.clock.start("third");
        home.run(1);
        assert_eq!(home.assert_intact(7).lost, 0);
    }
}

#[test]
fn concurrent_requests_are_synced_with_their_records() {
    let home = TestHome::with_settings("max-bytes = 16384");
    let log = home.open();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    reveal(&log);
                }
            });
        }
    });
    assert!(home.numbered(3).exists());
    let report = home.assert_intact(320);
    assert_eq!((report.openings, report.without_opening), (160, 0));
    assert_eq!(durable_lines(&home), 320);
}
