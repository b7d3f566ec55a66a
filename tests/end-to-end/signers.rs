//! Several machines that change one store, each with a signer of its own.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use entail::store::{Author, Batch, DocumentKey, RandomId, Signer};
use serde_json::value::RawValue;

use crate::sandbox::{RunOutput, Sandbox};

/// Writes a file with mode 0600.
fn write_private(file: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut options = std::fs::File::options();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened.unwrap().write_all(bytes).unwrap();
}

/// Another home for the database of the sandbox, with a signer that is not in the keyring.
pub struct Other {
    home: PathBuf,
    pub public_key: PathBuf,
}

impl Other {
    pub fn new(sandbox: &Sandbox) -> Self {
        let home = sandbox.path("other");
        let mut directory = std::fs::DirBuilder::new();
        directory.mode(0o700).recursive(true);
        directory.create(home.join("keys")).unwrap();
        for file in ["keys/identity.txt", "keys/keyring.jsonl", "anchor.json"] {
            std::fs::copy(sandbox.home().join(file), home.join(file)).unwrap();
        }
        symlink(sandbox.database(), home.join("entail.db")).unwrap();
        let signer = Signer::generate().unwrap();
        let pem = signer.to_pem().unwrap();
        write_private(&home.join("keys/signer.pem"), pem.expose());
        let public_key = sandbox.path("signer.pub");
        std::fs::write(&public_key, signer.verifier().to_pem().unwrap()).unwrap();
        Other { home, public_key }
    }

    pub fn entail(&self, sandbox: &Sandbox, arguments: &[&str]) -> RunOutput {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &self.home);
        sandbox.run(command, "")
    }
}

#[test]
fn a_machine_writes_with_its_own_signer_until_that_is_removed() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    let add = |name: &str| other.entail(&sandbox, &["project", "add", name]);
    add("acme/one").fails(16).prints("not allowed to write");
    let add_signer = ["key", "add-signer", public_key, "--label", "other"];
    sandbox
        .entail(&[&add_signer[..], &["--dry-run"]].concat())
        .ok();
    add("acme/one").fails(16);
    sandbox.entail(&add_signer).ok();
    add("acme/one").ok();
    sandbox.entail(&["project", "list"]).ok().prints("acme/one");
    sandbox
        .entail(&["key", "remove-signer", "other"])
        .ok()
        .prints("entail key receipt FILE");
    add("acme/two").fails(16).prints("not allowed to write");
    other
        .entail(&sandbox, &["key", "rotate", "signer"])
        .fails(16)
        .prints("not allowed to write");
    for verified in [
        sandbox.entail(&["verify"]),
        other.entail(&sandbox, &["verify"]),
    ] {
        verified.ok();
    }
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_rotated_signer_is_followed_by_every_machine() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = Other::new(&sandbox);
    let kept = std::fs::read(other.home.join("keys/keyring.jsonl")).unwrap();
    for what in ["signer", "owner", "signer"] {
        sandbox.entail(&["key", "rotate", what]).ok();
        other
            .entail(&sandbox, &["resolve", "acme/evals", "openai"])
            .ok()
            .prints("granted");
    }
    let keyring = |home: &Path| std::fs::read(home.join("keys/keyring.jsonl")).unwrap();
    assert_ne!(keyring(&other.home), kept);
    assert_eq!(keyring(&other.home), keyring(&sandbox.home()));
    // The saved keyring may be an earlier one: the journal leads to the newest.
    std::fs::write(other.home.join("keys/keyring.jsonl"), kept).unwrap();
    other.entail(&sandbox, &["verify"]).ok();
}

#[test]
fn a_dry_run_of_a_change_of_signers_fails_as_the_change() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    sandbox.entail(&["key", "add-signer", public_key]).ok();
    let private_key = sandbox.home().join("keys/signer.pem");
    for (arguments, said) in [
        (&["add-signer", public_key][..], "is a signer already"),
        (&["add-signer", private_key.to_str().unwrap()], "openssl"),
        (&["remove-signer", "nobody"], "there is no signer"),
        (&["remove-signer", "first"], "entail key rotate signer"),
    ] {
        let dry_run = [&["key"], arguments, &["--dry-run"]].concat();
        let planned = sandbox.entail(&dry_run).fails(19).prints(said);
        let actual = sandbox.entail(&[&["key"], arguments].concat()).fails(19);
        assert_eq!(planned.stderr, actual.stderr);
    }
}

#[test]
fn a_delegated_machine_changes_its_projects_and_nothing_else() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&["project", "add", "acme/other"]).ok();
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    let add_signer = ["key", "add-signer", public_key, "--scope", "acme/evals"];
    sandbox
        .entail(&["key", "add-signer", public_key, "--scope", "acme/typo"])
        .fails(18)
        .prints("acme/typo");
    sandbox
        .entail(&add_signer)
        .ok()
        .prints("may change acme/evals");
    sandbox.entail(&["key", "list"]).ok().prints("acme/evals");
    let key = sandbox.canary();
    let with_key = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("ENTAIL_HOME", &other.home);
        sandbox.run(command, &key)
    };
    with_key(&["credential", "set", "acme/evals", "mistral", "--stdin"]).ok();
    with_key(&["credential", "rotate", "acme/evals", "mistral", "--stdin"]).ok();
    other
        .entail(&sandbox, &["project", "add", "acme/evals/nightly"])
        .ok();
    with_key(&["credential", "set", "acme", "mistral", "--stdin"])
        .fails(16)
        .prints("may change acme/evals only");
    for arguments in [
        &["project", "add", "acme/new"][..],
        &["inherit", "acme/other", "openai"],
        &["project", "remove", "acme/other"],
        &["credential", "remove", "acme", "openai"],
    ] {
        other
            .entail(&sandbox, arguments)
            .fails(16)
            .prints("may change acme/evals only");
    }
    other
        .entail(&sandbox, &["init", "globex"])
        .fails(16)
        .prints("the keyring is outside");
    for arguments in [&["verify"][..], &["doctor"], &["status", "--all"]] {
        sandbox.entail(arguments).ok();
        other.entail(&sandbox, arguments).ok();
    }
}

#[test]
fn heartbeats_are_required_and_sent() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["heartbeat", "send"])
        .ok()
        .prints("no heartbeats are required");
    sandbox
        .entail(&["heartbeat", "require", "10s"])
        .fails(19)
        .prints("give 1m or more");
    sandbox.entail(&["heartbeat", "require", "1h"]).ok();
    sandbox.entail(&["heartbeat", "send"]).ok();
    // A forged one is replaced by the next.
    sandbox.sql("UPDATE heartbeat SET payload = x'7b7d'");
    sandbox
        .entail(&["verify"])
        .fails(15)
        .prints("try: entail heartbeat send");
    let sent = sandbox.entail(&["heartbeat", "send", "--json"]).ok().json();
    assert_eq!(sent["fresh_for_ms"], 3_600_000);
    for (arguments, said) in [
        (&["resolve", "acme/evals", "openai"][..], "granted"),
        (&["doctor"], "a signer confirmed the state of the store"),
        (&["verify"], "ok"),
        (&["heartbeat", "require", "0"], "no heartbeats are required"),
    ] {
        sandbox.entail(arguments).ok().prints(said);
    }
}

/// Writes documents with the signer of another machine, which need not be of any use.
fn write_documents(other: &Other, documents: &[(&str, &str, &str)]) {
    let home = entail::Home::open(&other.home).unwrap();
    let keys = home.keys(entail::IdentitySource::Directory).unwrap();
    let store = home.store(keys).unwrap();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let put = documents.iter();
    let put = put.map(|(kind, name, body)| (DocumentKey::new(*kind, *name), raw(body)));
    let batch = Batch {
        put: put.collect(),
        ..Batch::default()
    };
    let change = raw("{}");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 0,
        change: &change,
        log: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let revision = store.revision().await.unwrap();
        store.commit(revision, batch, author).await.unwrap();
    });
}

#[test]
fn junk_in_a_delegated_scope_stops_nothing_elsewhere() {
    let (sandbox, key) = Sandbox::with_acme();
    sandbox.entail(&["project", "add", "acme/other"]).ok();
    sandbox.entail(&["inherit", "acme/other", "openai"]).ok();
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    let add_signer = ["key", "add-signer", public_key, "--scope", "acme/evals"];
    sandbox.entail(&add_signer).ok();
    let due = r#"{"due_ms": 1, "seen_over": null}"#;
    write_documents(
        &other,
        &[
            ("scope", "acme/evals", r#"{"junk": 1}"#),
            ("schedule", "acme/evals", due),
            ("scope", "acme/evals/No Project", "7"),
            ("schedule", "acme/evals/No Project", due),
            ("principal", "acme/evals/nobody", "[]"),
        ],
    );
    sandbox
        .entail(&["verify"])
        .fails(15)
        .prints("does not have the name of a scope");
    let own = sandbox.canary();
    let resolve = ["resolve", "acme/other", "openai", "--reveal", "--json"];
    let is_granted = || {
        let lease = sandbox.lease(&resolve).ok().json();
        assert_eq!(lease["secrets"]["api_key"], key);
    };
    for arguments in [
        &["project", "list"][..],
        &["credential", "list", "acme"],
        &["inherit", "acme/other", "--off", "--dry-run"],
        &["credential", "set", "acme/other", "mistral", "--stdin"],
        &["model", "acme", "openai", "gpt-5"],
        &["principal", "list"],
        &["key", "reseal"],
        &["key", "rotate", "identity", "--dry-run"],
        &["key", "rotate", "identity"],
        &["key", "list"],
    ] {
        sandbox.entail_with(arguments, &own).ok();
        is_granted();
    }
    // The old identity is not needed for what cannot be read.
    let identity = std::fs::read_to_string(sandbox.home().join("keys/identity.txt")).unwrap();
    assert_eq!(identity.matches("AGE-SECRET-KEY").count(), 1);
    sandbox
        .entail(&["key", "rotate", "identity"])
        .ok()
        .prints("acme/evals all credentials");
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(14)
        .prints("newer version");
    // A credential that names the secret of another scope, and one that is nowhere.
    let blobs = sandbox.entail(&["verify", "--json"]).json()["blobs"].clone();
    let named = |sql: &str| {
        let database = rusqlite::Connection::open(sandbox.database()).unwrap();
        let text: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
        text
    };
    let body = named(
        "SELECT json_extract(CAST(payload AS TEXT), '$.body') FROM documents WHERE name = 'acme' AND kind = 'scope'",
    );
    write_documents(&other, &[("scope", "acme/evals", &body)]);
    // The project can be removed, with the junk below it, and nothing of others.
    sandbox
        .entail(&["project", "remove", "acme/evals", "--yes"])
        .ok();
    is_granted();
    assert_eq!(
        sandbox.entail(&["verify", "--json"]).ok().json()["blobs"],
        blobs
    );
    write_documents(
        &other,
        &[
            ("scope", "acme/evals", r#"{"junk": 1}"#),
            ("scope", "acme/evals/no/parent", "{}"),
        ],
    );
    sandbox.entail(&["project", "list"]).ok();
    sandbox.entail(&["status", "--all"]).fails(14);
    sandbox.entail(&["verify"]).fails(15);
    sandbox
        .entail(&["key", "remove-signer", "another machine"])
        .ok();
    sandbox
        .entail(&["project", "remove", "acme/evals", "--yes"])
        .ok();
    sandbox.entail(&["verify"]).ok();
}
