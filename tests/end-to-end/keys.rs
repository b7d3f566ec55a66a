//! Rotating secrets and keys, and machines that have only some of the keys.

use crate::sandbox::Sandbox;

/// The number of sealed secrets.
fn blobs(sandbox: &Sandbox) -> i64 {
    rusqlite::Connection::open(sandbox.database())
        .unwrap()
        .query_row("SELECT count(*) FROM blobs", [], |row| row.get::<_, i64>(0))
        .unwrap()
        // The key of the epoch.
        - 1
}

#[test]
fn a_rotated_secret_is_used_at_once_and_the_old_one_can_be_restored() {
    let (sandbox, first) = Sandbox::with_acme();
    let second = sandbox.canary();
    sandbox
        .entail_with(&["credential", "rotate", "acme", "openai"], &second)
        .ok()
        .prints("version 2")
        .prints("is kept until");
    assert_eq!(sandbox.revealed_key(), second);
    assert_eq!(blobs(&sandbox), 2);
    sandbox
        .entail(&["credential", "rollback", "acme", "openai"])
        .ok()
        .prints("version 1");
    assert_eq!(sandbox.revealed_key(), first);
    // A version number is never reused.
    let third = sandbox.canary();
    sandbox
        .entail_with(
            &["credential", "rotate", "acme", "openai", "--grace", "0"],
            &third,
        )
        .ok()
        .prints("version 3")
        .prints("is destroyed");
    assert_eq!(sandbox.revealed_key(), third);
    sandbox
        .entail(&["credential", "rollback", "acme", "openai"])
        .ok()
        .prints("version 2");
    assert_eq!(sandbox.revealed_key(), second);
    sandbox
        .entail(&["verify"])
        .ok()
        .prints("ok: the store matches its journal");
}

#[test]
fn a_secret_and_its_blob_are_destroyed_after_the_grace_period() {
    let (sandbox, _) = Sandbox::with_acme();
    let second = sandbox.canary();
    sandbox
        .entail_with(
            &["credential", "rotate", "acme", "openai", "--grace", "1s"],
            &second,
        )
        .ok();
    assert_eq!(blobs(&sandbox), 2);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    sandbox.entail(&["credential", "list", "acme"]).ok();
    assert_eq!(blobs(&sandbox), 1);
    sandbox
        .entail(&["credential", "rollback", "acme", "openai"])
        .fails(19)
        .prints("no earlier version");
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn keys_are_rotated_while_everything_stays_readable() {
    let (sandbox, key) = Sandbox::with_acme();
    let identity = || std::fs::read_to_string(sandbox.home().join("keys/identity.txt")).unwrap();
    let old_identity = identity();
    sandbox
        .entail(&["key", "rotate", "identity"])
        .ok()
        .prints("1 secret was sealed to it");
    assert_ne!(identity(), old_identity);
    sandbox
        .entail(&["key", "rotate", "signer"])
        .ok()
        .prints("new signer");
    sandbox
        .entail(&["key", "rotate", "owner"])
        .ok()
        .prints("new owner key");
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["doctor"]).ok();

    // The old identity does not open secrets that are sealed after the rotation.
    let later = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &later)
        .ok();
    let file = sandbox.path("old-identity");
    std::fs::write(&file, old_identity).unwrap();
    let mut command = sandbox.command(&["resolve", "acme/evals", "openai"]);
    let directory = sandbox.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::rename(&file, directory.join("entail-identity")).unwrap();
    command.env("CREDENTIALS_DIRECTORY", &directory);
    sandbox.run(command, "").fails(10).prints("cannot be read");
}

#[test]
fn a_rotated_identity_keeps_its_passphrase() {
    let sandbox = Sandbox::new();
    let passphrase = sandbox.canary();
    let file = sandbox.path("passphrase");
    std::fs::write(&file, &passphrase).unwrap();
    let with = |arguments: &[&str], input: &str| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_PASSPHRASE_FILE", &file);
        sandbox.run(command, input)
    };
    with(&["init", "acme", "--passphrase"], "").ok();
    let key = sandbox.canary();
    with(&["credential", "set", "acme", "openai"], &key).ok();
    with(&["key", "rotate", "identity"], "")
        .ok()
        .prints("1 secret was sealed to it");
    assert!(!sandbox.home().join("keys/identity.txt").exists());
    with(&["resolve", "acme", "openai"], "")
        .ok()
        .prints("granted");
    with(&["doctor"], "").ok();
}

#[test]
fn a_recipient_opens_what_is_sealed_until_it_is_removed() {
    let (sandbox, key) = Sandbox::with_acme();
    let recovery = sandbox.path("recovery.txt");
    let file = recovery.to_str().unwrap();
    sandbox
        .entail(&["key", "add-recipient", "--recovery", file])
        .ok()
        .prints("it can open the secrets of acme");
    let with_recovery = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        let directory = sandbox.path("credentials");
        let _ = std::fs::create_dir(&directory);
        std::fs::copy(&recovery, directory.join("entail-identity")).unwrap();
        command.env("CREDENTIALS_DIRECTORY", directory);
        command
    };
    sandbox
        .run(with_recovery(&["resolve", "acme/evals", "openai"]), "")
        .ok()
        .prints("granted");
    sandbox
        .entail(&["key", "remove-recipient", "recovery"])
        .ok()
        .prints("replace those at their providers");
    sandbox
        .run(with_recovery(&["resolve", "acme/evals", "openai"]), "")
        .fails(10)
        .prints("cannot be read");
    assert_eq!(sandbox.revealed_key(), key);
    sandbox
        .entail(&["key", "remove-recipient", "first"])
        .fails(19)
        .prints("last recipient");
    sandbox
        .entail(&["key", "add-recipient", "age1nonsense"])
        .fails(19)
        .prints("not an age recipient");
}

#[test]
fn without_the_identity_everything_but_resolving_works() {
    let (sandbox, _) = Sandbox::with_acme();
    let identity = sandbox.home().join("keys/identity.txt");
    let away = sandbox.path("identity.txt");
    std::fs::rename(&identity, &away).unwrap();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(16)
        .prints("no identity");
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "rotate", "acme", "openai"], &key)
        .ok();
    sandbox.entail(&["project", "add", "acme/more"]).ok();
    sandbox.entail(&["explain", "acme/evals", "openai"]).ok();
    sandbox.entail(&["verify"]).ok().prints("not tried to open");
    sandbox.entail(&["doctor"]).ok();
    let copy = sandbox.path("copy.entail");
    sandbox.entail(&["backup", copy.to_str().unwrap()]).ok();

    // The identity is read from a file descriptor.
    let script = format!("exec \"$0\" \"$@\" 3<{}", away.display());
    let program = env!("CARGO_BIN_EXE_entail");
    let mut shell = sandbox.command(&[]);
    let environment: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    shell = std::process::Command::new("sh");
    shell
        .env_clear()
        .envs(environment)
        .args(["-c", &script, program])
        .args(["resolve", "acme/evals", "openai", "--identity-fd", "3"]);
    sandbox.run(shell, "").ok().prints("granted");
    sandbox
        .entail(&["resolve", "acme/evals", "openai", "--identity-fd", "9"])
        .fails(19)
        .prints("not open");
}

#[test]
fn without_the_signer_everything_but_writing_works() {
    let (sandbox, key) = Sandbox::with_acme();
    std::fs::remove_file(sandbox.home().join("keys/signer.pem")).unwrap();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox.entail(&["status"]).ok();
    sandbox.entail(&["doctor"]).ok().prints("no signer");
    for arguments in [
        &["project", "add", "acme/more"][..],
        &["key", "rotate", "identity"],
        &["key", "rotate", "signer"],
        &["credential", "disable", "acme", "openai"],
    ] {
        sandbox.entail(arguments).fails(16).prints("no signer");
    }
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn without_the_owner_key_credentials_are_set_and_no_reader_is_added() {
    let (sandbox, key) = Sandbox::with_acme();
    std::fs::remove_file(sandbox.home().join("keys/owner.pem")).unwrap();
    sandbox.entail(&["doctor"]).ok().prints("no owner key");
    sandbox.entail(&["project", "add", "acme/more"]).ok();
    let thief = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let recovery = sandbox.path("recovery.txt").display().to_string();
    for arguments in [
        &["key", "add-recipient", thief][..],
        &["key", "add-recipient", "--recovery", &recovery],
        &["key", "rotate", "identity"],
        &["key", "rotate", "signer"],
        &["key", "rotate", "owner"],
        &["restore", "--accept-rollback"],
    ] {
        sandbox.entail(arguments).fails(16).prints("owner");
    }
    assert!(!sandbox.path("recovery.txt").exists());
    sandbox.entail(&["key", "reseal"]).ok();
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn concurrent_key_rotations_lose_no_key() {
    let (sandbox, key) = Sandbox::with_acme();
    for what in ["identity", "signer", "owner"] {
        let renewals: Vec<_> = (0..6)
            .map(|_| {
                sandbox
                    .command(&["key", "rotate", what])
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut renewal in renewals {
            // Concurrent rotations fail with a request to wait.
            assert!(matches!(renewal.wait().unwrap().code(), Some(0 | 16)));
        }
        assert_eq!(sandbox.revealed_key(), key);
    }
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_dry_run_lists_the_rotations_and_rotates_nothing() {
    let (sandbox, key) = Sandbox::with_acme();
    let planned = |arguments: &[&str]| {
        let arguments = [&["key"], arguments, &["--dry-run"]].concat();
        sandbox.entail(&arguments)
    };
    let keys = || sandbox.entail(&["key", "list"]).ok().stdout;
    let before = keys();
    let blob = blobs(&sandbox);
    let recovery = sandbox.path("recovery.txt");
    let recovery = recovery.to_str().unwrap();
    planned(&["rotate", "identity"])
        .ok()
        .prints("1 secret would be sealed again")
        .prints("nothing was changed");
    for key in ["signer", "owner"] {
        planned(&["rotate", key])
            .ok()
            .prints("0 secrets would be sealed again");
    }
    planned(&["add-recipient", "--recovery", recovery])
        .ok()
        .prints("0 secrets would be sealed again");
    planned(&["reseal"]).ok().prints("0 secrets");
    assert!(!std::fs::exists(recovery).unwrap());
    assert_eq!(keys(), before);
    assert_eq!(blobs(&sandbox), blob);

    // Each dry run reports the same as the change.
    sandbox
        .entail(&["key", "add-recipient", "--recovery", recovery])
        .ok()
        .prints("it can open the secrets of acme");
    planned(&["remove-recipient", "recovery"])
        .ok()
        .prints("1 secret ");
    sandbox
        .entail(&["key", "rotate", "signer"])
        .ok()
        .prints("new signer");
    for (arguments, code) in [
        (&["add-recipient", "age1nonsense"][..], 19),
        (&["add-recipient", "--recovery", recovery], 1),
        (&["add-recipient", "--recovery", "/nowhere/recovery.txt"], 1),
        (&["remove-recipient", "nobody"], 19),
        (&["remove-recipient", "first"], 19),
    ] {
        let planned = planned(arguments).fails(code);
        let actual = sandbox.entail(&[&["key"], arguments].concat()).fails(code);
        assert_eq!(planned.stderr, actual.stderr);
    }
    assert_eq!(sandbox.revealed_key(), key);
}
