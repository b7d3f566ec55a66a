//! Full files: changed, missing, archived, and accepted as lost.

use std::fs::File;
use std::io::Write as _;

use super::{ME, TestHome, lines, rechain};
use crate::audit::{LogEventKind, archive_log};

fn with_full_files() -> TestHome {
    let home = TestHome::with_small_files();
    for _ in 0..20 {
        home.run(10);
    }
    assert!(home.numbered(4).exists());
    home.assert_intact(200);
    home
}

/// The highest number of a full file.
fn newest(home: &TestHome) -> u64 {
    (1..99).rfind(|n| home.numbered(*n).exists()).unwrap()
}

#[test]
fn changed_or_missing_full_files_are_detected() {
    let home = with_full_files();
    std::fs::remove_file(home.numbered(2)).unwrap();
    let reasons = home.assert_breached("one in the middle");
    assert!(reasons.contains("file 2 is missing"), "{reasons}");
    let home = with_full_files();
    let newest = newest(&home);
    std::fs::remove_file(home.numbered(newest)).unwrap();
    let reasons = home.assert_breached("the newest full one");
    assert!(
        reasons.contains(&format!("file {newest} is missing")),
        "{reasons}"
    );
    // One record of a full file and its chain rewritten.
    let home = with_full_files();
    let mut text = lines(&std::fs::read_to_string(home.numbered(2)).unwrap());
    text[3] = text[3].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
    rechain(&mut text);
    std::fs::write(home.numbered(2), text.concat()).unwrap();
    let reasons = home.verify();
    let file = home.numbered(2);
    assert!(
        reasons.breaches.iter().any(|breach| breach.file == file),
        "{reasons:?}"
    );
    // A record appended to a full file.
    let home = with_full_files();
    let last = lines(&std::fs::read_to_string(home.numbered(2)).unwrap())
        .pop()
        .unwrap();
    let mut file = File::options().append(true).open(home.numbered(2)).unwrap();
    file.write_all(last.as_bytes()).unwrap();
    let reasons = home.assert_breached("added to a full file");
    assert!(
        reasons.contains("added after the file was full"),
        "{reasons}"
    );
    // Two swapped.
    let home = with_full_files();
    std::fs::rename(home.numbered(2), home.directory.path().join("x")).unwrap();
    std::fs::rename(home.numbered(3), home.numbered(2)).unwrap();
    std::fs::rename(home.directory.path().join("x"), home.numbered(3)).unwrap();
    home.assert_breached("swapped");
    // Planted files do not stop the log, and are detected.
    let home = with_full_files();
    let next = newest + 1;
    std::fs::write(home.numbered(next), "").unwrap();
    std::fs::write(home.numbered(next + 5), "{}\n").unwrap();
    home.run(100);
    let reasons = home.assert_breached("planted");
    assert!(reasons.contains("not part of the log"), "{reasons}");
    // The oldest file removed.
    let home = with_full_files();
    std::fs::remove_file(home.numbered(1)).unwrap();
    let reasons = home.assert_breached("the oldest one");
    assert!(
        reasons.contains("file 1 is missing, and it was not archived"),
        "{reasons}"
    );
}

#[test]
fn full_files_may_be_missing_after_they_were_archived() {
    let home = with_full_files();
    let newest = newest(&home);
    let elsewhere = home.directory.path().join("archive");
    for number in 1..=newest {
        let done = archive_log(&home.home, &ME, &elsewhere, Some(number + 1));
        assert!(done.unwrap().is_some());
        assert!(!home.numbered(number).exists());
        let report = home.verify();
        assert_eq!(report.breaches, [], "{number}");
        assert_eq!(report.first_file, Some(number + 1));
        assert_eq!(report.events.len() as u64, number);
    }
    let archived = std::fs::read_dir(&elsewhere).unwrap().count();
    assert_eq!(archived as u64, newest);
    assert_eq!(
        archive_log(&home.home, &ME, &elsewhere, None).unwrap(),
        None
    );
    // The numbers continue.
    home.run(60);
    assert!(home.numbered(newest + 1).exists() && !home.numbered(1).exists());
    assert_eq!(home.verify().breaches, []);
    std::fs::remove_file(home.log()).unwrap();
    home.assert_breached("the current file removed");
}

#[test]
fn only_unchanged_files_are_archived_and_the_ledger_cannot_be_forged() {
    // A changed file is not archived, and stays.
    let home = with_full_files();
    let mut text = std::fs::read_to_string(home.numbered(2)).unwrap();
    text = text.replacen("acme", "evil", 1);
    std::fs::write(home.numbered(2), text).unwrap();
    let elsewhere = home.directory.path().join("archive");
    let error = archive_log(&home.home, &ME, &elsewhere, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("file 2: it is not what was written"),
        "{error}"
    );
    assert!(home.numbered(1).exists() && home.numbered(2).exists());
    // Files are not archived into their own directory.
    let home = with_full_files();
    let own = home.log();
    let error = archive_log(&home.home, &ME, own.parent().unwrap(), None).unwrap_err();
    assert!(
        error.to_string().contains("choose another directory"),
        "{error}"
    );
    // It continues after it was stopped between copying and removing.
    let elsewhere = home.directory.path().join("archive");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(home.numbered(1), elsewhere.join("decisions.000001.jsonl")).unwrap();
    archive_log(&home.home, &ME, &elsewhere, Some(3))
        .unwrap()
        .unwrap();
    archive_log(&home.home, &ME, &elsewhere, Some(4))
        .unwrap()
        .unwrap();
    assert_eq!(home.verify().breaches, []);
    // A changed event of the ledger is not trusted, nor those after it.
    let ledger = home.log().with_extension("ledger");
    let written = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, written.replacen("\"to\":2", "\"to\":9", 1)).unwrap();
    let reasons = home.assert_breached("changed");
    assert!(
        reasons.contains("archived files and accepted losses was changed"),
        "{reasons}"
    );
    assert!(
        reasons.contains("the files 1 to 3 are missing"),
        "{reasons}"
    );
    // A removed event excuses nothing any more.
    let first = written.split_inclusive('\n').next().unwrap();
    std::fs::write(&ledger, first).unwrap();
    let reasons = home.assert_breached("taken");
    assert!(reasons.contains("file 3 is missing"), "{reasons}");
    // Nor does an event of another log.
    std::fs::write(&ledger, "").unwrap();
    let other = with_full_files();
    std::fs::copy(&ledger, other.log().with_extension("ledger")).unwrap();
    std::fs::write(other.log().with_extension("ledger"), &written).unwrap();
    other.assert_breached("another one's");
}

#[test]
fn an_accepted_loss_is_recorded_and_the_log_continues() {
    let home = with_full_files();
    let accept = || {
        crate::audit::archive::accept_at(&home.home, &ME, &[], "the disk was full", &*home.clock)
    };
    let error = accept().unwrap_err();
    assert!(error.to_string().contains("nothing is wrong"), "{error}");
    // A full file is missing, a line of another is changed, and the end is cut off.
    std::fs::remove_file(home.numbered(1)).unwrap();
    let text = std::fs::read_to_string(home.numbered(2)).unwrap();
    std::fs::write(home.numbered(2), text.replacen("acme", "evil", 1)).unwrap();
    let mut last = lines(&home.text());
    last.pop();
    home.put(&last);
    let wrong = home.verify().breaches.len() as u64;
    assert!(wrong >= 3, "{:?}", home.verify());
    let event = accept().unwrap();
    let LogEventKind::LossAccepted {
        breaches, reason, ..
    } = &event.kind
    else {
        panic!("{event:?}");
    };
    assert_eq!((*breaches, reason.as_str()), (wrong, "the disk was full"));
    let report = home.verify();
    assert_eq!(report.breaches, [], "{report:?}");
    assert_eq!(report.events, [event]);
    assert!(report.accepted > 0, "the changed line is still counted");
    // After that nothing is excused.
    for _ in 0..10 {
        home.run(10);
    }
    assert_eq!(home.verify().breaches, []);
    let mut last = lines(&home.text());
    last.pop();
    home.put(&last);
    home.assert_breached("cut after that");
    // A log that was emptied with its head is detected, and can be accepted.
    std::fs::write(home.log(), "").unwrap();
    std::fs::write(home.head(), "").unwrap();
    let reasons = home.assert_breached("emptied");
    assert!(reasons.contains("emptied or changed"), "{reasons}");
    accept().unwrap();
    assert_eq!(home.verify().breaches, []);
    home.run(3);
    assert_eq!(home.verify().breaches, []);
}
