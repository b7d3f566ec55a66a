//! Who can read the secrets of a restored store.

use super::{backup, recovery, restore};
use crate::sandbox::Sandbox;

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
