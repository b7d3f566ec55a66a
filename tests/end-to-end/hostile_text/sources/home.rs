//! The home: its path, keys, anchor, recipients and settings.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use entail::store::Signer;
use entail_text::is_plain;
use serde_json::{Value, json};

use super::{policy_inputs, toml};
use crate::hostile_text::corpus::file_name;
use crate::hostile_text::{Source, World, check_source, failing, row};

sources! {
    the_directory_of_the_home: "the name of the home", |world| {
        moved_home(world);
        policy_inputs(world);
    }, [
        row(0, "doctor"),
        row(19, "init beta --passphrase"),
        row(19, "init acme").hidden(),
        row(0, "init beta --dry-run").hidden(),
        row(0, "status").hidden(),
        row(0, "run acme -- true").hidden(),
        row(0, "audit verify").hidden(),
        row(19, "audit accept-loss --reason known").hidden(),
        row(0, "verify").hidden(),
        row(0, "policy diff {built-in}").hidden(),
    ];

    a_home_that_others_can_use: "the name of a home that others can use", |world| {
        let home = moved_home(world);
        std::fs::set_permissions(home, Permissions::from_mode(0o755)).unwrap();
        policy_inputs(world);
    }, [
        row(14, "init beta"),
        row(14, "project add acme/new"),
        row(14, "project list"),
        row(14, "project remove acme/evals"),
        row(14, "credential set acme openai"),
        row(14, "credential rotate acme openai"),
        row(14, "credential rollback acme openai"),
        row(14, "credential list acme"),
        row(14, "credential show acme openai"),
        row(14, "credential disable acme openai"),
        row(14, "credential enable acme openai"),
        row(14, "credential remove acme openai"),
        row(14, "credential restore acme openai"),
        row(14, "inherit acme/evals"),
        row(14, "model acme openai gpt-5"),
        row(14, "resolve acme openai"),
        row(14, "explain acme openai"),
        row(14, "run acme -- true"),
        row(14, "export-env acme"),
        row(14, "status"),
        row(14, "providers"),
        row(14, "policy replay {built-in}"),
        row(14, "policy diff {built-in}"),
        row(14, "policy install {built-in}"),
        row(14, "policy list"),
        row(14, "policy show"),
        row(14, "policy activate acme built-in"),
        row(14, "policy rollback acme"),
        row(14, "policy shadow acme"),
        row(14, "policy remove closed"),
        row(14, "key list"),
        row(14, "key rotate identity"),
        row(14, "key rotate signer"),
        row(14, "key rotate owner"),
        row(14, "key receipt {fresh}"),
        row(14, "key add-recipient --recovery {fresh}"),
        row(14, "key remove-recipient first"),
        row(14, "key reseal"),
        row(14, "key require-owners 1"),
        row(14, "key apply {fresh}"),
        row(14, "audit tail"),
        row(14, "audit show"),
        row(14, "audit verify"),
        row(14, "verify"),
        row(14, "backup {fresh}"),
        row(14, "restore --accept-rollback"),
        row(14, "doctor"),
    ];

    a_home_whose_identity_others_can_use: "the name of a key that others can use", |world| {
        let home = moved_home(world);
        let identity = home.join("keys/identity.txt");
        std::fs::set_permissions(identity, Permissions::from_mode(0o644)).unwrap();
    }, [
        row(16, "resolve acme openai"),
        row(16, "status"),
        row(16, "doctor"),
        row(16, "key list"),
        row(16, "verify"),
    ];

    a_home_without_a_database: "the name of a missing database", |world| {
        let home = moved_home(world);
        std::fs::remove_file(home.join("entail.db")).unwrap();
    }, [
        row(14, "resolve acme openai"),
        row(14, "status"),
        row(14, "doctor"),
    ];

    invalid_key_files: "the contents of key files", |world| {
        let home = world.sandbox.home();
        let text = world.text.clone();
        for name in ["identity.txt", "owner.pem", "signer.pem", "keyring.jsonl"] {
            std::fs::write(home.join("keys").join(name), &text).unwrap();
        }
    }, [
        row(16, "resolve acme openai").hidden(),
        row(16, "status").hidden(),
        row(16, "key list").hidden(),
        row(16, "verify").hidden(),
        row(16, "doctor").hidden(),
    ];

    a_proposal: "the labels in a proposal", |world| {
        // A label has at most 256 bytes.
        world.text = world.text.chars().take(60).collect();
        let public_key = Signer::generate().unwrap().verifier().to_pem().unwrap();
        let public_key = world.sandbox.file("owner.pub", public_key);
        let add = ["key", "add-owner", &public_key, "--required", "2"];
        world.sandbox.entail(&add).fails(16);
        let proposals = world.sandbox.home().join("proposals");
        let proposal = std::fs::read_dir(proposals).unwrap().next().unwrap();
        let proposal = std::fs::read_to_string(proposal.unwrap().path()).unwrap();
        let mut proposal: Value = serde_json::from_str(&proposal).unwrap();
        // Exactly in the form that the program writes.
        let payload = proposal["keyring"]["payload"].as_str().unwrap();
        let label = format!("\"label\":{}", json!(world.text));
        let payload = payload.replace("\"label\":\"first\"", &label);
        assert!(payload.contains(&label));
        proposal["keyring"]["payload"] = json!(payload);
        proposal["keyring"]["signatures"] = json!("[]");
        world.file("proposal", "proposal.json", proposal.to_string());
    }, [
        row(0, "key sign {proposal} --dry-run"),
        row(0, "key sign {proposal}"),
        row(16, "key apply {proposal}").hidden(),
    ];

    an_invalid_anchor: "the contents of the anchor", |world| {
        let home = world.sandbox.home();
        std::fs::write(home.join("anchor.json"), &world.text).unwrap();
    }, [
        row(15, "status").hidden(),
        row(15, "doctor").hidden(),
    ];

    an_invalid_recovery_key: "the contents of a recovery key", |world| {
        let text = format!("# store: {0}\n# owner: {0}\n# checkpoint: {0}\n", world.text);
        world.file("recovery", "recovery.txt", text);
        let share = format!("# public key: {0}\nENTAIL-SHARE-1{0}\n", world.text);
        world.file("share", "share.txt", share);
        world.file("backup", "backup.db", "none");
    }, [
        failing("restore {backup} --recovery {recovery} --home {fresh}").hidden(),
        failing("restore {backup} --recovery {share} --home {fresh}").hidden(),
        failing("restore {backup} --recovery {share} --recovery {recovery} --home {fresh}").hidden(),
        row(16, "key receipt {share}").hidden(),
        failing("restore {backup} --recovery {recovery} --accept-rollback").hidden(),
    ];

    the_label_of_a_recipient: "the label of a recipient", |world| {
        // The text is also an argument, which cannot contain NUL.
        world.text = world.text.replace('\0', "");
        world.truncate(60);
        let recovery = world.sandbox.path("recovery.txt");
        let recovery = recovery.to_str().unwrap();
        let add = ["key", "add-recipient", "--recovery", recovery, "--label", &world.text];
        let added = world.sandbox.entail(&add).ok();
        assert!(added.stderr.chars().all(|c| is_plain(c) || c == '\n'));
    }, [
        row(0, "key list").exact(),
        row(0, "key remove-recipient {text} --dry-run").hidden(),
        failing("key remove-recipient {text}-"),
        row(0, "verify").hidden(),
        row(0, "doctor").hidden(),
    ];

    a_member_of_the_settings_file: "a member of settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("{} = 1\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "init beta"),
        row(19, "status"),
        row(19, "resolve acme openai"),
        row(19, "explain acme openai"),
        row(19, "run acme -- true"),
        row(19, "export-env acme"),
        row(19, "project list"),
        row(19, "credential list acme"),
        row(19, "policy list"),
        row(19, "key list"),
        row(19, "verify"),
        row(19, "backup {fresh}"),
        row(19, "doctor"),
    ];

    the_secondary_log: "the secondary log in settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("[decision-log]\nsecondary = {}\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status"),
        row(19, "resolve acme openai"),
        row(19, "doctor"),
    ];

    a_secondary_log_that_does_not_exist: "a secondary log that does not exist", |world| {
        let file = format!("/nowhere/{}", file_name(&world.text));
        let text = format!("[decision-log]\nsecondary = {}\n", toml(&file));
        world.in_home("settings.toml", &text);
    }, [
        failing("status"),
        failing("resolve acme openai"),
        failing("doctor"),
    ];

    a_value_of_the_settings_file: "a value in settings.toml", |world| {
        world.truncate(4_000);
        let text = format!("[decision-log]\nrequire = {}\n", toml(&world.text));
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status"),
        row(19, "resolve acme openai"),
    ];

    an_invalid_settings_file: "an invalid settings.toml", |world| {
        world.truncate(4_000);
        let text = world.text.replace('\0', "");
        world.in_home("settings.toml", &text);
    }, [
        row(19, "status").hidden(),
        row(19, "resolve acme openai").hidden(),
    ];
}

/// Renames the home to the text.
fn moved_home(world: &mut World) -> std::path::PathBuf {
    let home = world.sandbox.path(&file_name(&world.text));
    std::fs::rename(world.sandbox.home(), &home).unwrap();
    let value = home.clone().into();
    world.environment.insert("ENTAIL_HOME", Some(value));
    home
}
