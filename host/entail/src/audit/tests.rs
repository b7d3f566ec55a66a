//! The log as its writers, its readers and those who would change it see it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use entail_policy::{Facts, RequestFacts};
use entail_store::Digest;

use super::heads::{HeadFile, Key, Kind, Paths};
use super::verify::verify_at;
use super::{
    DecisionLog, Filter, LogEventKind, LogReport, Outcome, Purpose, Record, archive_log,
    last_records, records,
};
use crate::clock::fake::FakeClock;
use crate::error::Error;
use crate::home::Home;

/// A home whose log is written and looked at.
struct Place {
    home: Home,
    clock: Arc<FakeClock>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let home = runtime.block_on(Home::create(&path, None)).unwrap();
        Place {
            home,
            clock: FakeClock::new(),
            folder,
        }
    }

    /// One whose files are full after some forty records.
    fn with_small_files() -> Self {
        let place = Place::new();
        let file = place.home.settings_file();
        std::fs::write(&file, "[decision-log]\nmax-bytes = 16384\n").unwrap();
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        place
    }

    fn open(&self) -> DecisionLog {
        DecisionLog::open(&self.home, self.clock.clone()).unwrap()
    }

    /// A process comes, makes so many decisions, and goes.
    fn run(&self, decisions: usize) {
        let log = self.open();
        for _ in 0..decisions {
            decide(&log, "acme").unwrap();
        }
    }

    fn log(&self) -> PathBuf {
        self.home.decision_log()
    }

    fn numbered(&self, number: u64) -> PathBuf {
        super::files::numbered(&self.log(), number)
    }

    fn head(&self) -> PathBuf {
        Paths::of(&self.home).heads
    }

    fn key(&self) -> PathBuf {
        Paths::of(&self.home).key
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    fn put(&self, lines: &[String]) {
        std::fs::write(self.log(), lines.concat()).unwrap();
    }

    fn verify(&self) -> LogReport {
        verify_at(&self.home, &*self.clock).unwrap()
    }

    #[track_caller]
    fn is_whole(&self, records: u64) -> LogReport {
        let report = self.verify();
        assert_eq!(report.breaches, [], "{report:?}");
        assert_eq!((report.records, report.has_head), (records, true));
        report
    }

    #[track_caller]
    fn is_breached(&self, what: &str) -> String {
        let report = self.verify();
        assert!(!report.breaches.is_empty(), "{what}: {report:?}");
        let told = report.breaches.iter().map(|breach| &breach.how);
        told.cloned().collect::<Vec<_>>().join("; ")
    }
}

fn decide(log: &DecisionLog, scope: &str) -> Result<(), Error> {
    let at_ms = 1_800_000_000_000;
    log.write(&Record {
        at_ms,
        purpose: Purpose::Lease,
        principal: "local:owner",
        scope,
        provider: "openai",
        revision: 7,
        policy: entail_policy::PolicyDigest::of(b"policy"),
        binding: None,
        outcome: Outcome::Failed {
            failure: "it is only a test".to_owned(),
        },
        granted: None,
        facts: &Facts {
            request: RequestFacts {
                provider: "openai".to_owned(),
                model: None,
                credential: None,
                principal: "local:owner".to_owned(),
                now_ms: at_ms,
                attributes: BTreeMap::new(),
            },
            chain: Vec::new(),
        },
    })
}

/// The lines with their newlines.
fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// Makes the chains fit again, as one would who knows how they are made.
fn chain_again(lines: &mut [String]) {
    let mut writers = std::collections::HashMap::new();
    let mut last: Option<Digest> = None;
    for line in lines {
        let mut json: serde_json::Value = serde_json::from_str(line).unwrap();
        let writer = json["writer"].as_str().unwrap().to_owned();
        let (sequence, previous) = match writers.get(&writer) {
            Some((sequence, digest)) => (*sequence, Some(*digest)),
            None => (0, last),
        };
        json["sequence"] = (sequence + 1).into();
        json["previous"] =
            previous.map_or(serde_json::Value::Null, |d: Digest| d.to_string().into());
        *line = format!("{json}\n");
        let digest = Digest::of(line.trim_end().as_bytes());
        writers.insert(writer, (sequence + 1, digest));
        last = Some(digest);
    }
}

#[test]
fn a_log_of_many_processes_verifies_as_it_grows() {
    let place = Place::with_small_files();
    assert!(!place.verify().has_head);
    let long = place.open();
    let mut count = 0;
    for run in 0..60 {
        place.run(1 + run % 4);
        decide(&long, "acme/evals").unwrap();
        count += 2 + u64::try_from(run % 4).unwrap();
        let report = place.is_whole(count);
        assert_eq!((report.after_head, report.lost), (0, 0));
    }
    assert!(place.numbered(3).exists());
}

#[test]
fn many_processes_at_once_make_one_log_that_the_head_is_of() {
    let place = Place::with_small_files();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    place.run(20);
                }
            });
        }
    });
    let report = place.is_whole(800);
    assert_eq!((report.writers, report.after_head), (40, 0));
    let paths = Paths::of(&place.home);
    let key = Key::read(&paths.key).unwrap().unwrap();
    let heads = HeadFile::open_to_read(&paths.heads).unwrap().unwrap();
    let head = heads.mark(&key, Kind::Head).unwrap().unwrap();
    assert_eq!(head.at.lines, 800);
}

/// What one does who can write the log, and knows how it is made.
type Specimen = (&'static str, fn(&Place));

/// Ways to change a log of ten records by three processes.
const CHANGES: [Specimen; 12] = [
    ("deleted", |place| {
        std::fs::remove_file(place.log()).unwrap();
    }),
    ("emptied", |place| place.put(&[])),
    ("the last record cut off", |place| {
        let mut lines = lines(&place.text());
        lines.pop();
        place.put(&lines);
    }),
    ("the last five records cut off", |place| {
        let lines = lines(&place.text());
        place.put(&lines[..5]);
    }),
    ("cut within a record", |place| {
        let text = place.text();
        std::fs::write(place.log(), &text[..text.len() - 40]).unwrap();
    }),
    ("a record written anew, the chain with it", |place| {
        let mut lines = lines(&place.text());
        lines[4] = lines[4].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        chain_again(&mut lines);
        place.put(&lines);
    }),
    ("the last record written anew", |place| {
        let mut lines = lines(&place.text());
        lines[9] = lines[9].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        place.put(&lines);
    }),
    ("a record taken out, the chain with it", |place| {
        let mut lines = lines(&place.text());
        lines.remove(3);
        chain_again(&mut lines);
        place.put(&lines);
    }),
    ("a record put in, the chain with it", |place| {
        let mut lines = lines(&place.text());
        lines.insert(3, lines[3].clone());
        chain_again(&mut lines);
        place.put(&lines);
    }),
    ("two records swapped, the chain with them", |place| {
        let mut lines = lines(&place.text());
        lines[3] = lines[3].replace("local:owner", "somebody");
        lines.swap(3, 4);
        chain_again(&mut lines);
        place.put(&lines);
    }),
    ("another log in its place", |place| {
        let other = Place::new();
        other.run(10);
        std::fs::copy(other.log(), place.log()).unwrap();
    }),
    ("a longer log in its place", |place| {
        let other = Place::new();
        other.run(50);
        std::fs::copy(other.log(), place.log()).unwrap();
    }),
];

#[test]
fn a_log_that_was_changed_shows_and_still_does_after_later_records() {
    for (what, change) in CHANGES {
        let place = Place::new();
        place.run(4);
        let running = place.open();
        decide(&running, "acme").unwrap();
        place.run(3);
        decide(&running, "acme").unwrap();
        decide(&running, "acme").unwrap();
        place.is_whole(10);
        change(&place);
        place.is_breached(what);
        // A new process, and one that was there all the time.
        place.run(30);
        place.is_breached(what);
        if place.log().exists() && what != "deleted" {
            decide(&running, "acme").unwrap();
        }
        place.is_breached(what);
    }
}

#[test]
fn a_log_that_was_changed_under_a_running_process_shows() {
    for (what, change) in CHANGES {
        let place = Place::new();
        let running = place.open();
        for _ in 0..10 {
            decide(&running, "acme").unwrap();
        }
        place.is_whole(10);
        change(&place);
        // One whose file was removed says so.
        let recorded = decide(&running, "acme");
        assert_eq!(recorded.is_ok(), what != "deleted", "{what}");
        place.is_breached(what);
    }
}

#[test]
fn an_older_copy_of_the_log_shows() {
    let place = Place::new();
    place.run(3);
    let before = std::fs::read(place.log()).unwrap();
    place.run(2);
    let head = std::fs::read(place.head()).unwrap();
    std::fs::write(place.log(), &before).unwrap();
    let told = place.is_breached("an older copy");
    assert!(told.contains("2 records are missing"), "{told}");
    // A process that is running does not believe an older head either.
    let place = Place::new();
    let running = place.open();
    decide(&running, "acme").unwrap();
    let (before, old_head) = (place.text(), std::fs::read(place.head()).unwrap());
    decide(&running, "acme").unwrap();
    std::fs::write(place.log(), before).unwrap();
    std::fs::write(place.head(), old_head).unwrap();
    decide(&running, "acme").unwrap();
    place.is_breached("both put back");
    drop(head);
}

#[test]
fn a_head_that_was_removed_emptied_or_changed_shows_for_good() {
    let changes: [Specimen; 6] = [
        ("removed", |place| {
            std::fs::remove_file(place.head()).unwrap();
        }),
        ("emptied", |place| std::fs::write(place.head(), "").unwrap()),
        ("zeroed", |place| {
            std::fs::write(place.head(), [0; 2048]).unwrap();
        }),
        ("the head changed", |place| {
            let file = File::options().write(true).open(place.head()).unwrap();
            file.write_all_at(&[7], 256 + 20).unwrap();
        }),
        ("the beginning in the place of the head", |place| {
            let bytes = std::fs::read(place.head()).unwrap();
            let file = File::options().write(true).open(place.head()).unwrap();
            file.write_all_at(&bytes[..256], 256).unwrap();
        }),
        ("of another home", |place| {
            let other = Place::new();
            other.run(5);
            std::fs::copy(other.head(), place.head()).unwrap();
        }),
    ];
    for (what, change) in changes {
        let place = Place::new();
        place.run(5);
        place.is_whole(5);
        std::fs::write(place.log(), "").unwrap();
        change(&place);
        place.is_breached(what);
        place.run(2);
        let told = place.is_breached(what);
        assert!(told.contains("begun anew"), "{what}: {told}");
        // The owner may begin anew.
        std::fs::remove_file(place.head()).unwrap();
        std::fs::remove_file(place.key()).unwrap();
        place.run(3);
        assert_eq!(place.verify().breaches, [], "{what}");
    }
}

#[test]
fn a_part_of_the_head_that_was_changed_shows() {
    for mark in [
        Kind::Begin,
        Kind::Head,
        Kind::Settled,
        Kind::Settling,
        Kind::Lost,
    ] {
        let place = Place::new();
        place.run(5);
        let file = File::options().write(true).open(place.head()).unwrap();
        file.write_all_at(&[0; 160], mark as u64 * 256).unwrap();
        place.is_breached(&format!("{mark:?}"));
    }
    let place = Place::with_small_files();
    place.run(100);
    let file = File::options().write(true).open(place.head()).unwrap();
    file.write_all_at(&[1], Kind::Closed as u64 * 256 + 9)
        .unwrap();
    let told = place.is_breached("closed");
    assert!(
        told.contains("remembered of the file 1 was changed"),
        "{told}"
    );
}

#[test]
fn a_second_place_that_takes_nothing_leaves_the_chain_of_the_first_whole() {
    let place = Place::new();
    let file = place.home.settings_file();
    std::fs::write(&file, "[decision-log]\nalso-to = \"/dev/full\"\n").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let log = place.open();
    for _ in 0..3 {
        assert!(matches!(
            decide(&log, "acme"),
            Err(Error::NotRecorded { .. })
        ));
    }
    place.is_whole(3);
}

#[test]
fn full_files_that_are_changed_or_removed_show_unless_they_were_archived() {
    let made = || {
        let place = Place::with_small_files();
        for _ in 0..20 {
            place.run(10);
        }
        assert!(place.numbered(4).exists());
        place.is_whole(200);
        place
    };
    let place = made();
    std::fs::remove_file(place.numbered(2)).unwrap();
    let told = place.is_breached("one in the middle");
    assert!(told.contains("file 2 is missing"), "{told}");
    let place = made();
    let newest = (1..99).rfind(|n| place.numbered(*n).exists()).unwrap();
    std::fs::remove_file(place.numbered(newest)).unwrap();
    let told = place.is_breached("the newest full one");
    assert!(
        told.contains(&format!("file {newest} is missing")),
        "{told}"
    );
    // One record of a full file written anew, and the chain of all that comes after.
    let place = made();
    let mut text = lines(&std::fs::read_to_string(place.numbered(2)).unwrap());
    text[3] = text[3].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
    chain_again(&mut text);
    std::fs::write(place.numbered(2), text.concat()).unwrap();
    let told = place.verify();
    let file = place.numbered(2);
    assert!(
        told.breaches.iter().any(|breach| breach.file == file),
        "{told:?}"
    );
    // A record more at the end of one.
    let place = made();
    let last = lines(&std::fs::read_to_string(place.numbered(2)).unwrap())
        .pop()
        .unwrap();
    let mut file = File::options()
        .append(true)
        .open(place.numbered(2))
        .unwrap();
    file.write_all(last.as_bytes()).unwrap();
    let told = place.is_breached("added to a full file");
    assert!(told.contains("added after the file was full"), "{told}");
    // Two swapped.
    let place = made();
    std::fs::rename(place.numbered(2), place.folder.path().join("x")).unwrap();
    std::fs::rename(place.numbered(3), place.numbered(2)).unwrap();
    std::fs::rename(place.folder.path().join("x"), place.numbered(3)).unwrap();
    place.is_breached("swapped");
    // One that nobody made does not stop the log, and is found.
    let place = made();
    let next = newest + 1;
    std::fs::write(place.numbered(next), "").unwrap();
    std::fs::write(place.numbered(next + 5), "{}\n").unwrap();
    place.run(100);
    let told = place.is_breached("planted");
    assert!(told.contains("none of the log's"), "{told}");
    // The oldest one, taken.
    let place = made();
    std::fs::remove_file(place.numbered(1)).unwrap();
    let told = place.is_breached("the oldest one");
    assert!(
        told.contains("file 1 is missing, and it was not archived"),
        "{told}"
    );
    // Older ones are archived, one after the other, and then all.
    let place = made();
    let elsewhere = place.folder.path().join("archive");
    for number in 1..=newest {
        let done = archive_log(&place.home, &ME, &elsewhere, Some(number + 1));
        assert!(done.unwrap().is_some());
        assert!(!place.numbered(number).exists());
        let report = place.verify();
        assert_eq!(report.breaches, [], "{number}");
        assert_eq!(report.begins_with, Some(number + 1));
        assert_eq!(report.events.len() as u64, number);
    }
    let archived = std::fs::read_dir(&elsewhere).unwrap().count();
    assert_eq!(archived as u64, newest);
    assert_eq!(
        archive_log(&place.home, &ME, &elsewhere, None).unwrap(),
        None
    );
    // The numbers go on.
    place.run(60);
    assert!(place.numbered(newest + 1).exists() && !place.numbered(1).exists());
    assert_eq!(place.verify().breaches, []);
    std::fs::remove_file(place.log()).unwrap();
    place.is_breached("all of it");
}

#[test]
fn what_a_loss_of_power_takes_is_counted_and_no_more_than_that_is_excused() {
    const MINUTE: u64 = 60_000;
    let made = || {
        let place = Place::new();
        // Five records that are settled, five that are not.
        place.run(5);
        place.clock.pass(10 * MINUTE);
        place.run(1);
        place.clock.pass(MINUTE / 2);
        place.run(4);
        place.is_whole(10);
        place
    };
    let cut = |place: &Place, to: usize| {
        let lines = lines(&place.text());
        place.put(&lines[..to]);
    };
    // In the same start of the machine nothing is excused.
    let place = made();
    cut(&place, 9);
    place.is_breached("cut");
    // After another, the newest records may be gone, but not what was settled.
    for to in [5, 7, 9, 10] {
        let place = made();
        cut(&place, to);
        place.clock.start("second");
        let gone = 10 - u64::try_from(to).unwrap();
        let report = place.is_whole(10 - gone);
        assert_eq!(report.lost, gone);
        place.run(3);
        let report = place.is_whole(13 - gone);
        assert_eq!(report.lost, gone, "told for good");
        // From then on nothing is excused, until there is another loss.
        cut(&place, to + 2);
        place.is_breached("cut later");
    }
    for to in [0, 3] {
        let place = made();
        cut(&place, to);
        place.clock.start("second");
        let told = place.is_breached("settled records cut");
        assert!(told.contains("missing"), "{told}");
        place.run(3);
        place.is_breached("settled records cut, then written on");
    }
    // A record within that is not what was written is not excused either.
    for line in [2, 8] {
        let place = made();
        let mut changed = lines(&place.text());
        changed[line] = changed[line].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
        chain_again(&mut changed);
        place.put(&changed);
        place.clock.start("second");
        place.is_breached("changed");
        place.run(3);
        place.is_breached("changed, then written on");
    }
    let place = made();
    std::fs::remove_file(place.log()).unwrap();
    place.clock.start("second");
    place.is_breached("removed");
    // A log that is whole after a start is, also at its head.
    let place = made();
    place.clock.start("second");
    place.run(1);
    cut(&place, 10);
    place.is_breached("cut in the second");
}

#[test]
fn a_loss_of_power_after_a_file_was_full_is_told_apart_too() {
    let made = || {
        let place = Place::with_small_files();
        place.run(5);
        // All of it within a minute, so that the settled mark stays in the first file.
        place.run(200);
        assert!(place.numbered(3).exists());
        place.is_whole(205);
        place
    };
    let place = made();
    let text = lines(&place.text());
    place.put(&text[..text.len() - 2]);
    place.clock.start("second");
    assert_eq!(place.is_whole(203).lost, 2);
    place.run(1);
    assert_eq!(place.is_whole(204).lost, 2);
    // A full file that was changed in between is not excused.
    let place = made();
    place.put(&text[..text.len() - 2]);
    let mut changed = lines(&std::fs::read_to_string(place.numbered(2)).unwrap());
    changed[4] = changed[4].replace("\"scope\":\"acme\"", "\"scope\":\"evil\"");
    chain_again(&mut changed);
    std::fs::write(place.numbered(2), changed.concat()).unwrap();
    place.clock.start("second");
    place.is_breached("a full file changed");
    place.run(1);
    place.is_breached("a full file changed, then written on");
}

#[test]
fn a_first_place_that_fails_for_a_while_is_written_to_as_before_afterwards() {
    let place = Place::new();
    place.run(1);
    let second = place.folder.path().join("second");
    let settings = format!("[decision-log]\nalso-to = {second:?}\nenough = \"any\"\n");
    std::fs::write(place.home.settings_file(), settings).unwrap();
    std::fs::set_permissions(place.home.settings_file(), Permissions::from_mode(0o600)).unwrap();
    let log = place.open();
    // Its key cannot be read.
    std::fs::set_permissions(place.key(), Permissions::from_mode(0o644)).unwrap();
    decide(&log, "acme").unwrap();
    std::fs::set_permissions(place.key(), Permissions::from_mode(0o600)).unwrap();
    decide(&log, "acme").unwrap();
    decide(&log, "acme").unwrap();
    assert_eq!(lines(&std::fs::read_to_string(second).unwrap()).len(), 3);
    assert_eq!(lines(&place.text()).len(), 3);
    let report = place.verify();
    assert_eq!((report.has_head, report.after_head), (true, 0));
    // The record that only the second place has is missing in the first.
    let told = place.is_breached("a record is in the second place only");
    assert!(told.contains("begins with its record 2"), "{told}");
}

#[test]
fn a_process_that_was_stopped_between_its_steps_is_no_breach() {
    let place = Place::with_small_files();
    place.run(3);
    // Between the record and the head.
    let head = std::fs::read(place.head()).unwrap();
    place.run(1);
    std::fs::write(place.head(), head).unwrap();
    assert_eq!(place.is_whole(4).after_head, 1);
    place.run(1);
    assert_eq!(place.is_whole(5).after_head, 0);
    // Within the record.
    let mut file = File::options().append(true).open(place.log()).unwrap();
    file.write_all(b"{\"writer\":\"abc").unwrap();
    assert_eq!(place.is_whole(5).unfinished, 1);
    let running = place.open();
    decide(&running, "acme").unwrap();
    assert_eq!(place.is_whole(6).unfinished, 1);
    decide(&running, "acme").unwrap();
    place.run(1);
    place.is_whole(8);
    // Between the number of a full file and the head, before and after a new file was
    // begun.
    for is_begun in [false, true] {
        let number = (1..99).find(|n| !place.numbered(*n).exists()).unwrap();
        let records = place.verify().records;
        std::fs::rename(place.log(), place.numbered(number)).unwrap();
        if is_begun {
            let log = place.open();
            drop(log);
        }
        place.is_whole(records);
        place.run(2);
        place.is_whole(records + 2);
        decide(&running, "acme").unwrap();
        place.is_whole(records + 3);
    }
}

#[test]
fn a_log_that_is_older_than_its_head_is_covered_from_its_end_on() {
    let place = Place::with_small_files();
    place.run(100);
    std::fs::remove_file(place.head()).unwrap();
    std::fs::remove_file(place.key()).unwrap();
    assert!(!place.verify().has_head);
    place.run(5);
    place.is_whole(105);
    let mut changed = lines(&place.text());
    changed.pop();
    place.put(&changed);
    place.is_breached("cut");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let place = Place::new();
    place.run(1);
    std::fs::set_permissions(place.key(), Permissions::from_mode(0o640)).unwrap();
    let error = decide(&place.open(), "acme").unwrap_err().to_string();
    assert!(
        error.contains("chmod 600") && error.contains("log.key"),
        "{error}"
    );
    std::fs::set_permissions(place.key(), Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(place.head(), Permissions::from_mode(0o644)).unwrap();
    let error = decide(&place.open(), "acme").unwrap_err().to_string();
    assert!(
        error.contains("chmod 600") && error.contains("decisions.head"),
        "{error}"
    );
    std::fs::set_permissions(place.head(), Permissions::from_mode(0o600)).unwrap();
    std::fs::write(place.key(), "no key\n").unwrap();
    let error = decide(&place.open(), "acme").unwrap_err().to_string();
    assert!(error.contains("hexadecimal"), "{error}");
}

/// The scopes of what is read.
fn scopes(read: impl Iterator<Item = Result<super::RecordedDecision, Error>>) -> Vec<String> {
    read.map(|record| record.unwrap().scope().to_owned())
        .collect()
}

#[test]
fn the_last_records_are_those_that_all_of_them_end_with() {
    let place = Place::with_small_files();
    let log = place.open();
    for number in 0..130 {
        decide(&log, &format!("acme/p{number}")).unwrap();
        if number % 10 == 0 {
            let mut file = File::options().append(true).open(place.log()).unwrap();
            file.write_all(b"this is no record\n").unwrap();
        }
    }
    assert!(place.numbered(2).exists());
    let all = scopes(records(&place.home, &Filter::default()).unwrap());
    assert_eq!(all.len(), 130);
    for count in [0, 1, 2, 39, 40, 41, 100, 129, 130, 131, usize::MAX] {
        let last = scopes(last_records(&place.home, &Filter::default(), count).unwrap());
        assert_eq!(last, all[all.len().saturating_sub(count)..], "{count}");
    }
    let filter = Filter {
        scope: Some("acme/p7".parse().unwrap()),
        ..Filter::default()
    };
    for count in [1, 2] {
        let last = scopes(last_records(&place.home, &filter, count).unwrap());
        assert_eq!(last, ["acme/p7"]);
    }
}

#[test]
fn one_who_follows_misses_nothing_and_sees_nothing_twice_across_full_files() {
    let place = Place::with_small_files();
    let log = place.open();
    let written = std::cell::Cell::new(0);
    let write = |count: usize| {
        for _ in 0..count {
            decide(&log, &format!("acme/p{}", written.get())).unwrap();
            written.set(written.get() + 1);
        }
    };
    write(5);
    let mut following = last_records(&place.home, &Filter::default(), 2).unwrap();
    let mut seen = scopes(&mut following);
    // Nothing, some, several files at once, and exactly up to a new one.
    for count in [0, 1, 3, 150, 0, 40, 1, 1, 200] {
        write(count);
        seen.extend(scopes(&mut following));
    }
    let expected: Vec<String> = (3..written.get()).map(|n| format!("acme/p{n}")).collect();
    assert_eq!(seen, expected);
    // Full files may be archived behind it.
    let elsewhere = place.folder.path().join("archive");
    archive_log(&place.home, &ME, &elsewhere, Some(2)).unwrap();
    write(100);
    assert_eq!(scopes(&mut following).len(), 100);
    // A record that is not finished yet is seen once it is.
    let text = place.text();
    let (line, rest) = text.lines().last().unwrap().split_at(50);
    let mut file = File::options().append(true).open(place.log()).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    assert!(following.next().is_none());
    file.write_all(format!("{rest}\n").as_bytes()).unwrap();
    assert_eq!(scopes(&mut following).len(), 1);
    // A log that was emptied is read from its beginning.
    std::fs::write(place.log(), "").unwrap();
    assert!(following.next().is_none());
    write(1);
    assert_eq!(scopes(&mut following).len(), 1);
}

#[test]
fn a_line_that_is_no_record_is_passed_over_and_told_of() {
    let place = Place::new();
    place.run(2);
    let mut file = File::options().append(true).open(place.log()).unwrap();
    let too_long = "x".repeat(super::lines::MAX_LINE_BYTES + 1);
    let forged = place.text().lines().next().unwrap().to_owned();
    let painted = forged.replacen(',', ",\r", 1);
    for line in [
        too_long.as_str(),
        "{\"what\":1}",
        "[]",
        "",
        "{\"at_ms\":",
        &painted,
        &forged.replacen("\"at_ms\":18", "\"at_ms\":-18", 1),
        &forged.replacen("local:owner", "\u{fffe}\\ud800", 1),
    ] {
        writeln!(file, "{line}").unwrap();
    }
    file.write_all(b"\xff\xfe\n").unwrap();
    let read = || scopes(records(&place.home, &Filter::default()).unwrap());
    assert_eq!(read().len(), 2);
    assert_eq!(
        scopes(last_records(&place.home, &Filter::default(), 9).unwrap()).len(),
        2
    );
    let report = place.verify();
    assert!(report.breaches.len() >= 4, "{report:?}");
    assert!(
        report
            .breaches
            .iter()
            .any(|b| b.how.contains("longer than any"))
    );
    place.run(1);
    assert_eq!(read().len(), 3);
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
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
        let place = Place::new();
        place.run(1);
        make(&place.numbered(1));
        std::fs::remove_file(place.log()).unwrap();
        for path in [place.log(), place.numbered(1)] {
            if path == place.log() {
                std::fs::rename(place.numbered(1), &path).unwrap();
            } else {
                std::fs::rename(place.log(), &path).unwrap();
            }
            let all = records(&place.home, &Filter::default()).unwrap().next();
            let last = last_records(&place.home, &Filter::default(), 1).map(|mut last| last.next());
            let verified = super::verify(&place.home);
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
    let place = Place::new();
    let elsewhere = place.folder.path().join("log-on-another-disk");
    std::fs::write(&elsewhere, "").unwrap();
    std::fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.log()).unwrap();
    place.run(3);
    place.is_whole(3);
    assert_eq!(
        scopes(records(&place.home, &Filter::default()).unwrap()).len(),
        3
    );
    assert!(!std::fs::read(elsewhere).unwrap().is_empty());
}

#[test]
fn a_huge_file_without_a_line_is_looked_through() {
    let place = Place::new();
    place.run(2);
    let file = File::options().write(true).open(place.log()).unwrap();
    // A gigabyte of nothing.
    file.set_len(1 << 30).unwrap();
    let all = scopes(records(&place.home, &Filter::default()).unwrap());
    let last = scopes(last_records(&place.home, &Filter::default(), 3).unwrap());
    assert_eq!((all.len(), last.len()), (2, 2));
    assert_eq!(place.verify().unfinished, 1);
    // It is full, so a new one is begun; what was in it is not read for that.
    place.run(1);
    let all = scopes(records(&place.home, &Filter::default()).unwrap());
    assert_eq!(all.len(), 3);
}

const ME: crate::Principal = crate::Principal::LocalOwner;

#[test]
fn what_is_archived_is_what_was_written_and_what_is_noted_of_it_cannot_be_forged() {
    let made = || {
        let place = Place::with_small_files();
        for _ in 0..20 {
            place.run(10);
        }
        place
    };
    // A file that was changed is not archived, and stays.
    let place = made();
    let mut text = std::fs::read_to_string(place.numbered(2)).unwrap();
    text = text.replacen("acme", "evil", 1);
    std::fs::write(place.numbered(2), text).unwrap();
    let elsewhere = place.folder.path().join("archive");
    let error = archive_log(&place.home, &ME, &elsewhere, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("file 2: it is not what was written"),
        "{error}"
    );
    assert!(place.numbered(1).exists() && place.numbered(2).exists());
    // Into the directory where they lie they do not go.
    let place = made();
    let own = place.log();
    let error = archive_log(&place.home, &ME, own.parent().unwrap(), None).unwrap_err();
    assert!(
        error.to_string().contains("choose another directory"),
        "{error}"
    );
    // Stopped after copying, it goes on.
    let elsewhere = place.folder.path().join("archive");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(place.numbered(1), elsewhere.join("decisions.000001.jsonl")).unwrap();
    archive_log(&place.home, &ME, &elsewhere, Some(3))
        .unwrap()
        .unwrap();
    archive_log(&place.home, &ME, &elsewhere, Some(4))
        .unwrap()
        .unwrap();
    assert_eq!(place.verify().breaches, []);
    // A note that was changed is believed no more, nor what comes after it.
    let ledger = place.log().with_extension("ledger");
    let written = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, written.replacen("\"to\":2", "\"to\":9", 1)).unwrap();
    let told = place.is_breached("changed");
    assert!(
        told.contains("archived files and accepted losses was changed"),
        "{told}"
    );
    assert!(told.contains("the files 1 to 3 are missing"), "{told}");
    // One that was taken off the end excuses nothing more.
    let first = written.split_inclusive('\n').next().unwrap();
    std::fs::write(&ledger, first).unwrap();
    let told = place.is_breached("taken");
    assert!(told.contains("file 3 is missing"), "{told}");
    // Nor one of another log.
    std::fs::write(&ledger, "").unwrap();
    let other = made();
    std::fs::copy(&ledger, other.log().with_extension("ledger")).unwrap();
    std::fs::write(other.log().with_extension("ledger"), &written).unwrap();
    other.is_breached("another one's");
}

#[test]
fn an_accepted_loss_is_noted_and_the_log_goes_on() {
    let place = Place::with_small_files();
    for _ in 0..20 {
        place.run(10);
    }
    let accept = || super::archive::accept_at(&place.home, &ME, "the disk was full", &*place.clock);
    let error = accept().unwrap_err();
    assert!(error.to_string().contains("nothing is wrong"), "{error}");
    // A full file is gone, a line of another was changed, and the end was cut.
    std::fs::remove_file(place.numbered(1)).unwrap();
    let text = std::fs::read_to_string(place.numbered(2)).unwrap();
    std::fs::write(place.numbered(2), text.replacen("acme", "evil", 1)).unwrap();
    let mut last = lines(&place.text());
    last.pop();
    place.put(&last);
    let wrong = place.verify().breaches.len() as u64;
    assert!(wrong >= 3, "{:?}", place.verify());
    let event = accept().unwrap();
    let LogEventKind::LossAccepted {
        breaches, reason, ..
    } = &event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!((*breaches, reason.as_str()), (wrong, "the disk was full"));
    let report = place.verify();
    assert_eq!(report.breaches, [], "{report:?}");
    assert_eq!(report.events, [event]);
    assert!(report.accepted > 0, "the changed line is still told of");
    // From there on, nothing more is excused.
    for _ in 0..10 {
        place.run(10);
    }
    assert_eq!(place.verify().breaches, []);
    let mut last = lines(&place.text());
    last.pop();
    place.put(&last);
    place.is_breached("cut after that");
    // A log that was emptied with all that was remembered of it shows, and can be accepted.
    std::fs::write(place.log(), "").unwrap();
    std::fs::write(place.head(), "").unwrap();
    let told = place.is_breached("emptied");
    assert!(told.contains("emptied or changed"), "{told}");
    accept().unwrap();
    assert_eq!(place.verify().breaches, []);
    place.run(3);
    assert_eq!(place.verify().breaches, []);
}
