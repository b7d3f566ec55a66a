//! Attacks on the log and on the head.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{ID, TestHome, decide, lines, rechain};
use crate::audit::heads::CheckpointKind;

/// What an attacker does who can write the log, and knows its format.
type Change = (&'static str, fn(&TestHome));

/// Attacks on a log of ten records by three processes.
const CHANGES: [Change; 12] = [
    ("deleted", |home| {
        std::fs::remove_file(home.log()).unwrap();
    }),
    ("emptied", |home| home.put(&[])),
    ("the last record cut off", |home| {
        let mut lines = lines(&home.text());
        lines.pop();
        home.put(&lines);
    }),
    ("the last five records cut off", |home| {
        let lines = lines(&home.text());
        home.put(&lines[..5]);
    }),
    ("cut within a record", |home| {
        let text = home.text();
        std::fs::write(home.log(), &text[..text.len() - 40]).unwrap();
    }),
    ("a record and its chain rewritten", |home| {
        let mut lines = lines(&home.text());
        lines[4] = lines[4].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        rechain(&mut lines);
        home.put(&lines);
    }),
    ("the last record rewritten", |home| {
        let mut lines = lines(&home.text());
        lines[9] = lines[9].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        home.put(&lines);
    }),
    ("a record removed and the chain rewritten", |home| {
        let mut lines = lines(&home.text());
        lines.remove(3);
        rechain(&mut lines);
        home.put(&lines);
    }),
    ("a record inserted and the chain rewritten", |home| {
        let mut lines = lines(&home.text());
        lines.insert(3, lines[3].clone());
        rechain(&mut lines);
        home.put(&lines);
    }),
    ("two records swapped and the chain rewritten", |home| {
        let mut lines = lines(&home.text());
        lines[3] = lines[3].replace(ID, "somebody");
        lines.swap(3, 4);
        rechain(&mut lines);
        home.put(&lines);
    }),
    ("replaced by another log", |home| {
        let other = TestHome::new();
        other.run(10);
        std::fs::copy(other.log(), home.log()).unwrap();
    }),
    ("replaced by a longer log", |home| {
        let other = TestHome::new();
        other.run(50);
        std::fs::copy(other.log(), home.log()).unwrap();
    }),
];

#[test]
fn a_changed_log_is_detected_even_after_later_records() {
    for (attack, change) in CHANGES {
        let home = TestHome::new();
        home.run(4);
        let running = home.open();
        decide(&running, "acme").unwrap();
        home.run(3);
        decide(&running, "acme").unwrap();
        decide(&running, "acme").unwrap();
        home.assert_intact(10);
        change(&home);
        home.assert_breached(attack);
        // A new process, and one that ran all the time.
        home.run(30);
        home.assert_breached(attack);
        if home.log().exists() && attack != "deleted" {
            decide(&running, "acme").unwrap();
        }
        home.assert_breached(attack);
    }
}

#[test]
fn a_log_changed_under_a_running_process_is_detected() {
    for (attack, change) in CHANGES {
        let home = TestHome::new();
        let running = home.open();
        for _ in 0..10 {
            decide(&running, "acme").unwrap();
        }
        home.assert_intact(10);
        change(&home);
        // Writing to a removed file fails.
        let recorded = decide(&running, "acme");
        assert_eq!(recorded.is_ok(), attack != "deleted", "{attack}");
        home.assert_breached(attack);
    }
}

#[test]
fn a_log_that_was_rolled_back_is_detected() {
    let home = TestHome::new();
    home.run(3);
    let before = std::fs::read(home.log()).unwrap();
    home.run(2);
    let head = std::fs::read(home.head()).unwrap();
    std::fs::write(home.log(), &before).unwrap();
    let reasons = home.assert_breached("rolled back");
    assert!(reasons.contains("2 records are missing"), "{reasons}");
    // A running process does not accept an older head either.
    let home = TestHome::new();
    let running = home.open();
    decide(&running, "acme").unwrap();
    let (before, old_head) = (home.text(), std::fs::read(home.head()).unwrap());
    decide(&running, "acme").unwrap();
    std::fs::write(home.log(), before).unwrap();
    std::fs::write(home.head(), old_head).unwrap();
    decide(&running, "acme").unwrap();
    home.assert_breached("both rolled back");
    drop(head);
}

#[test]
fn a_head_that_was_removed_or_changed_is_detected_permanently() {
    let changes: [Change; 6] = [
        ("removed", |home| {
            std::fs::remove_file(home.head()).unwrap();
        }),
        ("emptied", |home| std::fs::write(home.head(), "").unwrap()),
        ("zeroed", |home| {
            std::fs::write(home.head(), [0; 2048]).unwrap();
        }),
        ("the head changed", |home| {
            let file = File::options().write(true).open(home.head()).unwrap();
            file.write_all_at(&[7], 256 + 20).unwrap();
        }),
        ("the begin checkpoint written over the head", |home| {
            let bytes = std::fs::read(home.head()).unwrap();
            let file = File::options().write(true).open(home.head()).unwrap();
            file.write_all_at(&bytes[..256], 256).unwrap();
        }),
        ("of another home", |home| {
            let other = TestHome::new();
            other.run(5);
            std::fs::copy(other.head(), home.head()).unwrap();
        }),
    ];
    for (attack, change) in changes {
        let home = TestHome::new();
        home.run(5);
        home.assert_intact(5);
        std::fs::write(home.log(), "").unwrap();
        change(&home);
        home.assert_breached(attack);
        home.run(2);
        let reasons = home.assert_breached(attack);
        assert!(
            reasons.contains("changed once and replaced"),
            "{attack}: {reasons}"
        );
        // The owner may start new heads.
        std::fs::remove_file(home.head()).unwrap();
        std::fs::remove_file(home.key()).unwrap();
        home.run(3);
        assert_eq!(home.verify().breaches, [], "{attack}");
    }
}

#[test]
fn a_changed_checkpoint_is_detected() {
    for kind in [
        CheckpointKind::Begin,
        CheckpointKind::Head,
        CheckpointKind::Durable,
        CheckpointKind::NextDurable,
        CheckpointKind::Lost,
    ] {
        let home = TestHome::new();
        home.run(5);
        let file = File::options().write(true).open(home.head()).unwrap();
        file.write_all_at(&[0; 160], kind as u64 * 256).unwrap();
        home.assert_breached(&format!("{kind:?}"));
    }
    let home = TestHome::with_small_files();
    home.run(100);
    let file = File::options().write(true).open(home.head()).unwrap();
    file.write_all_at(&[1], CheckpointKind::Closed as u64 * 256 + 9)
        .unwrap();
    let reasons = home.assert_breached("closed");
    assert!(
        reasons.contains("the checkpoint of file 1 was changed"),
        "{reasons}"
    );
}
