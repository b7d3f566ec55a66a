//! Processes that write one log, and are stopped between steps.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{TestHome, decide, lines};
use crate::audit::files::LogPaths;
use crate::audit::heads::{CheckpointKind, HeadFile, LogKey};
use crate::error::Error;

#[test]
fn a_log_of_many_processes_verifies_as_it_grows() {
    let home = TestHome::with_small_files();
    assert!(!home.verify().has_head);
    let long = home.open();
    let mut count = 0;
    for run in 0..60 {
        home.run(1 + run % 4);
        decide(&long, "acme/evals").unwrap();
        count += 2 + u64::try_from(run % 4).unwrap();
        let report = home.assert_intact(count);
        assert_eq!((report.after_head, report.lost), (0, 0));
    }
    assert!(home.numbered(3).exists());
}

#[test]
fn concurrent_processes_write_one_log_with_one_head() {
    let home = TestHome::with_small_files();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    home.run(20);
                }
            });
        }
    });
    let report = home.assert_intact(800);
    assert_eq!((report.writers, report.after_head), (40, 0));
    let paths = LogPaths::of(&home.home);
    let key = LogKey::read(&paths.key).unwrap().unwrap();
    let heads = HeadFile::open_to_read(&paths.heads).unwrap().unwrap();
    let head = heads
        .checkpoint(&key, CheckpointKind::Head)
        .unwrap()
        .unwrap();
    assert_eq!(head.at.lines, 800);
}

#[test]
fn a_failing_secondary_log_leaves_the_chain_of_the_log_intact() {
    let home = TestHome::new();
    let file = home.home.settings_file();
    std::fs::write(&file, "[decision-log]\nsecondary = \"/dev/full\"\n").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let log = home.open();
    for _ in 0..3 {
        assert!(matches!(
            decide(&log, "acme"),
            Err(Error::NotRecorded { .. })
        ));
    }
    home.assert_intact(3);
}

#[test]
fn a_log_that_failed_for_a_while_is_written_again_afterwards() {
    let home = TestHome::new();
    home.run(1);
    let second = home.directory.path().join("second");
    let settings = format!("[decision-log]\nsecondary = {second:?}\nrequire = \"any\"\n");
    std::fs::write(home.home.settings_file(), settings).unwrap();
    std::fs::set_permissions(home.home.settings_file(), Permissions::from_mode(0o600)).unwrap();
    let log = home.open();
    // Its key cannot be read.
    std::fs::set_permissions(home.key(), Permissions::from_mode(0o644)).unwrap();
    decide(&log, "acme").unwrap();
    std::fs::set_permissions(home.key(), Permissions::from_mode(0o600)).unwrap();
    decide(&log, "acme").unwrap();
    decide(&log, "acme").unwrap();
    assert_eq!(lines(&std::fs::read_to_string(second).unwrap()).len(), 3);
    assert_eq!(lines(&home.text()).len(), 3);
    let report = home.verify();
    assert_eq!((report.has_head, report.after_head), (true, 0));
    // The record that only the secondary log has is missing in the log.
    let reasons = home.assert_breached("a record is in the secondary log only");
    assert!(reasons.contains("begins with its record 2"), "{reasons}");
}

#[test]
fn a_process_stopped_between_its_steps_is_not_a_breach() {
    let home = TestHome::with_small_files();
    home.run(3);
    // Between the record and the head.
    let head = std::fs::read(home.head()).unwrap();
    home.run(1);
    std::fs::write(home.head(), head).unwrap();
    assert_eq!(home.assert_intact(4).after_head, 1);
    home.run(1);
    assert_eq!(home.assert_intact(5).after_head, 0);
    // Within the record.
    let mut file = File::options().append(true).open(home.log()).unwrap();
    file.write_all(b"{\"writer\":\"abc").unwrap();
    assert_eq!(home.assert_intact(5).incomplete, 1);
    let running = home.open();
    decide(&running, "acme").unwrap();
    assert_eq!(home.assert_intact(6).incomplete, 1);
    decide(&running, "acme").unwrap();
    home.run(1);
    home.assert_intact(8);
    // Between the number of a full file and the head, before and after a new file was
    // begun.
    for is_begun in [false, true] {
        let number = (1..99).find(|n| !home.numbered(*n).exists()).unwrap();
        let records = home.verify().records;
        std::fs::rename(home.log(), home.numbered(number)).unwrap();
        if is_begun {
            let log = home.open();
            drop(log);
        }
        home.assert_intact(records);
        home.run(2);
        home.assert_intact(records + 2);
        decide(&running, "acme").unwrap();
        home.assert_intact(records + 3);
    }
}

#[test]
fn a_log_without_a_head_is_covered_from_its_end_on() {
    let home = TestHome::with_small_files();
    home.run(100);
    std::fs::remove_file(home.head()).unwrap();
    std::fs::remove_file(home.key()).unwrap();
    assert!(!home.verify().has_head);
    home.run(5);
    home.assert_intact(105);
    let mut changed = lines(&home.text());
    changed.pop();
    home.put(&changed);
    home.assert_breached("cut");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = TestHome::new();
    home.run(1);
    std::fs::set_permissions(home.key(), Permissions::from_mode(0o640)).unwrap();
    let error = decide(&home.open(), "acme").unwrap_err().to_string();
    assert!(
        error.contains("chmod 600") && error.contains("log.key"),
        "{error}"
    );
    std::fs::set_permissions(home.key(), Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(home.head(), Permissions::from_mode(0o644)).unwrap();
    let error = decide(&home.open(), "acme").unwrap_err().to_string();
    assert!(
        error.contains("chmod 600") && error.contains("decisions.head"),
        "{error}"
    );
    std::fs::set_permissions(home.head(), Permissions::from_mode(0o600)).unwrap();
    std::fs::write(home.key(), "no key\n").unwrap();
    let error = decide(&home.open(), "acme").unwrap_err().to_string();
    assert!(error.contains("hexadecimal"), "{error}");
}
