//! Reading the log while it is written.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::{ID, ME, TestHome, decide, scopes};
use crate::audit::{Filter, archive_log, last_records, records};

#[test]
fn the_last_records_are_the_end_of_all_records() {
    let home = TestHome::with_small_files();
    let log = home.open();
    for number in 0..130 {
        decide(&log, &format!("acme/p{number}")).unwrap();
        if number % 10 == 0 {
            let mut file = File::options().append(true).open(home.log()).unwrap();
            file.write_all(b"this is not a record\n").unwrap();
        }
    }
    assert!(home.numbered(2).exists());
    let all = scopes(records(&home.home, &Filter::default()));
    assert_eq!(all.len(), 130);
    for count in [0, 1, 2, 39, 40, 41, 100, 129, 130, 131, usize::MAX] {
        let last = scopes(last_records(&home.home, &Filter::default(), count).unwrap());
        assert_eq!(last, all[all.len().saturating_sub(count)..], "{count}");
    }
    let filter = Filter {
        scope: Some("acme/p7".parse().unwrap()),
        ..Filter::default()
    };
    for count in [1, 2] {
        let last = scopes(last_records(&home.home, &filter, count).unwrap());
        assert_eq!(last, ["acme/p7"]);
    }
}

#[test]
fn following_reads_each_record_once_across_rotations() {
    let home = TestHome::with_small_files();
    let log = home.open();
    let written = std::cell::Cell::new(0);
    let write = |count: usize| {
        for _ in 0..count {
            decide(&log, &format!("acme/p{}", written.get())).unwrap();
            written.set(written.get() + 1);
        }
    };
    write(5);
    let mut following = last_records(&home.home, &Filter::default(), 2).unwrap();
    let mut seen = scopes(&mut following);
    // Nothing, some, several files at once, and exactly up to a rotation.
    for count in [0, 1, 3, 150, 0, 40, 1, 1, 200] {
        write(count);
        seen.extend(scopes(&mut following));
    }
    let expected: Vec<String> = (3..written.get()).map(|n| format!("acme/p{n}")).collect();
    assert_eq!(seen, expected);
    // Files that were read may be archived.
    let elsewhere = home.directory.path().join("archive");
    archive_log(&home.home, &ME, &elsewhere, Some(2)).unwrap();
    write(100);
    assert_eq!(scopes(&mut following).len(), 100);
    // An incomplete record is read once it is complete.
    let text = home.text();
    let (line, rest) = text.lines().last().unwrap().split_at(50);
    let mut file = File::options().append(true).open(home.log()).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    assert!(following.next().is_none());
    file.write_all(format!("{rest}\n").as_bytes()).unwrap();
    assert_eq!(scopes(&mut following).len(), 1);
    // A truncated log is read from its start.
    std::fs::write(home.log(), "").unwrap();
    assert!(following.next().is_none());
    write(1);
    assert_eq!(scopes(&mut following).len(), 1);
}

#[test]
fn a_line_that_is_not_a_record_is_skipped_and_reported() {
    let home = TestHome::new();
    home.run(2);
    let mut file = File::options().append(true).open(home.log()).unwrap();
    let too_long = "x".repeat(crate::audit::lines::MAX_LINE_BYTES + 1);
    let forged = home.text().lines().next().unwrap().to_owned();
    let with_carriage_return = forged.replacen(',', ",\r", 1);
    for line in [
        too_long.as_str(),
        "{\"what\":1}",
        &forged.replacen("\"kind\":\"decision\"", "\"kind\":\"later\"", 1),
        "[]",
        "",
        "{\"at_ms\":",
        &with_carriage_return,
        &forged.replacen("\"at_ms\":18", "\"at_ms\":-18", 1),
        &forged.replacen(ID, "\u{fffe}\\ud800", 1),
    ] {
        writeln!(file, "{line}").unwrap();
    }
    file.write_all(b"\xff\xfe\n").unwrap();
    let read = || scopes(records(&home.home, &Filter::default()));
    assert_eq!(read().len(), 2);
    assert_eq!(
        scopes(last_records(&home.home, &Filter::default(), 9).unwrap()).len(),
        2
    );
    let report = home.verify();
    assert!(report.breaches.len() >= 4, "{report:?}");
    assert!(
        report
            .breaches
            .iter()
            .any(|b| b.reason.contains("longer than any"))
    );
    home.run(1);
    assert_eq!(read().len(), 3);
}

#[test]
fn a_file_that_is_not_regular_is_refused_without_blocking() {
    for (what, make) in [
        (
            "a pipe",
            (|path: &std::path::Path| {
                let made = std::process::Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            }) as fn(&std::path::Path),
        ),
        ("a directory", |path| std::fs::create_dir(path).unwrap()),
        ("a device", |path| {
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        }),
    ] {
        let home = TestHome::new();
        home.run(1);
        make(&home.numbered(1));
        std::fs::remove_file(home.log()).unwrap();
        for path in [home.log(), home.numbered(1)] {
            if path == home.log() {
                std::fs::rename(home.numbered(1), &path).unwrap();
            } else {
                std::fs::rename(home.log(), &path).unwrap();
            }
            let all = records(&home.home, &Filter::default()).next();
            let last = last_records(&home.home, &Filter::default(), 1).map(|mut last| last.next());
            let verified = crate::audit::verify(&home.home, &[]);
            for error in [
                all.unwrap().unwrap_err(),
                last.unwrap_err(),
                verified.unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(error.contains("not a regular file"), "{what}: {error}");
                assert!(error.contains(path.to_str().unwrap()), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_link_to_a_regular_file_is_read() {
    let home = TestHome::new();
    let elsewhere = home.directory.path().join("log-on-another-disk");
    std::fs::write(&elsewhere, "").unwrap();
    std::fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.log()).unwrap();
    home.run(3);
    home.assert_intact(3);
    assert_eq!(scopes(records(&home.home, &Filter::default())).len(), 3);
    assert!(!std::fs::read(elsewhere).unwrap().is_empty());
}

#[test]
fn a_huge_file_without_a_line_is_read() {
    let home = TestHome::new();
    home.run(2);
    let file = File::options().write(true).open(home.log()).unwrap();
    // A gigabyte of zeros.
    file.set_len(1 << 30).unwrap();
    let all = scopes(records(&home.home, &Filter::default()));
    let last = scopes(last_records(&home.home, &Filter::default(), 3).unwrap());
    assert_eq!((all.len(), last.len()), (2, 2));
    assert_eq!(home.verify().incomplete, 1);
    // It is full, so a new one is begun without reading it.
    home.run(1);
    let all = scopes(records(&home.home, &Filter::default()));
    assert_eq!(all.len(), 3);
}
