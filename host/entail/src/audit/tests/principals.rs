//! The ids of principals in the log, and the file that says who they are.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use entail_store::RandomId;

use super::{ME, Outcome, TestHome, block_on, write_decision_of};
use crate::audit::archive::accept_at;
use crate::audit::{
    DecisionLog, Filter, Written, archive_log, count_records, erase_logged_principal, last_records,
    logged_principals, records,
};
use crate::error::Error;
use crate::{Principal, PrincipalKind};

fn anna() -> Principal {
    Principal::new(PrincipalKind::Local, "https://id.example", "anna").unwrap()
}

impl TestHome {
    fn mapping(&self) -> PathBuf {
        self.home.principals_file()
    }

    fn mapping_lines(&self) -> Vec<String> {
        super::lines(&std::fs::read_to_string(self.mapping()).unwrap())
    }

    fn put_mapping(&self, bytes: &[u8]) {
        std::fs::write(self.mapping(), bytes).unwrap();
        std::fs::set_permissions(self.mapping(), Permissions::from_mode(0o600)).unwrap();
    }

    /// The principals of the records, as they are shown.
    fn shown(&self) -> Vec<String> {
        let all = records(&self.home, &Filter::default());
        all.map(|record| record.unwrap().principal().to_owned())
            .collect()
    }

    fn count(&self, principal: &str) -> usize {
        let filter = Filter {
            principal: Some(principal.to_owned()),
            ..Filter::default()
        };
        let count = count_records(&self.home, &filter).unwrap();
        let last = last_records(&self.home, &filter, 999).unwrap().count();
        assert_eq!(count, last, "{principal}");
        count
    }

    fn erase(&self, principal: &Principal) -> Vec<RandomId> {
        erase_logged_principal(&self.home, principal).unwrap()
    }
}

fn id_of(log: &Arc<DecisionLog>, principal: &Principal) -> RandomId {
    block_on(log.id_of(principal)).unwrap()
}

/// Records a decision of a policy that failed.
fn decide_as(log: &Arc<DecisionLog>, principal: &Principal) -> Result<Written, Error> {
    let id = block_on(log.id_of(principal))?;
    let failure = "it is only a test".to_owned();
    write_decision_of(log, id, "acme", Outcome::Failed { failure }, None)
}

#[test]
fn a_record_contains_an_id_and_the_file_says_who_it_is() {
    let home = TestHome::new();
    let log = home.open();
    decide_as(&log, &ME).unwrap();
    decide_as(&log, &anna()).unwrap();
    decide_as(&log, &ME).unwrap();
    let (owner, other) = (id_of(&log, &ME), id_of(&log, &anna()));
    let text = home.text();
    assert!(!text.contains("local") && !text.contains("anna"), "{text}");
    assert_eq!(
        text.matches(&format!("\"principal\":\"{owner}\"")).count(),
        4
    );
    assert_eq!(
        text.matches(&format!("\"principal\":\"{other}\"")).count(),
        2
    );
    let mapping = [
        format!(
            "{{\"id\":\"{owner}\",\"kind\":\"local\",\"issuer\":\"\",\"subject\":\"owner\"}}\n"
        ),
        format!(
            "{{\"id\":\"{other}\",\"kind\":\"local\",\"issuer\":\"https://id.example\",\"subject\":\"anna\"}}\n"
        ),
    ];
    assert_eq!(home.mapping_lines(), mapping);
    let mode = std::fs::metadata(home.mapping()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let anna = anna().to_string();
    assert_eq!(home.shown(), ["local:owner", &anna, "local:owner"]);
    assert_eq!((home.count("local:owner"), home.count(&anna)), (2, 1));
    assert_eq!(home.count(&owner.to_string()), 2);
    assert_eq!(home.count("local:nobody"), 0);
    // What is shown has the text at both places.
    let mut all = records(&home.home, &Filter::default());
    let shown = all.nth(1).unwrap().unwrap().shown_json();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["principal"], anna);
    assert_eq!(shown["facts"]["request"]["principal"], anna);
    home.assert_intact(3);
}

#[test]
fn processes_that_meet_a_principal_at_once_agree_on_its_id() {
    let home = TestHome::new();
    let name = |number: usize| format!("user-{number}");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let log = home.open();
            for _ in 0..3 {
                let log = Arc::clone(&log);
                scope.spawn(move || {
                    for number in 0..10 {
                        let user = Principal::new(PrincipalKind::Local, "", &name(number));
                        decide_as(&log, &user.unwrap()).unwrap();
                    }
                });
            }
        }
    });
    assert_eq!(home.mapping_lines().len(), 10);
    for number in 0..10 {
        assert_eq!(home.count(&format!("local:{}", name(number))), 12);
    }
    // So does one that starts later.
    let known = logged_principals(&home.home).unwrap();
    for (id, principal) in known {
        assert_eq!(id_of(&home.open(), &principal), id);
    }
    home.assert_intact(120);
}

#[test]
fn an_erased_name_is_gone_and_the_principal_gets_another_id() {
    for settings in ["sync = \"grouped\"", "sync = \"none\""] {
        let home = TestHome::with_settings(settings);
        let running = home.open();
        decide_as(&running, &ME).unwrap();
        decide_as(&running, &anna()).unwrap();
        let old = id_of(&running, &anna());
        let log = home.text();
        assert_eq!(home.erase(&anna()), [old]);
        assert_eq!(home.erase(&anna()), []);
        assert_eq!(home.text(), log);
        home.assert_intact(2);
        let unknown = format!("unknown:{old}");
        assert_eq!(home.shown(), ["local:owner", &unknown]);
        assert_eq!((home.count(&unknown), home.count(&old.to_string())), (1, 1));
        assert_eq!(home.count(&anna().to_string()), 0);
        let mapping = std::fs::read_to_string(home.mapping()).unwrap();
        assert!(!mapping.contains("anna") && mapping.contains("owner"));
        // A process that has the old id in memory notices that.
        decide_as(&running, &anna()).unwrap();
        decide_as(&running, &ME).unwrap();
        let new = id_of(&running, &anna());
        assert_ne!(new, old);
        assert_eq!(home.mapping_lines().len(), 2);
        let anna = anna().to_string();
        assert_eq!(
            home.shown(),
            ["local:owner", &unknown, &anna, "local:owner"]
        );
        home.assert_intact(4);
    }
}

#[test]
fn names_are_erased_while_processes_record() {
    let home = TestHome::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let log = home.open();
                for _ in 0..40 {
                    decide_as(&log, &anna()).unwrap();
                    decide_as(&log, &ME).unwrap();
                }
            });
        }
        for _ in 0..20 {
            home.erase(&anna());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    home.assert_intact(240);
    assert_eq!(home.count("local:owner"), 120);
    home.erase(&anna());
    assert_eq!(home.mapping_lines().len(), 1);
    assert_eq!(home.count(&anna().to_string()), 0);
}

#[test]
fn a_malformed_or_missing_file_names_nobody_and_stops_nothing() {
    let home = TestHome::new();
    decide_as(&home.open(), &ME).unwrap();
    let old = id_of(&home.open(), &ME);
    let line = home.mapping_lines().remove(0);
    let malformed: [&[u8]; 8] = [
        b"",
        b"\n\n",
        b"\xff\xfe\n",
        b"[]\n{}\nnull\n",
        line.as_bytes().split_at(40).0,
        &line.replace("local", "later").into_bytes(),
        &line.replace("\"id\":\"", "\"id\":\"x").into_bytes(),
        &line.replacen('}', ",\"issuer\":\"\"}", 1).into_bytes(),
    ];
    for (count, bytes) in (1_u64..).zip(malformed) {
        let running = home.open();
        home.put_mapping(bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(home.shown()[0], format!("unknown:{old}"), "{text}");
        home.assert_intact(count);
        decide_as(&running, &ME).unwrap();
        let shown = home.shown();
        assert_eq!(shown.last().unwrap(), "local:owner", "{text}");
        assert_eq!(shown[0], format!("unknown:{old}"), "{text}");
        // What it contained before is kept.
        let now = std::fs::read(home.mapping()).unwrap();
        assert!(now.starts_with(bytes), "{text}");
    }
    let running = home.open();
    std::fs::remove_file(home.mapping()).unwrap();
    assert_eq!(home.shown()[0], format!("unknown:{old}"));
    assert_eq!(home.erase(&ME), []);
    assert!(!home.mapping().exists());
    decide_as(&running, &ME).unwrap();
    assert_eq!(home.count("local:owner"), 1);
    home.assert_intact(10);
    // With its name back, the old id has it again.
    std::fs::write(home.mapping(), line).unwrap();
    assert_eq!(home.count("local:owner"), 1);
    assert_eq!(id_of(&running, &ME), old);
}

#[test]
fn erasing_a_name_removes_malformed_lines_and_what_an_interrupted_erasure_left() {
    let home = TestHome::new();
    let log = home.open();
    id_of(&log, &ME);
    id_of(&log, &anna());
    let leftover = home.mapping().with_extension("jsonl.new");
    std::fs::write(&leftover, "anna").unwrap();
    let mut lines = home.mapping_lines();
    let newer = lines[0].replace("local", "later");
    lines.push(newer.clone());
    let torn = format!("{}{}", lines.concat(), &lines[1][..80]);
    home.put_mapping(torn.as_bytes());
    assert_eq!(home.erase(&anna()).len(), 1);
    let kept = [lines[0].clone(), newer];
    assert_eq!(home.mapping_lines(), kept);
    assert!(!leftover.exists());
    // A line without its newline is complete.
    home.put_mapping(kept.concat().trim_end().as_bytes());
    assert_eq!(home.erase(&anna()), []);
    assert_eq!(home.mapping_lines(), kept);
}

#[test]
fn a_process_stopped_before_its_record_leaves_only_an_unused_line() {
    let home = TestHome::new();
    home.run(1);
    let id = id_of(&home.open(), &anna());
    home.assert_intact(1);
    assert_eq!(home.mapping_lines().len(), 1);
    assert_eq!(home.count(&anna().to_string()), 0);
    // The next process uses it.
    decide_as(&home.open(), &anna()).unwrap();
    assert_eq!(id_of(&home.open(), &anna()), id);
    assert_eq!(home.mapping_lines().len(), 1);
}

#[test]
fn without_the_file_nothing_is_recorded() {
    let home = TestHome::new();
    let elsewhere = home.directory.path().join("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    let running = home.open();
    decide_as(&running, &ME).unwrap();
    for make in [
        (|home: &TestHome| std::fs::create_dir(home.mapping()).unwrap()) as fn(&TestHome),
        |home| {
            std::os::unix::fs::symlink(home.directory.path().join("elsewhere"), home.mapping())
                .unwrap();
        },
        |home| {
            File::create(home.mapping()).unwrap();
            std::fs::set_permissions(home.mapping(), Permissions::from_mode(0o644)).unwrap();
        },
    ] {
        std::fs::remove_file(home.mapping()).unwrap();
        make(&home);
        for log in [&running, &home.open()] {
            let error = decide_as(log, &ME).unwrap_err();
            let is_named = error.to_string().contains("principals.jsonl");
            assert!(
                matches!(error, Error::NotRecorded { .. }) && is_named,
                "{error}"
            );
        }
        assert!(home.shown()[0].starts_with("unknown:"));
        home.assert_intact(1);
        let erased = erase_logged_principal(&home.home, &ME);
        assert!(matches!(erased, Err(Error::Home(_))), "{erased:?}");
        let _ = std::fs::remove_dir(home.mapping());
        if !home.mapping().is_symlink() && !home.mapping().exists() {
            std::fs::write(home.mapping(), "").unwrap();
        }
    }
    assert_eq!(std::fs::read(elsewhere).unwrap(), b"");
}

#[test]
fn a_principal_that_a_process_knows_needs_no_lock() {
    let home = TestHome::new();
    let log = home.open();
    let id = id_of(&log, &ME);
    let mapping = File::open(home.mapping()).unwrap();
    mapping.lock().unwrap();
    assert_eq!(id_of(&log, &ME), id);
    assert_eq!(id_of(&home.open(), &ME), id);
    let error = decide_as(&log, &anna()).unwrap_err().to_string();
    assert!(error.contains("another process holds"), "{error}");
    mapping.unlock().unwrap();
    decide_as(&log, &anna()).unwrap();
}

#[test]
fn a_reader_that_follows_the_log_learns_new_names() {
    let home = TestHome::new();
    let log = home.open();
    decide_as(&log, &ME).unwrap();
    let mut following = records(&home.home, &Filter::default());
    let mut next = || Some(following.next()?.unwrap().principal().to_owned());
    assert_eq!(next().unwrap(), "local:owner");
    assert_eq!(next(), None);
    decide_as(&log, &anna()).unwrap();
    assert_eq!(next().unwrap(), anna().to_string());
    assert_eq!(next(), None);
    // And forgets those that were erased once it has nothing to read.
    home.erase(&anna());
    assert_eq!(next(), None);
    decide_as(&log, &ME).unwrap();
    assert_eq!(next().unwrap(), "local:owner");
    assert!(home.shown()[1].starts_with("unknown:"));
}

#[test]
fn the_ledger_contains_ids_too() {
    let home = TestHome::with_small_files();
    for _ in 0..10 {
        home.run(10);
    }
    let elsewhere = home.directory.path().join("archive");
    let event = archive_log(&home.home, &anna(), &elsewhere, None);
    assert_eq!(event.unwrap().unwrap().principal, anna().to_string());
    std::fs::write(home.log(), "").unwrap();
    let event = accept_at(&home.home, &anna(), &[], "a test", &*home.clock).unwrap();
    assert_eq!(event.principal, anna().to_string());
    let ledger = std::fs::read_to_string(home.log().with_extension("ledger")).unwrap();
    assert!(!ledger.contains("anna"), "{ledger}");
    let by = || {
        let report = home.verify();
        assert_eq!(report.breaches, []);
        report.events.into_iter().map(|event| event.principal)
    };
    assert!(by().all(|by| by == anna().to_string()));
    let id = home.erase(&anna());
    assert!(by().all(|by| by == format!("unknown:{}", id[0])));
}
