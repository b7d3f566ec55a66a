//! If compiled code is damaged or removed, the next run still decides correctly.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::Sandbox;

const BALANCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/balance/balance.wasm"
);

/// `acme`, decided by the built-in policy, and `other`, decided by an installed one.
struct Decided {
    sandbox: Sandbox,
    keys: [String; 2],
}

impl Decided {
    fn new() -> Self {
        let (sandbox, key) = Sandbox::with_acme();
        sandbox.entail(&["init", "other"]).ok();
        let other = sandbox.canary();
        sandbox
            .entail_with(&["credential", "set", "other", "openai"], &other)
            .ok();
        sandbox.entail(&["policy", "install", BALANCE]).ok();
        sandbox
            .entail(&["policy", "activate", "other", "balance"])
            .ok();
        let decided = Decided {
            sandbox,
            keys: [key, other],
        };
        decided.check("nothing");
        decided
    }

    /// Checks that both are decided correctly.
    #[track_caller]
    fn check(&self, after: &str) {
        for (scope, key) in [("acme/evals", &self.keys[0]), ("other", &self.keys[1])] {
            let resolve = ["resolve", scope, "openai", "--reveal", "--json"];
            let lease = self.sandbox.lease(&resolve);
            assert_eq!(
                lease.code,
                Some(0),
                "{scope} after {after}: {}",
                lease.stderr
            );
            assert_eq!(
                lease.json()["secrets"]["api_key"],
                **key,
                "{scope} after {after}"
            );
        }
    }

    fn cache(&self) -> PathBuf {
        self.sandbox.home().join("cache")
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(self.cache())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        assert_eq!(entries.len(), 2, "{entries:?}");
        entries
    }
}

#[test]
fn compiled_code_with_a_flipped_bit_is_recompiled() {
    let decided = Decided::new();
    for entry in decided.entries() {
        let good = std::fs::read(&entry).unwrap();
        // The header, and offsets throughout the code.
        let code = (72..good.len()).step_by(good.len() / 6);
        let offsets = [0, 8, 40, 48, 56].into_iter().chain(code);
        for offset in offsets {
            let mut bad = good.clone();
            bad[offset] ^= 1 << (offset % 8);
            std::fs::write(&entry, bad).unwrap();
            decided.check(&format!("a flipped bit of byte {offset}"));
            assert!(
                std::fs::read(&entry).unwrap() == good,
                "the entry was not replaced"
            );
        }
    }
}

#[test]
fn compiled_code_of_one_policy_is_not_used_for_another() {
    let decided = Decided::new();
    let entries = decided.entries();
    let [one, other] = [0, 1].map(|n| std::fs::read(&entries[n]).unwrap());
    std::fs::write(&entries[0], &other).unwrap();
    std::fs::write(&entries[1], &one).unwrap();
    decided.check("swapping the two");
    assert!(std::fs::read(&entries[0]).unwrap() == one);
    assert!(std::fs::read(&entries[1]).unwrap() == other);
    // Code of another home, which has another key, is not used either.
    let stranger = Decided::new();
    for (theirs, own) in stranger.entries().iter().zip(&entries) {
        assert_eq!(theirs.file_name(), own.file_name());
        std::fs::copy(theirs, own).unwrap();
    }
    decided.check("copying those of another home");
    assert!(std::fs::read(&entries[0]).unwrap() == one);
}

/// Replaces a file with something else.
type Spoil<'a> = &'a dyn Fn(&Path);

#[test]
fn a_file_that_replaces_compiled_code_is_replaced() {
    let decided = Decided::new();
    let elsewhere = decided.sandbox.path("elsewhere");
    std::fs::write(&elsewhere, b"untouched").unwrap();
    let spoil: [(&str, Spoil<'_>); 7] = [
        ("a half", &|entry| {
            let good = std::fs::read(entry).unwrap();
            std::fs::write(entry, &good[..good.len() / 2]).unwrap();
        }),
        ("nothing", &|entry| std::fs::write(entry, b"").unwrap()),
        ("a link", &|entry| {
            std::fs::remove_file(entry).unwrap();
            symlink(&elsewhere, entry).unwrap();
        }),
        ("an endless device", &|entry| {
            std::fs::remove_file(entry).unwrap();
            symlink("/dev/zero", entry).unwrap();
        }),
        ("a pipe", &|entry| {
            std::fs::remove_file(entry).unwrap();
            let status = Command::new("mkfifo").arg(entry).status().unwrap();
            assert!(status.success());
        }),
        ("a directory", &|entry| {
            std::fs::remove_file(entry).unwrap();
            std::fs::create_dir(entry).unwrap();
        }),
        ("a file that nobody may read", &|entry| {
            std::fs::set_permissions(entry, Permissions::from_mode(0o000)).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        for entry in decided.entries() {
            spoil(&entry);
        }
        decided.check(what);
        for entry in decided.entries() {
            assert!(
                std::fs::symlink_metadata(&entry).unwrap().is_file(),
                "{what}"
            );
        }
    }
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"untouched");
}

#[test]
fn the_cache_and_its_key_may_be_deleted_or_unusable() {
    let decided = Decided::new();
    let key = decided.sandbox.home().join("cache.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    std::fs::remove_file(&key).unwrap();
    decided.check("deleting the key");
    std::fs::write(&key, [7; 64]).unwrap();
    decided.check("writing another key");
    std::fs::remove_dir_all(decided.cache()).unwrap();
    decided.check("deleting the cache");
    decided.entries();
    std::fs::set_permissions(decided.cache(), Permissions::from_mode(0o777)).unwrap();
    decided.check("letting everybody write there");
    std::fs::remove_dir_all(decided.cache()).unwrap();
    symlink(decided.sandbox.path("nowhere"), decided.cache()).unwrap();
    decided.check("a link that leads nowhere");
    std::fs::remove_file(decided.cache()).unwrap();
    std::fs::write(decided.cache(), b"file").unwrap();
    decided.check("a file in its place");
    std::fs::remove_file(decided.cache()).unwrap();
}

#[test]
fn a_command_that_decides_nothing_compiles_no_policy() {
    let (sandbox, _) = Sandbox::with_acme();
    // The home was created, and credentials were set, without a policy.
    assert!(!sandbox.home().join("cache").exists());
    sandbox.entail(&["project", "list"]).ok();
    sandbox.entail(&["credential", "list", "acme"]).ok();
    assert!(!sandbox.home().join("cache").exists());
    sandbox.entail(&["resolve", "acme", "openai"]).ok();
    assert!(sandbox.home().join("cache").exists());
}
