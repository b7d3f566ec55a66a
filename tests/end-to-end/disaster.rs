//! Creating and restoring backups.

mod interrupted;
mod readers;

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::sandbox::{RunOutput, Sandbox};

fn backup(sandbox: &Sandbox, name: &str) -> PathBuf {
    let file = sandbox.path(name);
    sandbox.entail(&["backup", file.to_str().unwrap()]).ok();
    file
}

fn recovery(sandbox: &Sandbox) -> PathBuf {
    let file = sandbox.path("recovery.txt");
    let path = file.to_str().unwrap();
    sandbox
        .entail(&["key", "add-recipient", "--recovery", path])
        .ok();
    file
}

fn private_directory(directory: &Path) {
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).create(directory).unwrap();
}

fn restore(sandbox: &Sandbox, home: &Path, copy: &Path, recovery: &Path) -> RunOutput {
    let mut command = sandbox.command(&[
        "restore",
        copy.to_str().unwrap(),
        "--recovery",
        recovery.to_str().unwrap(),
    ]);
    command.env("ENTAIL_HOME", home);
    sandbox.run(command, "")
}

#[test]
fn a_backup_is_restored_on_a_clean_machine_with_the_recovery_key() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    // The recovery key stays valid if the signer is rotated later.
    sandbox.entail(&["key", "rotate", "signer"]).ok();
    let copy = backup(&sandbox, "copy.entail");
    std::fs::remove_dir_all(sandbox.home()).unwrap();

    restore(&sandbox, &sandbox.home(), &copy, &recovery)
        .ok()
        .prints("this machine's new identity can open the secrets of acme too");
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
    sandbox.entail(&["verify"]).ok();
    sandbox.entail(&["project", "add", "acme/more"]).ok();
    // The home exists now and is not created again.
    restore(&sandbox, &sandbox.home(), &copy, &recovery)
        .fails(14)
        .prints("is a home already");
}

#[test]
fn a_backup_signed_by_an_untrusted_key_is_refused() {
    let (sandbox, _) = Sandbox::with_acme();
    let mine = recovery(&sandbox);
    let (stranger, _) = Sandbox::with_acme();
    let forged = backup(&stranger, "forged.entail");
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &forged, &mine)
        .fails(15)
        .prints("another store");
    assert!(!elsewhere.join("keys").exists());
    sandbox
        .entail(&["restore", forged.to_str().unwrap(), "--accept-rollback"])
        .fails(15)
        .prints("owners are not trusted")
        .prints("--owner ed25519:");
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn a_restore_with_a_recovery_key_that_opens_nothing_creates_no_home() {
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    // Created after the backup.
    let late = recovery(&sandbox);
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &copy, &late)
        .fails(15)
        .prints("--at-least");
    let mut command = sandbox.command(&["restore", "--at-least", "0", "--recovery"]);
    command.args([&late, &copy]).env("ENTAIL_HOME", &elsewhere);
    sandbox.run(command, "").fails(19).prints("opens nothing");
    let entries: Vec<_> = std::fs::read_dir(&elsewhere).unwrap().collect();
    assert!(entries.is_empty(), "{entries:?}");
}

#[test]
fn a_rollback_must_be_requested_and_is_journalled() {
    let (sandbox, key) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    let copy = copy.to_str().unwrap();
    let newer = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &newer)
        .ok();
    sandbox
        .entail(&["restore", copy])
        .fails(19)
        .prints("--accept-rollback");
    // Copying the file by hand is detected.
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(sandbox.home().join(format!("entail.db{suffix}")));
    }
    std::fs::copy(copy, sandbox.database()).unwrap();
    for arguments in [
        &["resolve", "acme/evals", "openai", "--reveal"][..],
        &["status"],
        &["verify"],
        &["doctor"],
        &["project", "add", "acme/more"],
    ] {
        sandbox.entail(arguments).fails(15);
    }
    sandbox
        .entail(&["restore", "--accept-rollback"])
        .ok()
        .prints("was undone");
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
    // Restoring the copy over an intact database.
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &newer)
        .ok();
    sandbox.entail(&["restore", copy, "--accept-rollback"]).ok();
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn an_unreadable_database_can_be_replaced_from_a_backup() {
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    // The keyring changes after the backup, but nobody loses a right to write.
    recovery(&sandbox);
    for damage in ["", "this is no database, but it is as long as a page or so"] {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(sandbox.home().join(format!("entail.db{suffix}")));
        }
        std::fs::write(sandbox.database(), damage).unwrap();
        sandbox
            .entail(&["resolve", "acme/evals", "openai"])
            .fails(14);
        sandbox
            .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
            .ok();
        sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
        sandbox.entail(&["doctor"]).ok();
    }
}

#[test]
fn a_lost_anchor_is_reported() {
    let (sandbox, _) = Sandbox::with_acme();
    std::fs::remove_file(sandbox.home().join("anchor.json")).unwrap();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(15)
        .prints("restore --accept-rollback");
    sandbox.entail(&["restore", "--accept-rollback"]).ok();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn an_earlier_signer_is_trusted_only_for_what_it_signed_then() {
    let (sandbox, _) = Sandbox::with_acme();
    let past = backup(&sandbox, "past.entail");
    // An attacker continues with the old signer elsewhere.
    let elsewhere = sandbox.path("elsewhere");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(sandbox.home())
        .arg(&elsewhere)
        .status();
    assert!(copied.unwrap().success());
    sandbox.entail(&["key", "rotate", "signer"]).ok();
    let forged = sandbox.path("forged.entail");
    for arguments in [
        &["project", "add", "acme/evil"][..],
        &["backup", forged.to_str().unwrap()],
    ] {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &elsewhere);
        sandbox.run(command, "").ok();
    }
    let restore =
        |copy: &Path| sandbox.entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"]);
    restore(&forged).fails(15).prints("removed since");
    restore(&past).ok();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_backup_sealed_to_another_identity_needs_that_identity() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let copy = copy.to_str().unwrap();
    sandbox.entail(&["key", "rotate", "identity"]).ok();
    sandbox
        .entail(&["restore", copy, "--accept-rollback"])
        .fails(19)
        .prints("--recovery");
    sandbox.entail(&["verify"]).ok();
    sandbox
        .entail(&[
            "restore",
            copy,
            "--accept-rollback",
            "--recovery",
            recovery.to_str().unwrap(),
        ])
        .ok();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_restore_of_a_newer_backup_takes_over_its_keys() {
    let (sandbox, _) = Sandbox::with_acme();
    let removed = recovery(&sandbox);
    let behind = sandbox.path("behind");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(sandbox.home())
        .arg(&behind)
        .status();
    assert!(copied.unwrap().success());
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    let copy = backup(&sandbox, "copy.entail");
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &behind);
        sandbox.run(command, "")
    };
    run(&["restore", copy.to_str().unwrap(), "--accept-rollback"]).ok();
    let listed = run(&["key", "list"]).ok();
    assert!(!listed.stdout.contains("recovery"), "{}", listed.stdout);
    // Its receipt cannot be renewed any more.
    run(&["key", "receipt", removed.to_str().unwrap()])
        .fails(16)
        .prints("is not a recipient of this store");
}

#[test]
fn a_backup_that_ends_under_another_owner_is_restored_only_if_named() {
    let (sandbox, _) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &copy, &recovery).ok();
    let theirs = sandbox.path("theirs.entail");
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &elsewhere);
        sandbox.run(command, "")
    };
    run(&["backup", theirs.to_str().unwrap()]).ok();
    let list = run(&["key", "list", "--json"]).ok().json();
    let owner = list["owner"].as_str().unwrap();
    let theirs = theirs.to_str().unwrap();
    let restore = ["restore", theirs, "--accept-rollback"];
    sandbox.entail(&restore).fails(15).prints("--owner");
    let named = [&restore[..], &["--owner", owner]].concat();
    sandbox.entail(&named).ok();
    for command in ["verify", "doctor", "status"] {
        sandbox.entail(&[command]).ok();
    }
    sandbox.entail(&["project", "add", "acme/more"]).ok();
}

#[test]
fn a_restore_by_another_machine_is_recognized_and_accepted_explicitly() {
    let (sandbox, key) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    sandbox.entail(&["project", "add", "acme/later"]).ok();
    sandbox.entail(&["project", "add", "acme/latest"]).ok();
    let first = sandbox.path("first");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(sandbox.home())
        .arg(&first)
        .status();
    assert!(copied.unwrap().success());
    // The other machine restores; this one gets the database.
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &first);
        sandbox.run(command, "")
    };
    run(&["restore", copy.to_str().unwrap(), "--accept-rollback"]).ok();
    let share = || {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(sandbox.home().join(format!("entail.db{suffix}")));
        }
        std::fs::copy(first.join("entail.db"), sandbox.database()).unwrap();
    };
    share();
    let out = sandbox.path("out.entail");
    let is_recognized = || {
        for arguments in [
            &["verify"][..],
            &["doctor"],
            &["status"],
            &["resolve", "acme/evals", "openai"],
            &["project", "add", "acme/more"],
            &["backup", out.to_str().unwrap()],
        ] {
            let output = sandbox.entail(arguments).fails(14);
            let text = format!("{}{}", output.stdout, output.stderr);
            assert!(
                text.contains("restored to an earlier state elsewhere"),
                "{text}"
            );
            assert!(text.contains("entail restore --accept-rollback"), "{text}");
            assert!(!text.contains("restore BACKUP"), "{text}");
        }
    };
    is_recognized();
    // Also when the new lineage has more changes than this machine had seen.
    for number in 0..5 {
        run(&["project", "add", &format!("acme/p{number}")]).ok();
    }
    share();
    is_recognized();
    sandbox.entail(&["restore", "--accept-rollback"]).ok();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
    // The former lineage is a rollback, for the owners trust no way back.
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(sandbox.home().join(format!("entail.db{suffix}")));
    }
    std::fs::copy(&copy, sandbox.database()).unwrap();
    sandbox
        .entail(&["verify"])
        .fails(15)
        .prints("restore BACKUP");
}

#[test]
fn a_former_signer_is_not_believed_on_a_clean_machine_with_a_new_receipt() {
    let (sandbox, _) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    // A thief has a copy of the home, without the owner key.
    let stolen = sandbox.path("stolen");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(sandbox.home())
        .arg(&stolen)
        .status();
    assert!(copied.unwrap().success());
    std::fs::remove_file(stolen.join("keys/owner.pem")).unwrap();
    sandbox
        .entail(&["key", "rotate", "signer"])
        .ok()
        .prints("entail key receipt FILE");
    sandbox
        .entail(&["key", "receipt", recovery.to_str().unwrap()])
        .ok();
    let forged = sandbox.path("forged.entail");
    for arguments in [
        &["inherit", "acme/evals", "openai", "--off"][..],
        &["project", "add", "acme/evil"],
        &["backup", forged.to_str().unwrap()],
    ] {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &stolen);
        sandbox.run(command, "").ok();
    }
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &forged, &recovery)
        .fails(15)
        .prints("does not contain the state");
    // The revision of the receipt itself changes nothing.
    let receipt = std::fs::read_to_string(&recovery).unwrap();
    let checkpoint = receipt
        .lines()
        .find_map(|line| line.strip_prefix("# checkpoint: "));
    let revision = checkpoint.unwrap().split(' ').next().unwrap();
    let mut command = sandbox.command(&["restore", "--at-least", revision, "--recovery"]);
    command
        .args([&recovery, &forged])
        .env("ENTAIL_HOME", &elsewhere);
    sandbox.run(command, "").fails(15);
    let copy = backup(&sandbox, "copy.entail");
    restore(&sandbox, &elsewhere, &copy, &recovery).ok();
}

#[test]
fn a_damaged_page_or_a_read_only_backup_does_not_prevent_a_restore() {
    use std::os::unix::fs::FileExt as _;
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o400)).unwrap();
    let database = std::fs::File::options()
        .write(true)
        .open(sandbox.database())
        .unwrap();
    database.write_all_at(&[0x55; 3000], 4096).unwrap();
    sandbox
        .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
        .ok();
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_database_whose_keys_are_elsewhere_is_not_replaced() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let keys = sandbox.home().join("keys");
    let away = sandbox.path("keys");
    std::fs::rename(&keys, &away).unwrap();
    // Keys of another machine are no sign of an interrupted restore either.
    std::fs::create_dir(sandbox.home().join("staging")).unwrap();
    restore(&sandbox, &sandbox.home(), &copy, &recovery)
        .fails(14)
        .prints("put the keys back");
    std::fs::rename(&away, &keys).unwrap();
    assert_eq!(sandbox.revealed_key(), key);
    let elsewhere = sandbox.path("elsewhere");
    private_directory(&elsewhere);
    private_directory(&elsewhere.join("keys"));
    std::fs::write(elsewhere.join("keys/owner.pem"), "kept").unwrap();
    restore(&sandbox, &elsewhere, &copy, &recovery)
        .fails(14)
        .prints("move it away");
    let kept = std::fs::read_to_string(elsewhere.join("keys/owner.pem"));
    assert_eq!(kept.unwrap(), "kept");
}

#[test]
fn a_rollback_has_a_dry_run() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    sandbox.entail(&["key", "rotate", "identity"]).ok();
    sandbox.entail(&["project", "add", "acme/later"]).ok();
    let revision = || sandbox.entail(&["verify", "--json"]).ok().json()["revision"].clone();
    let before = revision();
    let back = |more: &[&str]| {
        let restore = ["restore", copy.to_str().unwrap(), "--accept-rollback"];
        sandbox.entail(&[&restore[..], more].concat())
    };
    let recovery = recovery.to_str().unwrap();
    back(&["--recovery", recovery, "--dry-run"])
        .ok()
        .prints("would be undone")
        .prints("1 secret would be sealed again")
        .prints("nothing was changed");

    // The dry run fails as the restore does, which changes nothing.
    let garbage = sandbox.path("garbage.txt");
    std::fs::write(&garbage, "no key").unwrap();
    let (other, _) = Sandbox::with_acme();
    let strange = self::recovery(&other);
    for (more, code) in [
        (&[][..], 19),
        (&["--recovery", garbage.to_str().unwrap()], 16),
        (&["--recovery", strange.to_str().unwrap()], 15),
    ] {
        let planned = back(&[more, &["--dry-run"]].concat()).fails(code);
        let actual = back(more).fails(code);
        assert_eq!(planned.stderr, actual.stderr);
    }
    assert_eq!(revision(), before);
    assert_eq!(sandbox.revealed_key(), key);
    assert!(!sandbox.home().join("staging").exists());
    sandbox
        .entail(&["project", "list"])
        .ok()
        .prints("acme/later");
    back(&["--recovery", recovery])
        .ok()
        .prints("1 secret was sealed again");
    assert_eq!(sandbox.revealed_key(), key);

    // A new home needs another directory.
    let path = copy.to_str().unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let new = ["restore", path, "--recovery", recovery];
        sandbox
            .entail(&[&new[..], more].concat())
            .fails(14)
            .prints("--accept-rollback")
            .prints("--home");
    }
}

#[test]
fn a_dry_run_on_a_clean_machine_checks_what_the_restore_checks() {
    let (sandbox, _) = Sandbox::with_acme();
    let early = backup(&sandbox, "early.entail");
    let mine = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let (other, _) = Sandbox::with_acme();
    let strange = recovery(&other);
    let foreign = backup(&other, "foreign.entail");
    let plain = sandbox.path("plain.txt");
    let text = std::fs::read_to_string(&strange).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    std::fs::write(&plain, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let garbage = sandbox.path("garbage.txt");
    std::fs::write(&garbage, "no key").unwrap();
    let damaged = backup(&sandbox, "damaged.entail");
    let database = rusqlite::Connection::open(&damaged).unwrap();
    database.execute_batch("DELETE FROM blobs").unwrap();
    drop(database);
    let elsewhere = sandbox.path("a/b/elsewhere");
    let passphrase = sandbox.path("missing-passphrase.txt");
    let run = |copy: &Path, recovery: &Path, more: &[&str]| {
        let mut command = sandbox.command(&["restore"]);
        command.arg(copy).arg("--recovery").arg(recovery).args(more);
        command.env("ENTAIL_HOME", &elsewhere);
        sandbox.run(command, "")
    };
    let list = sandbox.entail(&["key", "list", "--json"]).ok().json();
    let owner = list["owner"].as_str().unwrap();
    for (copy, recovery, more, code, says) in [
        (&copy, &strange, &[][..], 15, "another store"),
        (&copy, &plain, &["--owner", owner], 19, "opens nothing"),
        (&copy, &plain, &[], 15, "owners are not trusted"),
        (&copy, &garbage, &["--owner", owner], 16, "identity"),
        (&foreign, &mine, &[], 15, "another store"),
        (&early, &mine, &[], 15, "does not contain the state"),
        (&early, &mine, &["--at-least", "0"], 19, "opens nothing"),
        (&copy, &mine, &["--at-least", "999"], 15, "999 is required"),
        (&damaged, &mine, &[], 15, "tampered"),
        (&sandbox.path("missing"), &mine, &[], 1, "missing"),
    ] {
        let planned = run(copy, recovery, &[more, &["--dry-run"]].concat());
        let planned = planned.fails(code).prints(says);
        // The passphrase is asked for last.
        let file = [
            "--passphrase",
            "--passphrase-file",
            passphrase.to_str().unwrap(),
        ];
        let asked = run(copy, recovery, &[more, &file].concat());
        assert_eq!(planned.stderr, asked.fails(code).stderr);
        let actual = run(copy, recovery, more).fails(code);
        assert_eq!(planned.stderr, actual.stderr);
        let _ = std::fs::remove_dir(&elsewhere);
        let _ = std::fs::remove_dir_all(sandbox.path("a"));
    }
    run(&copy, &mine, &["--dry-run"])
        .ok()
        .prints("would be as it was at revision")
        .prints("can open the secrets of acme")
        .prints("nothing was changed");
    assert!(!sandbox.path("a").exists());
    run(&copy, &mine, &[]).ok();
}

#[test]
fn an_unrelated_recovery_key_is_refused_in_place_too() {
    let (sandbox, key) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    let (other, _) = Sandbox::with_acme();
    let strange = recovery(&other);
    let strange = strange.to_str().unwrap();
    let restore = ["restore", copy.to_str().unwrap(), "--accept-rollback"];
    sandbox
        .entail(&[&restore[..], &["--recovery", strange]].concat())
        .fails(15)
        .prints("another store");
    // Errors name the files that the user knows.
    let own = sandbox.entail(&["restore", "--accept-rollback", "--recovery", strange]);
    let own = own
        .fails(15)
        .prints("entail.db is a backup of another store");
    assert!(!own.stderr.contains("staging"), "{}", own.stderr);
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn unusual_backup_names_are_not_misread() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let place = sandbox.path("copies");
    std::fs::create_dir(&place).unwrap();
    let run = |arguments: &[&OsStr], home: &Path| {
        let mut command = sandbox.command(&[]);
        command.args(arguments).current_dir(&place);
        command.env("ENTAIL_HOME", home);
        sandbox.run(command, "")
    };
    let names: [&[u8]; 8] = [
        b"file:x",
        b"file:x?mode=memory",
        b"file:///tmp/x",
        b":memory:",
        b"a?b#c%41d",
        b"sp ace",
        b"-",
        b"not-utf-8-\xff",
    ];
    for (number, name) in (0..).zip(names) {
        let name = OsStr::from_bytes(name);
        if name == "file:///tmp/x" {
            // A directory that does not exist.
            run(&["backup".as_ref(), name], &sandbox.home()).fails(1);
            continue;
        }
        run(
            &["backup".as_ref(), "--json".as_ref(), "--".as_ref(), name],
            &sandbox.home(),
        )
        .ok();
        let metadata = std::fs::metadata(place.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name:?}");
        let home = sandbox.path(&format!("restored-{number}"));
        let restore: [&OsStr; 5] = [
            "restore".as_ref(),
            "--recovery".as_ref(),
            recovery.as_os_str(),
            "--".as_ref(),
            name,
        ];
        run(&restore, &home).ok();
        let mut command =
            sandbox.command(&["resolve", "acme/evals", "openai", "--reveal", "--json"]);
        command.env("ENTAIL_HOME", &home);
        let lease = Sandbox::output(command, "").stdout;
        let lease: serde_json::Value = serde_json::from_slice(&lease).unwrap();
        assert_eq!(lease["secrets"]["api_key"], key.as_str(), "{name:?}");
        // An existing file is not replaced.
        run(&["backup".as_ref(), "--".as_ref(), name], &sandbox.home()).fails(19);
    }
    for name in ["", "..", "/"] {
        let ran = run(&["backup".as_ref(), name.as_ref()], &sandbox.home());
        assert!(matches!(ran.code, Some(2 | 19)), "{name:?}: {}", ran.stderr);
    }
    // A home may have such a name, too.
    let home = place.join("file:home");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([sandbox.home(), home])
        .status();
    assert!(copied.unwrap().success());
    run(&["verify".as_ref()], Path::new("file:home")).ok();

    let mut expected: Vec<OsString> = names
        .iter()
        .map(|name| OsStr::from_bytes(name).to_owned())
        .filter(|name| name != "file:///tmp/x")
        .chain(["file:home".into()])
        .collect();
    expected.sort();
    let mut found: Vec<OsString> = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_backup_with_a_changed_schema_is_not_restored() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    for (number, change) in (0..).zip([
        "CREATE TRIGGER watch AFTER INSERT ON blobs BEGIN SELECT 1; END",
        "ALTER TABLE blobs RENAME TO before;
         CREATE TABLE blobs (
             digest BLOB NOT NULL PRIMARY KEY, bytes BLOB NOT NULL,
             x BLOB AS (NULL) NOT NULL ON CONFLICT IGNORE) STRICT;
         DROP TABLE before;",
        "PRAGMA application_id = 1",
    ]) {
        let copy = backup(&sandbox, &format!("copy-{number}.entail"));
        let database = rusqlite::Connection::open(&copy).unwrap();
        database.execute_batch(change).unwrap();
        drop(database);
        let elsewhere = sandbox.path("elsewhere");
        restore(&sandbox, &elsewhere, &copy, &recovery)
            .fails(15)
            .prints("tampered: the ");
        let entries: Vec<_> = std::fs::read_dir(&elsewhere).unwrap().collect();
        assert!(entries.is_empty(), "{entries:?}");
        sandbox
            .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
            .fails(15)
            .prints("tampered: the ");
    }
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_database_with_a_changed_schema_is_replaced_completely() {
    let (sandbox, key) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER watch AFTER INSERT ON journal BEGIN DELETE FROM journal; END;
             CREATE TABLE more (x);",
        )
        .unwrap();
    drop(database);
    sandbox.entail(&["restore", "--accept-rollback"]).fails(15);
    sandbox
        .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
        .ok();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["project", "add", "acme/more"]).ok();
    sandbox.entail(&["doctor"]).ok();
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('watch', 'more')";
    let count: i64 = database.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_backup_that_cannot_be_restored_is_not_reported_as_valid() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.sql("DELETE FROM documents WHERE name = 'acme/agents'");
    let copy = sandbox.path("copy.entail");
    sandbox
        .entail(&["backup", copy.to_str().unwrap()])
        .fails(15)
        .prints("acme/agents");
    assert!(!copy.exists());
    let directory = std::fs::read_dir(copy.parent().unwrap()).unwrap();
    let names: Vec<_> = directory.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["home"]);
}

#[test]
fn a_backup_without_what_documents_and_epochs_name_is_not_written() {
    let (sandbox, _) = Sandbox::with_acme();
    let file = sandbox.path("copy.entail");
    let list = sandbox.entail(&["key", "list", "--json"]).ok().json();
    assert_eq!(list["readers"][0]["epochs"], serde_json::json!([1]));
    let blobs = "SELECT digest FROM blobs";
    // Each blob in turn: the secret, and the key of the epoch.
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let mut statement = database.prepare(blobs).unwrap();
    let digests: Vec<Vec<u8>> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(digests.len(), 2);
    for digest in digests {
        let broken = Sandbox::copy_of(&sandbox);
        let removal = rusqlite::Connection::open(broken.database()).unwrap();
        removal
            .execute("DELETE FROM blobs WHERE digest = ?", [digest])
            .unwrap();
        drop(removal);
        broken
            .entail(&["backup", file.to_str().unwrap()])
            .fails(15)
            .prints("is missing");
        assert!(!file.exists());
    }
}
