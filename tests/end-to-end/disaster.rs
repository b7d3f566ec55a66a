//! Creating and restoring backups.

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
fn a_restore_brings_back_no_reader_that_was_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let stolen = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    let copy = copy.to_str().unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let arguments = [&["restore", copy, "--accept-rollback"], more].concat();
        sandbox
            .entail(&arguments)
            .ok()
            .prints("stay removed: recovery");
    }
    let later = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &later)
        .ok();
    sandbox.entail(&["doctor"]).ok();
    let directory = sandbox.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(stolen, directory.join("entail-identity")).unwrap();
    let mut command = sandbox.command(&["resolve", "acme/evals", "openai"]);
    command.env("CREDENTIALS_DIRECTORY", directory);
    sandbox.run(command, "").fails(10).prints("cannot be read");
}

#[test]
fn a_restore_begins_an_epoch_that_no_removed_reader_knows() {
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    // It reads the epoch of the backup, which names only others.
    let removed = recovery(&sandbox);
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    let restore = ["restore", copy.to_str().unwrap(), "--accept-rollback"];
    sandbox.entail(&restore).ok();
    let later = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &later)
        .ok();
    let directory = sandbox.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(removed, directory.join("entail-identity")).unwrap();
    let mut command = sandbox.command(&["resolve", "acme/evals", "openai"]);
    command.env("CREDENTIALS_DIRECTORY", directory);
    sandbox.run(command, "").fails(10).prints("cannot be read");
    let keys = sandbox.entail(&["key", "list", "--json"]).ok().json();
    assert_eq!(
        keys["readers"][0]["epochs"]
            .as_array()
            .unwrap()
            .last()
            .unwrap(),
        2
    );
}

#[test]
fn two_restores_bring_back_no_reader_that_was_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let without = backup(&sandbox, "without.entail");
    sandbox.entail(&["init", "globex"]).ok();
    recovery(&sandbox);
    let with = backup(&sandbox, "with.entail");
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    // After the first, nothing is known of the organization.
    for copy in [without, with] {
        let restore = ["restore", copy.to_str().unwrap(), "--accept-rollback"];
        sandbox.entail(&restore).ok();
    }
    let keys = sandbox.entail(&["key", "list"]).ok();
    assert!(keys.stdout.contains("globex"), "{}", keys.stdout);
    assert!(!keys.stdout.contains("recovery"), "{}", keys.stdout);
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
fn a_restore_without_an_identity_begins_an_epoch_without_removed_readers() {
    let (sandbox, _) = Sandbox::with_acme();
    let removed = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok();
    let identity = sandbox.home().join("keys/identity.txt");
    let away = sandbox.path("identity.txt");
    std::fs::rename(&identity, &away).unwrap();
    sandbox
        .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
        .ok()
        .prints("stay removed: recovery");
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &key)
        .ok();
    std::fs::copy(&removed, &identity).unwrap();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(10)
        .prints("cannot be read");
    std::fs::rename(away, identity).unwrap();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["key", "reseal"]).ok();
    sandbox.entail(&["doctor"]).ok();
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
fn a_recovery_key_of_one_organization_opens_nothing_of_another() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&["init", "other"]).ok();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "other", "openai", "--stdin"], &key)
        .ok();
    let file = sandbox.path("recovery.txt");
    let recovery = file.to_str().unwrap();
    sandbox
        .entail(&[
            "key",
            "add-recipient",
            "--recovery",
            recovery,
            "--organization",
            "acme",
        ])
        .ok()
        .prints("the secrets of acme");
    let copy = backup(&sandbox, "copy.entail");
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &copy, &file)
        .ok()
        .prints("can open the secrets of acme too");
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &elsewhere);
        sandbox.run(command, "")
    };
    run(&["resolve", "acme/evals", "openai"]).ok();
    run(&["resolve", "other", "openai"])
        .fails(10)
        .prints("cannot be read");
    // What does not open here cannot be shared from here.
    let second = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    for more in [&["--dry-run"][..], &[]] {
        run(&[&["key", "add-recipient", second], more].concat())
            .fails(19)
            .prints("does not open the secrets of other");
    }
    run(&["key", "add-recipient", second, "--organization", "acme"])
        .ok()
        .prints("the secrets of acme");
}

#[test]
fn a_machine_that_cannot_read_an_organization_says_so_when_it_writes_there() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&["init", "other"]).ok();
    let key = sandbox.canary();
    let set = ["credential", "set", "other", "openai", "--stdin"];
    let output = sandbox.entail_with(&set, &key).ok();
    assert!(!output.stdout.contains("cannot read"), "{}", output.stdout);
    let file = sandbox.path("recovery.txt");
    let recovery = file.to_str().unwrap();
    let add = ["key", "add-recipient", "--recovery", recovery];
    sandbox
        .entail(&[&add[..], &["--organization", "acme"]].concat())
        .ok();
    let copy = backup(&sandbox, "copy.entail");
    let elsewhere = sandbox.path("elsewhere");
    restore(&sandbox, &elsewhere, &copy, &file).ok();
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &elsewhere);
        sandbox.run(command, &key)
    };
    let own = || {
        let keys = run(&["key", "list", "--json"]).ok().json();
        let all = keys["default_recipients"].as_array().unwrap().clone();
        let own = all.iter().find(|recipient| recipient["own"] == true);
        own.unwrap()["public_key"].as_str().unwrap().to_owned()
    };
    let remedy = |key: &str| format!("entail key add-recipient {key} --organization other");

    // A new secret can be set there, but not read.
    for arguments in [
        &["credential", "rotate", "other", "openai"][..],
        &["credential", "set", "other", "mistral", "--stdin"],
    ] {
        run(arguments)
            .ok()
            .prints("cannot read the secrets of other");
    }
    let acme = run(&["credential", "rotate", "acme", "openai"]).ok();
    assert!(!acme.stdout.contains("cannot read"), "{}", acme.stdout);

    // What helps is that a machine that reads it adds this one, not another secret.
    for arguments in [
        &["resolve", "other", "openai"][..],
        &["verify"],
        &["doctor"],
    ] {
        let output = run(arguments);
        assert_ne!(output.code, Some(0));
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains(&remedy(&own())), "{text}");
        assert!(!text.contains("credential rotate"), "{text}");
    }

    let planned = run(&["key", "rotate", "identity", "--dry-run"]).ok();
    assert!(planned.stderr.contains(&remedy(&own())));
    let rotated = run(&["key", "rotate", "identity"]).ok();
    let text = &rotated.stderr;
    assert!(text.contains(&remedy(&own())), "{text}");
    assert!(!text.contains("secrets of acme"), "{text}");
    let again = run(&["key", "rotate", "identity", "--json"]).ok().json();
    assert_eq!(again["unreadable"], serde_json::json!(["other"]));
}

#[test]
fn a_machine_that_is_no_recipient_is_told_how_to_become_one() {
    let (sandbox, _) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let identity = sandbox.home().join("keys/identity.txt");
    let lost = std::fs::read(&identity).unwrap();
    // Another machine replaces this identity meanwhile.
    std::fs::copy(&recovery, &identity).unwrap();
    sandbox.entail(&["key", "remove-recipient", "first"]).ok();
    std::fs::write(&identity, lost).unwrap();
    for (arguments, code) in [
        (&["resolve", "acme/evals", "openai"][..], 10),
        (&["verify"], 16),
        (&["doctor"], 16),
        (&["key", "rotate", "identity"], 16),
    ] {
        let output = sandbox.entail(arguments).fails(code);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains("entail key add-recipient age1"), "{text}");
        assert!(!text.contains("credential rotate"), "{text}");
    }
    // The advice works.
    let output = sandbox.entail(&["key", "rotate", "identity"]).stderr;
    let advised = output.split("add-recipient ").nth(1).unwrap();
    let own = advised.split(';').next().unwrap().to_owned();
    let mine = std::fs::read(&identity).unwrap();
    std::fs::copy(&recovery, &identity).unwrap();
    sandbox.entail(&["key", "add-recipient", &own]).ok();
    std::fs::write(&identity, mine).unwrap();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    sandbox.entail(&["doctor"]).ok();
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
fn leftovers_of_a_stopped_process_are_reported_and_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let copy = backup(&sandbox, "copy.entail");
    std::fs::create_dir(sandbox.home().join("staging")).unwrap();
    std::fs::write(sandbox.home().join("keys/identity.txt.new"), "half").unwrap();
    sandbox.entail(&["doctor"]).fails(1).prints("rm -r");
    sandbox
        .entail(&["restore", copy.to_str().unwrap(), "--accept-rollback"])
        .ok();
    sandbox.entail(&["doctor"]).ok();
}

/// Runs a command and kills it when it makes the system call `call` for the `number`-th time.
fn killed_at(
    sandbox: &Sandbox,
    home: &Path,
    (call, number): (&str, usize),
    arguments: &[&str],
) -> RunOutput {
    let inner = sandbox.command(arguments);
    let mut command = std::process::Command::new("strace");
    command.env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .env("ENTAIL_HOME", home)
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={number}"))
        .arg(inner.get_program())
        .args(inner.get_args());
    sandbox.run(command, "")
}

#[test]
fn creating_a_home_that_was_interrupted_at_any_step_is_done_again_by_the_same_command() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = recovery(&sandbox);
    let copy = backup(&sandbox, "copy.entail");
    let restore = [
        "restore",
        copy.to_str().unwrap(),
        "--recovery",
        recovery.to_str().unwrap(),
    ];
    for (arguments, call) in [
        (&restore[..], "rename"),
        (&restore, "unlinkat"),
        (&["init", "acme"], "rename"),
    ] {
        let mut were_interrupted = 0;
        for number in 1.. {
            let home = sandbox.path(&format!("{}-{call}-{number}", arguments[0]));
            let run = |arguments: &[&str]| {
                let mut command = sandbox.command(arguments);
                command.env("ENTAIL_HOME", &home);
                sandbox.run(command, "")
            };
            // Files of the user stay.
            private_directory(&home);
            let settings = home.join("settings.toml");
            std::fs::write(&settings, "").unwrap();
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&settings, mode).unwrap();
            let is_killed = killed_at(&sandbox, &home, (call, number), arguments)
                .code
                .is_none();
            if home.join("keys.staged").exists() {
                were_interrupted += 1;
                run(&["status"]).fails(14).prints("interrupted");
            }
            // The last step may be the one after which there is nothing left to do.
            if !home.join("keys/keyring.jsonl").exists() {
                run(arguments).ok();
            }
            run(&["doctor"]).ok();
            if arguments == restore {
                let mut command =
                    sandbox.command(&["resolve", "acme/evals", "openai", "--reveal", "--json"]);
                command.env("ENTAIL_HOME", &home);
                let lease = sandbox.lease_of(command).ok().json();
                assert_eq!(lease["secrets"]["api_key"], key.as_str(), "{call} {number}");
            }
            assert!(settings.exists());
            if !is_killed {
                break;
            }
        }
        assert!(were_interrupted > 0, "{call}");
    }
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
