//! A secret is replaced only on request, and a replaced or removed secret can be restored.

use crate::sandbox::{RunOutput, Sandbox};

const SET: [&str; 4] = ["credential", "set", "acme", "openai"];

#[test]
fn changing_rules_in_a_loop_does_not_read_standard_input_as_a_secret() {
    let (sandbox, key) = Sandbox::with_acme();
    let mut command = std::process::Command::new("bash");
    command
        .args([
            "-c",
            "printf 'gpt-4o\ngpt-5\n' | while read m; do \"$0\" credential set acme openai --models \"$m\"; done; \
             \"$0\" credential show acme openai",
            env!("CARGO_BIN_EXE_entail"),
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ENTAIL_HOME", sandbox.home());
    sandbox.run(command, "").ok().prints("gpt-5");
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(credential["version"]["number"], 1);
    sandbox
        .entail_with(&[&SET[..], &["--all-models"]].concat(), "gpt-5")
        .ok();
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn an_existing_credential_reads_a_secret_from_standard_input_only_on_request() {
    let (sandbox, key) = Sandbox::with_acme();
    let newer = sandbox.canary();
    sandbox
        .entail_with(&SET, &newer)
        .fails(19)
        .prints("add --stdin");
    sandbox
        .entail_with(
            &[&SET[..], &["--param", "organization=o1"]].concat(),
            &newer,
        )
        .ok();
    assert_eq!(sandbox.revealed_key(), key);
    sandbox
        .entail_with(&[&SET[..], &["--stdin"]].concat(), &newer)
        .ok();
    assert_eq!(sandbox.revealed_key(), newer);
    sandbox
        .entail(&[&SET[..], &["--stdin", "--keep-secret"]].concat())
        .fails(2);
    // The first secret of a credential is read without the option.
    sandbox
        .entail_with(&["credential", "set", "acme", "xai"], &sandbox.canary())
        .ok();
}

#[test]
fn a_replaced_secret_is_named_by_its_last_characters_and_can_be_restored() {
    let (sandbox, key) = Sandbox::with_acme();
    let end = format!("version 1 (••••{})", &key[key.len() - 4..]);
    let assert_replaced = |ran: RunOutput| {
        ran.ok()
            .prints(&end)
            .prints("is kept until")
            .prints("2 scopes use the credential")
    };
    let newer = sandbox.canary();
    assert_replaced(sandbox.entail_with(&[&SET[..], &["--stdin"]].concat(), &newer));
    let rollback = ["credential", "rollback", "acme", "openai"];
    sandbox
        .entail(&rollback)
        .ok()
        .prints("version 2 (••••")
        .prints("has its previous secret again");
    assert_eq!(sandbox.revealed_key(), key);
    assert_replaced(sandbox.entail_with(&["credential", "rotate", "acme", "openai"], &newer));

    let json = sandbox
        .entail_with(
            &[&SET[..], &["--stdin", "--json"]].concat(),
            &sandbox.canary(),
        )
        .ok()
        .json();
    assert_eq!(json["replaced"]["version"], 3);
    assert_eq!(json["replaced"]["used_by"], 2);
    let masked = json["replaced"]["masked"]["api_key"].as_str().unwrap();
    assert_eq!(masked.chars().count(), 8);
    assert!(json["retired_until_ms"].is_u64());
    // With `--grace 0`, the old secret is destroyed at once.
    let at_once = [&SET[..], &["--stdin", "--grace", "0"]].concat();
    sandbox
        .entail_with(&at_once, &sandbox.canary())
        .ok()
        .prints("is destroyed");
}

#[test]
fn a_removed_credential_can_be_restored_for_a_while() {
    let (sandbox, key) = Sandbox::with_acme();
    let id = ["acme", "openai"];
    let with = |command: &str, more: &[&str]| {
        sandbox.entail(&[&["credential", command], &id[..], more].concat())
    };
    with("set", &["--models", "gpt-*,o*"]).ok();
    with("remove", &[])
        .ok()
        .prints("is kept until")
        .prints("entail credential restore acme openai");
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(10);
    sandbox
        .entail(&["credential", "list", "acme"])
        .ok()
        .prints("can be restored until");
    // The store still counts and reseals its secret.
    sandbox.entail(&["verify"]).ok().prints("1 secret");
    sandbox.entail(&["key", "rotate", "identity"]).ok();
    with("restore", &[]).ok().prints("is restored");
    let models = with("show", &["--json"]).ok().json()["models"].clone();
    assert_eq!(models, serde_json::json!(["gpt-*", "o*"]));
    with("set", &["--all-models"]).ok();
    assert_eq!(sandbox.revealed_key(), key);
    with("restore", &[]).fails(19).prints("has a credential");

    // Another credential has taken its name and is not overwritten.
    with("remove", &[]).ok();
    let other = sandbox.canary();
    sandbox.entail_with(&SET, &other).ok();
    with("restore", &[]).fails(19);
    assert_eq!(sandbox.revealed_key(), other);
    with("remove", &["--grace", "0"])
        .ok()
        .prints("is destroyed");
    with("restore", &[]).ok();
    with("set", &["--all-models"]).ok();
    assert_eq!(sandbox.revealed_key(), key);
    with("remove", &["--grace", "0"]).ok();
    with("restore", &[])
        .fails(19)
        .prints("no removed credential");
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn a_second_credential_does_not_take_precedence_because_of_its_name() {
    let (sandbox, key) = Sandbox::with_acme();
    let backup = [&SET[..], &["--name", "backup"]].concat();
    sandbox
        .entail_with(&backup, &sandbox.canary())
        .ok()
        .prints("requests of acme for openai still get default");
    assert_eq!(sandbox.revealed_key(), key);
    let third = [&SET[..], &["--name", "a", "--json"]].concat();
    let json = sandbox.entail_with(&third, &sandbox.canary()).ok().json();
    assert_eq!(json["serves"], "default");
    let listed = sandbox
        .entail(&["credential", "list", "acme", "--json"])
        .ok()
        .json();
    let priorities: Vec<u64> = listed["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|credential| credential["priority"].as_u64().unwrap())
        .collect();
    assert_eq!(priorities, [0, 1, 2]);
    // An explicit priority puts it first.
    let first = [&SET[..], &["--name", "b", "--priority", "0"]].concat();
    let newest = sandbox.canary();
    sandbox
        .entail_with(&first, &newest)
        .ok()
        .prints("requests of acme for openai now get b");
    assert_eq!(sandbox.revealed_key(), newest);
}

#[test]
fn a_dry_run_that_would_widen_access_exits_with_20() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["inherit", "acme/agents", "openai", "--dry-run"])
        .fails(20)
        .prints("widened");
    sandbox
        .entail(&["inherit", "acme/agents", "openai", "--dry-run", "--json"])
        .fails(20);
    sandbox
        .entail(&["inherit", "acme/evals", "openai", "--off", "--dry-run"])
        .ok()
        .prints("narrowed");
    let set = ["credential", "set", "acme", "xai", "--dry-run"];
    sandbox.entail_with(&set, &sandbox.canary()).fails(20);
    let share = [&SET[..], &["--share", "none"]].concat();
    sandbox.entail(&share).ok();
    let widen = [&SET[..], &["--share", "all", "--dry-run"]].concat();
    sandbox.entail(&widen).fails(20);
}

#[test]
fn replacing_a_secret_does_not_ask_for_the_passphrase_of_the_identity() {
    let sandbox = Sandbox::new();
    let passphrase = sandbox.file("passphrase", "a long passphrase");
    let file = ["--passphrase-file", &passphrase];
    sandbox
        .entail(&[&["init", "acme", "--passphrase"], &file[..]].concat())
        .ok();
    sandbox.entail_with(&SET, &sandbox.canary()).ok();
    let newer = sandbox.canary();
    let ran = sandbox
        .entail_with(&[&SET[..], &["--stdin"]].concat(), &newer)
        .ok()
        .prints("version 1 is kept until");
    assert!(!ran.stdout.contains('•'), "{}", ran.stdout);
}
