//! Heads of the log that are stored elsewhere.

use super::{ID, ME, TestHome, block_on, decide, lines, rechain};
use crate::audit::verify::verify_at;
use crate::audit::{LogReport, archive_log};
use entail_store::LogHead;

fn head(home: &TestHome) -> LogHead {
    block_on(home.open().head()).unwrap().unwrap()
}

fn verify(home: &TestHome, heads: &[LogHead]) -> LogReport {
    verify_at(&home.home, &*home.clock, heads).unwrap()
}

#[track_caller]
fn assert_not_contained(home: &TestHome, head: LogHead, what: &str) {
    let before = verify(home, &[]).breaches.len();
    let report = verify(home, &[head]);
    assert!(report.breaches.len() > before, "{what}: {report:?}");
    assert_eq!(report.heads_contained, 0, "{what}");
}

#[test]
fn a_log_contains_the_heads_that_it_had() {
    let home = TestHome::with_small_files();
    let running = home.open();
    let mut heads = vec![head(&home)];
    for _ in 0..30 {
        home.run(7);
        decide(&running, "acme").unwrap();
        heads.push(head(&home));
        heads.push(block_on(running.head()).unwrap().unwrap());
    }
    assert!(home.numbered(3).exists());
    assert_eq!(heads.last().unwrap().lines, 240);
    let report = verify(&home, &heads);
    assert_eq!(report.breaches, []);
    assert_eq!((report.heads_contained, report.heads_unchecked), (61, 0));
    // What it covers is on the disk.
    let mut rest = lines(&home.text());
    rest.pop();
    home.put(&rest);
    home.clock.start("second");
    assert_eq!(verify(&home, &[]).lost, 1);
    assert_not_contained(&home, heads[60], "cut, and the machine restarted");
}

#[test]
fn a_log_that_was_replaced_with_its_head_and_key_does_not_contain_an_older_head() {
    let make = |count| {
        let home = TestHome::new();
        home.run(count);
        home
    };
    let home = make(5);
    let known = head(&home);
    for count in [0, 3, 5, 9] {
        for path in [home.log(), home.head(), home.key()] {
            let _ = std::fs::remove_file(path);
        }
        if count > 0 {
            home.run(count);
        }
        assert_eq!(verify(&home, &[]).breaches, [], "{count}");
        assert_not_contained(&home, known, "replaced");
    }
    // Rewritten in place.
    let home = make(5);
    let known = head(&home);
    let mut changed = lines(&home.text());
    changed[2] = changed[2].replace(ID, "somebody");
    rechain(&mut changed);
    home.put(&changed);
    assert_not_contained(&home, known, "rewritten");
    // Of another log.
    assert_not_contained(&make(5), known, "another log");
}

#[test]
fn a_head_of_archived_records_or_of_an_accepted_loss_is_not_checked() {
    let home = TestHome::with_small_files();
    home.run(5);
    let archived = head(&home);
    home.run(60);
    let present = head(&home);
    let elsewhere = home.directory.path().join("archive");
    archive_log(&home.home, &ME, &elsewhere, None)
        .unwrap()
        .unwrap();
    let report = verify(&home, &[archived, present]);
    assert_eq!(report.breaches, []);
    assert_eq!((report.heads_contained, report.heads_unchecked), (1, 1));
    std::fs::write(home.log(), "").unwrap();
    home.assert_breached("emptied");
    crate::audit::archive::accept_at(&home.home, &ME, &[], "a test", &*home.clock).unwrap();
    home.run(3);
    let after = head(&home);
    let report = verify(&home, &[archived, present, after]);
    assert_eq!(report.breaches, []);
    assert_eq!((report.heads_contained, report.heads_unchecked), (1, 2));
}

#[test]
fn a_log_that_is_not_a_regular_file_has_no_head() {
    let home = TestHome::new();
    let pipe = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(home.log())
        .status();
    assert!(pipe.unwrap().success());
    let _reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(home.log())
        .unwrap();
    assert_eq!(block_on(home.open().head()).unwrap(), None);
}
