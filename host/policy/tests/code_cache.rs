//! The cache of compiled code: unchanged entries are used, others are replaced. No entry can
//! prevent a policy from being admitted, or run in its place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // allowed in tests

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use entail_policy::{CodeCache, Compiler, Engine, EngineConfig, Facts, Outcome};

mod sketch;

use sketch::Sketch;

/// A directory for a cache, and the key beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key")
    }

    /// A new engine, as in another process.
    fn engine(&self) -> Engine {
        Engine::new(EngineConfig {
            code_cache: Some(CodeCache::new(self.directory(), self.key())),
            concurrent_calls: 1,
            compiler: Compiler::UnsafeInThisProcess,
            ..EngineConfig::default()
        })
    }

    /// Admits the granting policy, or the refusing one, and checks its decision.
    #[track_caller]
    fn use_it(&self, refuses: bool) {
        let policy = self.engine().admit(&component(refuses)).unwrap();
        let outcome = policy.decide(&facts()).unwrap().outcome;
        assert_eq!(matches!(outcome, Outcome::Refused(_)), refuses);
    }

    /// The entries, by the time they were made.
    fn entries(&self) -> Vec<PathBuf> {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        entries
    }

    /// The one entry.
    fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }
}

fn component(refuses: bool) -> Vec<u8> {
    let decide = if refuses {
        // With the code `no`.
        "(i32.store8 (i32.const 1028) (i32.const 1))
        (i32.store16 (i32.const 2048) (i32.const 0x6f6e))
        (i32.store (i32.const 1032) (i32.const 2048))
        (i32.store (i32.const 1036) (i32.const 2))"
    } else {
        ""
    };
    Sketch {
        decide,
        ..Sketch::default()
    }
    .component()
}

fn facts() -> Facts {
    let text = r#"{"request": {"provider": "any", "now_ms": 1}, "chain": [{"path": "acme"}]}"#;
    serde_json::from_str(text).unwrap()
}

#[track_caller]
fn check_repaired(place: &Place, entry: &Path, good: &[u8]) {
    place.use_it(false);
    assert!(std::fs::symlink_metadata(entry).unwrap().is_file());
    assert!(
        std::fs::read(entry).unwrap() == good,
        "the entry was not replaced"
    );
    assert_eq!(place.entry(), entry, "another entry remains");
}

#[test]
fn an_entry_is_made_once_and_is_private_to_its_owner() {
    let place = Place::new();
    place.use_it(false);
    for (path, mode) in [
        (place.directory(), 0o700),
        (place.entry(), 0o600),
        (place.key(), 0o600),
    ] {
        let found = path.metadata().unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode, "{}", path.display());
    }
    let made = place.entry().metadata().unwrap().modified().unwrap();
    place.use_it(false);
    assert_eq!(place.entry().metadata().unwrap().modified().unwrap(), made);
}

#[test]
fn a_flipped_bit_is_detected_anywhere() {
    let place = Place::new();
    place.use_it(false);
    let entry = place.entry();
    let good = std::fs::read(&entry).unwrap();
    let bits = good.len() * 8;
    // Each bit of the header, then samples of the code.
    for bit in (0..600).chain((600..bits).step_by(bits / 200)) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&entry, bad).unwrap();
        check_repaired(&place, &entry, &good);
    }
}

#[test]
fn an_entry_that_is_truncated_or_extended_is_replaced() {
    let place = Place::new();
    place.use_it(false);
    let entry = place.entry();
    let good = std::fs::read(&entry).unwrap();
    for length in [0, 1, 8, 40, 56, 57, good.len() / 2, good.len() - 1] {
        std::fs::write(&entry, &good[..length]).unwrap();
        check_repaired(&place, &entry, &good);
    }
    std::fs::write(&entry, [good.as_slice(), b"x"].concat()).unwrap();
    check_repaired(&place, &entry, &good);
    // Larger than the limit for reading.
    let file = std::fs::File::options().write(true).open(&entry).unwrap();
    file.set_len(1 << 40).unwrap();
    check_repaired(&place, &entry, &good);
}

#[test]
fn the_code_of_another_component_does_not_run_in_its_place() {
    let place = Place::new();
    place.use_it(false);
    let granting = place.entry();
    place.use_it(true);
    let entries = place.entries();
    assert_eq!(entries.len(), 2);
    let refusing = entries.iter().find(|entry| **entry != granting).unwrap();
    let codes = [&granting, refusing].map(|entry| std::fs::read(entry).unwrap());
    std::fs::write(&granting, &codes[1]).unwrap();
    std::fs::write(refusing, &codes[0]).unwrap();
    place.use_it(false);
    place.use_it(true);
    assert!(std::fs::read(&granting).unwrap() == codes[0]);
    assert!(std::fs::read(refusing).unwrap() == codes[1]);
}

#[test]
fn an_entry_of_another_key_is_replaced() {
    let place = Place::new();
    let other = Place::new();
    place.use_it(false);
    other.use_it(false);
    let entry = place.entry();
    let good = std::fs::read(&entry).unwrap();
    std::fs::copy(other.entry(), &entry).unwrap();
    check_repaired(&place, &entry, &good);
}

#[test]
fn links_pipes_and_directories_are_neither_followed_nor_waited_for() {
    let place = Place::new();
    place.use_it(false);
    let entry = place.entry();
    let good = std::fs::read(&entry).unwrap();
    let elsewhere = place.0.path().join("elsewhere");
    std::fs::write(&elsewhere, b"untouched").unwrap();
    let replace: [(&str, &dyn Fn()); 6] = [
        ("a link", &|| symlink(&elsewhere, &entry).unwrap()),
        ("a link to a good entry", &|| {
            let copy = place.0.path().join("copy");
            std::fs::write(&copy, &good).unwrap();
            symlink(&copy, &entry).unwrap();
        }),
        ("a link to an endless device", &|| {
            symlink("/dev/zero", &entry).unwrap();
        }),
        ("a pipe", &|| {
            let made = Command::new("mkfifo").arg(&entry).status().unwrap();
            assert!(made.success());
        }),
        ("a directory", &|| {
            std::fs::create_dir_all(entry.join("deep")).unwrap();
        }),
        ("a file that nobody may read", &|| {
            std::fs::write(&entry, b"x").unwrap();
            std::fs::set_permissions(&entry, Permissions::from_mode(0o000)).unwrap();
        }),
    ];
    for (what, replace) in replace {
        std::fs::remove_file(&entry).unwrap();
        replace();
        println!("{what}");
        check_repaired(&place, &entry, &good);
    }
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"untouched");
}

#[test]
fn a_key_that_others_can_read_is_replaced() {
    let place = Place::new();
    place.use_it(false);
    let key = place.key();
    let good = std::fs::read(&key).unwrap();
    let breakages: [&dyn Fn(); 4] = [
        &|| std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap(),
        &|| std::fs::write(&key, &good[1..]).unwrap(),
        &|| std::fs::write(&key, b"").unwrap(),
        &|| {
            let copy = place.0.path().join("copy");
            std::fs::write(&copy, &good).unwrap();
            std::fs::remove_file(&key).unwrap();
            symlink(&copy, &key).unwrap();
        },
    ];
    for damage in breakages {
        let before = std::fs::read(&key).unwrap();
        damage();
        place.use_it(false);
        let now = std::fs::read(&key).unwrap();
        assert_eq!(now.len(), 64);
        assert!(now != before);
        let found = std::fs::symlink_metadata(&key).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o7777 == 0o600);
        place.use_it(false);
    }
}

#[test]
fn policies_are_admitted_without_a_usable_cache() {
    // Others may write to it; it is a link; it is a file; its parent does not exist.
    let open = Place::new();
    std::fs::create_dir(open.directory()).unwrap();
    std::fs::set_permissions(open.directory(), Permissions::from_mode(0o777)).unwrap();
    open.use_it(false);
    assert_eq!(open.entries().len(), 0);
    let linked = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), linked.directory()).unwrap();
    linked.use_it(false);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    let file = Place::new();
    std::fs::write(file.directory(), b"file").unwrap();
    file.use_it(false);
    let engine = Engine::new(EngineConfig {
        code_cache: Some(CodeCache::new("/nowhere/cache", "/nowhere/key")),
        compiler: Compiler::UnsafeInThisProcess,
        ..EngineConfig::default()
    });
    engine.admit(&component(false)).unwrap();
}

#[test]
fn files_of_earlier_versions_and_killed_processes_are_removed() {
    let place = Place::new();
    let directory = place.directory();
    std::fs::create_dir_all(directory.join("modules/wasmtime-1.0.0")).unwrap();
    std::fs::create_dir(directory.join("compiled")).unwrap();
    std::fs::write(directory.join("compiled/sha256-00"), b"1 1").unwrap();
    std::fs::create_dir(directory.join("trial-1-0")).unwrap();
    std::fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let abandoned = directory.join("any.code.1-0.new");
    let temporary = directory.join("any.code.2-0.new");
    std::fs::write(&temporary, b"half").unwrap();
    std::fs::write(&abandoned, b"half").unwrap();
    let file = std::fs::File::open(&abandoned).unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(2);
    file.set_modified(long_ago).unwrap();
    place.use_it(false);
    // Another process may still be writing the other file.
    std::fs::remove_file(temporary).unwrap();
    place.entry();
}

#[test]
fn the_oldest_entries_are_removed_if_there_are_too_many() {
    let place = Place::new();
    place.use_it(false);
    let first = place.entry();
    // Sparse files, which use little space.
    let old = |number: u64| {
        let path = place.directory().join(format!("old-{number}.code"));
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(100 << 20).unwrap();
        let age = Duration::from_hours(10 * number);
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    };
    let old: Vec<PathBuf> = (1..=8).map(old).collect();
    place.use_it(true);
    let remains: Vec<bool> = old.iter().map(|path| path.exists()).collect();
    assert_eq!(remains, [true, true, true, true, true, false, false, false]);
    assert!(first.exists());
}

#[test]
fn an_entry_in_use_is_not_the_oldest() {
    let place = Place::new();
    place.use_it(false);
    let file = std::fs::File::open(place.entry()).unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(100);
    file.set_modified(long_ago).unwrap();
    place.use_it(false);
    let age = place.entry().metadata().unwrap().modified().unwrap();
    assert!(age.elapsed().unwrap() < Duration::from_hours(1));
}

#[test]
fn concurrent_processes_do_not_interfere() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for round in 0..8 {
            let place = &place;
            scope.spawn(move || {
                for n in 0..4 {
                    place.use_it((round + n) % 2 == 0);
                }
            });
        }
    });
    let entries = place.entries();
    assert_eq!(entries.len(), 2, "{entries:?}");
    let before: Vec<_> = entries
        .iter()
        .map(|entry| std::fs::read(entry).unwrap())
        .collect();
    place.use_it(false);
    place.use_it(true);
    let after: Vec<_> = entries
        .iter()
        .map(|entry| std::fs::read(entry).unwrap())
        .collect();
    assert!(before == after, "they were not good");
}
