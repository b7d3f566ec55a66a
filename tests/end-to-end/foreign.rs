//! A verifier in Python, written from the page on formats, agrees with `entail verify`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sandbox::Sandbox;
use crate::signers::Other;

/// How many changes of a home are compared.
const CHANGES: &str = "300";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/foreign")
        .join(name)
}

pub fn python(script_name: &str, arguments: &[&str]) -> Output {
    let python =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop/python/bin/python");
    Command::new(&python)
        // No compiled files beside the scripts.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script(script_name))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; .ci/test installs it", python.display()))
}

/// A home with two organizations, replaced and removed secrets, and rotated keys.
fn home() -> Sandbox {
    let (sandbox, _) = Sandbox::with_acme();
    for arguments in [
        &["init", "other"][..],
        &["project", "add", "acme/evals/staging"],
        &["project", "add", "acme/evals-2"],
    ] {
        sandbox.entail(arguments).ok();
    }
    for arguments in [
        &["credential", "rotate", "acme", "openai"][..],
        &["credential", "set", "acme/evals", "mistral", "--stdin"],
        &["credential", "set", "other", "openai", "--stdin"],
    ] {
        let key = sandbox.canary();
        sandbox.entail_with(arguments, &key).ok();
    }
    let recovery = sandbox.path("recovery.txt").display().to_string();
    for arguments in [
        &["credential", "remove", "acme/evals", "mistral"][..],
        &["key", "rotate", "owner"],
        &["key", "rotate", "signer"],
        &["key", "add-recipient", "--recovery", &recovery],
        &[
            "key",
            "remove-recipient",
            "recovery",
            "--organization",
            "acme",
        ],
        &["heartbeat", "require", "1h"],
    ] {
        sandbox.entail(arguments).ok();
    }
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    let add = ["key", "add-signer", public_key, "--scope", "acme/evals"];
    sandbox.entail(&add).ok();
    for arguments in [
        &["project", "add", "acme/evals/nightly"][..],
        &["inherit", "acme/evals/staging", "openai"],
        &["project", "remove", "acme/evals/nightly"],
    ] {
        other.entail(&sandbox, arguments).ok();
    }
    other
        .entail(&sandbox, &["heartbeat", "send"])
        .fails(16)
        .prints("may change acme/evals only");
    sandbox.entail(&["heartbeat", "send"]).ok();
    sandbox
}

#[test]
fn a_verifier_in_another_language_verifies_a_home_and_opens_its_secrets() {
    let sandbox = home();
    let directory = sandbox.home().display().to_string();
    let verified = sandbox.entail(&["verify", "--json"]).ok().json();
    let output = python("verify.py", &[&directory]);
    let expected = format!(
        "ok: revision {}, {} documents, {} secrets\n",
        verified["revision"], verified["documents"], verified["secrets_opened"]
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    let listed = python("verify.py", &[&directory, "--list", "scope", "acme/evals"]);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "acme/evals\nacme/evals/staging\n"
    );
}

#[test]
fn both_verifiers_find_the_same_changes() {
    let sandbox = home();
    let directory = sandbox.home().display().to_string();
    let program = env!("CARGO_BIN_EXE_entail");
    let output = python("compare.py", &[program, &directory, CHANGES, "1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("tampered"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn shares_are_combined_in_another_language() {
    let (sandbox, key) = Sandbox::with_acme();
    let file = sandbox.path("recovery.txt").display().to_string();
    let split = ["--shares", "5", "--threshold", "3"];
    let add = ["key", "add-recipient", "--recovery", &file];
    sandbox.entail(&[&add[..], &split].concat()).ok();
    let share = |number: u8| format!("{file}.{number}");
    let few = python("combine.py", &[&share(5), &share(2)]);
    assert!(!few.status.success() && few.stdout.is_empty());
    let directory = sandbox.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    for numbers in [[5, 2, 3], [1, 2, 4]] {
        let shares = numbers.map(share);
        let combined = python("combine.py", &shares.each_ref().map(String::as_str));
        assert!(combined.status.success());
        std::fs::write(directory.join("entail-identity"), combined.stdout).unwrap();
        let mut command =
            sandbox.command(&["resolve", "acme/evals", "openai", "--reveal", "--json"]);
        command.env("CREDENTIALS_DIRECTORY", &directory);
        let lease = Sandbox::output(command, "").stdout;
        let lease: serde_json::Value = serde_json::from_slice(&lease).unwrap();
        assert_eq!(lease["secrets"]["api_key"], key.as_str());
    }
}
