//! A database that was changed by another program is refused.

use std::process::Command;

use crate::sandbox::Sandbox;

/// A home with two credentials for one provider, so that they can be swapped.
fn with_two_keys() -> Sandbox {
    let (sandbox, _) = Sandbox::with_acme();
    let other = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/agents", "openai"], &other)
        .ok();
    sandbox
}

fn assert_tampered(sandbox: &Sandbox, what: &str) {
    let ran = sandbox.entail(&["resolve", "acme/evals", "openai", "--reveal"]);
    assert_eq!(ran.code, Some(15), "{what}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("tampered"), "{what}: {}", ran.stderr);
    // Other commands do not show it either.
    let status = sandbox.entail(&["status"]);
    assert_eq!(
        status.code,
        Some(15),
        "{what}: {}{}",
        status.stdout,
        status.stderr
    );
    sandbox.entail(&["doctor"]).fails(15);
}

#[test]
fn every_change_of_the_database_is_refused_as_tampering() {
    for (what, statement) in [
        (
            "swapped blobs",
            "UPDATE blobs SET bytes = (SELECT b.bytes FROM blobs b WHERE b.digest <> blobs.digest)",
        ),
        (
            "swapped names of blobs",
            "UPDATE blobs SET digest = CASE WHEN rowid = 1 THEN zeroblob(32) ELSE digest END",
        ),
        (
            "a damaged blob",
            "UPDATE blobs SET bytes = substr(bytes, 1, length(bytes) - 1)",
        ),
        ("no blobs", "DELETE FROM blobs"),
        (
            "an edited document",
            "UPDATE documents SET payload = CAST(replace(CAST(payload AS TEXT), 'isolated', 'inherit') AS BLOB)",
        ),
        (
            "a document in another's place",
            "INSERT OR REPLACE INTO documents SELECT kind, 'acme', payload FROM documents WHERE name = 'acme/agents'",
        ),
        (
            "no organization",
            "DELETE FROM documents WHERE name = 'acme'",
        ),
        (
            "an added journal entry",
            "INSERT INTO journal SELECT 99, checkpoint, signatures, change FROM journal WHERE revision = 1",
        ),
        (
            "a journal cut short",
            "DELETE FROM journal WHERE revision > 4",
        ),
    ] {
        let sandbox = with_two_keys();
        sandbox.sql(statement);
        assert_tampered(&sandbox, what);
    }
}

#[test]
fn what_no_request_reads_is_verified_too() {
    for (what, statement) in [
        (
            "another signature",
            "UPDATE journal SET signatures = zeroblob(64) WHERE revision = 2",
        ),
        (
            "another change",
            "UPDATE journal SET change = CAST(replace(CAST(change AS TEXT), '\"principal\":\"', '\"principal\":\"0') AS BLOB)",
        ),
        (
            "another keyring",
            "UPDATE keyrings SET payload = CAST(replace(CAST(payload AS TEXT), 'first', 'other') AS BLOB)",
        ),
        (
            "a planted document",
            "INSERT INTO documents VALUES ('scope', 'acme/planted', x'7b7d')",
        ),
    ] {
        let sandbox = with_two_keys();
        sandbox.sql(statement);
        sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
        for command in ["verify", "doctor"] {
            let ran = sandbox.entail(&[command]);
            assert_eq!(ran.code, Some(15), "{command}: {what}: {}", ran.stdout);
        }
    }
}

#[test]
fn doctor_detects_rolled_back_and_dropped_documents() {
    for (what, statement) in [
        (
            "put back",
            "UPDATE documents SET payload = old.payload FROM old WHERE documents.name = old.name",
        ),
        ("dropped", "DELETE FROM documents WHERE name = 'acme/evals'"),
    ] {
        let sandbox = with_two_keys();
        let database = rusqlite::Connection::open(sandbox.database()).unwrap();
        let backup = sandbox.path("backup.db");
        database
            .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
            .unwrap();
        sandbox
            .entail(&["inherit", "acme/evals", "openai", "--off"])
            .ok();
        sandbox.entail(&["doctor"]).ok();
        database
            .execute("ATTACH ?1 AS backup", [backup.to_str().unwrap()])
            .unwrap();
        database
            .execute_batch(
                "CREATE TEMP VIEW old AS SELECT * FROM backup.documents WHERE name = 'acme/evals'",
            )
            .unwrap();
        assert_eq!(database.execute(statement, []).unwrap(), 1);
        drop(database);
        let doctor = sandbox.entail(&["doctor"]);
        assert_eq!(doctor.code, Some(15), "{what}: {}", doctor.stdout);
    }
}

#[test]
fn a_missing_database_is_not_treated_as_empty() {
    let (sandbox, _) = Sandbox::with_acme();
    std::fs::remove_file(sandbox.database()).unwrap();
    sandbox.entail(&["status"]).fails(14).prints("missing");
    assert!(!sandbox.database().exists());
    std::fs::write(sandbox.database(), "").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(sandbox.database(), private).unwrap();
    sandbox.entail(&["status"]).fails(14).prints("empty");
    sandbox.entail(&["doctor"]).fails(14);
}

#[test]
fn a_project_added_as_a_row_is_not_accepted() {
    let sandbox = with_two_keys();
    sandbox.sql(
        "INSERT INTO documents SELECT kind, 'acme/planted', payload
         FROM documents WHERE name = 'acme/evals'",
    );
    sandbox
        .entail(&["resolve", "acme/planted", "openai"])
        .fails(15)
        .prints("tampered");
    sandbox.entail(&["doctor"]).fails(15).prints("acme/planted");
    // Other projects are not affected.
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn a_secret_sealed_without_the_signer_is_not_accepted() {
    // An attacker who knows the key of the epoch and can write the database can create a valid
    // age file. Without the signer it is not accepted.
    let (sandbox, _) = Sandbox::with_acme();
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let keyring: Vec<u8> = database
        .query_row(
            "SELECT payload FROM keyrings ORDER BY number DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let keyring: serde_json::Value = serde_json::from_slice(&keyring).unwrap();
    let recipient = keyring["readers"][0]["epochs"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let forged = sandbox.path("forged.age");
    let frame = sandbox.path("frame");
    std::fs::write(&frame, "entail-secret/1\n{}\nforged").unwrap();
    let status = Command::new("age")
        .args(["--encrypt", "--recipient", recipient.trim(), "--output"])
        .arg(&forged)
        .arg(&frame)
        .status()
        .unwrap();
    assert!(status.success());
    database
        .execute(
            "UPDATE blobs SET bytes = ?1 WHERE length(bytes) > 4096",
            [std::fs::read(&forged).unwrap()],
        )
        .unwrap();
    assert_tampered(&sandbox, "a forged secret");
}

#[test]
fn keys_and_homes_that_others_can_use_are_refused() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    let (sandbox, _) = Sandbox::with_acme();
    let set = |name: &str, mode| {
        std::fs::set_permissions(sandbox.home().join(name), Permissions::from_mode(mode)).unwrap();
    };
    set("keys/identity.txt", 0o644);
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(16)
        .prints("chmod 600");
    set("keys/identity.txt", 0o600);
    set("", 0o755);
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(14)
        .prints("chmod 700");
    set("", 0o700);
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn a_list_has_a_project_whose_row_was_deleted() {
    let sandbox = with_two_keys();
    sandbox.sql("DELETE FROM documents WHERE name = 'acme/agents'");
    sandbox
        .entail(&["project", "list"])
        .ok()
        .prints("acme/agents");
    sandbox
        .entail(&["status"])
        .fails(15)
        .prints("acme/agents is missing");
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(15)
        .prints("is missing");
}

/// Changes the schema of the database without the store.
fn script(file: &std::path::Path, script: &str) {
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch(script).unwrap();
}

/// A journal that silently drops entries after a revision.
const DROPPING: &str = "
    ALTER TABLE journal RENAME TO before;
    CREATE TABLE journal (
        x BLOB AS (CASE WHEN revision > 7 THEN NULL ELSE 1 END) NOT NULL ON CONFLICT IGNORE,
        revision INTEGER NOT NULL PRIMARY KEY, checkpoint BLOB NOT NULL,
        signatures BLOB NOT NULL, change BLOB NOT NULL);
    INSERT INTO journal SELECT * FROM before; DROP TABLE before;";

#[test]
fn a_database_with_a_changed_schema_is_refused_and_the_change_named() {
    for (change, name) in [
        (DROPPING, "the table \"journal\""),
        (
            "CREATE INDEX by_name ON documents (name) WHERE name <> 'acme/evals'",
            "the index \"by_name\"",
        ),
        (
            "CREATE TRIGGER watch AFTER INSERT ON blobs BEGIN DELETE FROM blobs; END",
            "the trigger \"watch\"",
        ),
    ] {
        let sandbox = with_two_keys();
        script(&sandbox.database(), change);
        let copy = sandbox.path("copy.entail");
        for arguments in [
            &["resolve", "acme/evals", "openai"][..],
            &["status"],
            &["project", "list"],
            &["project", "add", "acme/more"],
            &["verify"],
            &["doctor"],
            &["backup", copy.to_str().unwrap()],
            &["restore", "--accept-rollback"],
        ] {
            let ran = sandbox.entail(arguments).fails(15);
            assert!(
                ran.stderr.contains(name) || ran.stdout.contains(name),
                "{arguments:?}: {}{}",
                ran.stdout,
                ran.stderr
            );
        }
        assert!(!copy.exists());
    }
}

#[test]
fn a_project_with_a_hidden_child_is_not_removed() {
    let sandbox = with_two_keys();
    sandbox
        .entail(&["project", "add", "acme/evals/staging"])
        .ok();
    // Another row replaces it, so that the number of rows is unchanged.
    sandbox.sql("UPDATE documents SET name = 'acme/zz' WHERE name = 'acme/evals/staging'");
    sandbox
        .entail(&["project", "remove", "acme/evals"])
        .fails(19)
        .prints("acme/evals/staging");
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn junk_under_the_digest_of_a_policy_is_refused_when_it_is_installed() {
    let (sandbox, _) = Sandbox::with_acme();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest/balance/balance.wasm"
    );
    let install = || sandbox.entail(&["policy", "install", file]);
    let digest = entail::store::Digest::of(&std::fs::read(file).unwrap());
    let junk = format!("INSERT INTO blobs VALUES (x'{digest}', x'00')");
    let replace = format!("UPDATE blobs SET bytes = x'00' WHERE digest = x'{digest}'");
    let remove = format!("DELETE FROM blobs WHERE digest = x'{digest}'");
    // Before the first installation, and before another.
    for planted in [junk, replace] {
        sandbox.sql(&planted);
        install().fails(15).prints(&digest.to_string());
        sandbox.entail(&["verify"]).fails(15);
        sandbox.sql(&remove);
        install().ok();
        sandbox.entail(&["verify"]).ok();
    }
}

#[test]
fn no_identity_is_destroyed_while_a_secret_is_hidden() {
    let sandbox = with_two_keys();
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    // The row of a scope is taken out, and another put in, so that the number of rows is right.
    database
        .execute_batch(
            "CREATE TEMP TABLE taken AS SELECT * FROM documents WHERE name = 'acme/agents';
             DELETE FROM documents WHERE name = 'acme/agents';
             INSERT INTO documents VALUES ('component', 'junk', x'00');",
        )
        .unwrap();
    let identities = || std::fs::read_to_string(sandbox.home().join("keys/identity.txt")).unwrap();
    let before = identities();
    for arguments in [
        &["key", "reseal", "--dry-run"][..],
        &["key", "rotate", "identity"],
    ] {
        sandbox
            .entail(arguments)
            .fails(15)
            .prints("acme/agents is missing");
    }
    let old = before.lines().last().unwrap();
    assert!(identities().contains(old));
    database
        .execute_batch(
            "DELETE FROM documents WHERE name = 'junk';
             INSERT INTO documents SELECT * FROM taken;",
        )
        .unwrap();
    drop(database);
    // An interrupted rotation is named, with the command that finishes it.
    sandbox
        .entail(&["doctor"])
        .fails(1)
        .prints("entail key rotate identity");
    sandbox.entail(&["key", "rotate", "identity"]).ok();
    assert!(!identities().contains(old));
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn a_wrong_anchor_is_named_with_what_is_wrong_and_what_to_do() {
    let (sandbox, key) = Sandbox::with_acme();
    let (other, _) = Sandbox::with_acme();
    let anchor = sandbox.home().join("anchor.json");
    let own = std::fs::read_to_string(&anchor).unwrap();
    let foreign = std::fs::read_to_string(other.home().join("anchor.json")).unwrap();
    for (text, says, code) in [
        ("", "is not a valid anchor: a JSON object", 15),
        (
            &*own.replace("{\"version\":1,", "["),
            "is not a valid anchor",
            15,
        ),
        (&foreign, "is the anchor of another store", 14),
    ] {
        std::fs::write(&anchor, text).unwrap();
        for command in ["verify", "doctor", "status"] {
            let ran = sandbox.entail(&[command]).fails(code).prints(says);
            let output = format!("{}{}", ran.stdout, ran.stderr);
            assert!(output.contains("anchor.json"), "{output}");
            assert!(output.contains("put the file back, or"), "{output}");
        }
        sandbox.entail(&["restore", "--accept-rollback"]).ok();
        assert_eq!(sandbox.revealed_key(), key);
    }
}
