//! Who made changes, how a name is erased, and what a project is told.

use serde_json::json;

use crate::foreign::python;
use crate::sandbox::{Sandbox, read_all};
use crate::signers::Other;

/// The only principal in the journal.
fn id_of_owner(sandbox: &Sandbox) -> String {
    let list = sandbox.entail(&["principal", "list", "--json"]).ok().json();
    let principals = list["principals"].as_array().unwrap();
    assert_eq!(principals.len(), 1, "{list}");
    assert_eq!(principals[0]["principal"], "local:owner");
    principals[0]["journal"][0].as_str().unwrap().to_owned()
}

/// The ids of the owner in the journal and in the log.
fn ids_of_owner(sandbox: &Sandbox) -> (Vec<String>, Vec<String>) {
    let list = sandbox.entail(&["principal", "list", "--json"]).ok().json();
    let ids = |place: &str| -> Vec<String> {
        let ids = list["principals"][0][place].as_array();
        let ids = ids.into_iter().flatten();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    (ids("journal"), ids("log"))
}

fn resolve(sandbox: &Sandbox) {
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

/// Who made the requests in the log.
fn logged(sandbox: &Sandbox) -> Vec<String> {
    let shown = sandbox.entail(&["audit", "show", "--json"]).ok();
    let principal = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["principal"], record["facts"]["request"]["principal"]);
        record["principal"].as_str().unwrap().to_owned()
    };
    shown.stdout.lines().map(principal).collect()
}

/// Asserts that no file of the home names the owner.
#[track_caller]
fn assert_no_trace(sandbox: &Sandbox) {
    let mut places = Vec::new();
    read_all(&sandbox.home(), &mut places);
    for (place, bytes) in places {
        for text in ["local:owner", "\"subject\":\"owner\""] {
            let found = contains(&bytes, text.as_bytes());
            assert!(!found, "{place} contains {text}");
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The names of the documents of principals.
fn documents(sandbox: &Sandbox) -> Vec<String> {
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let query = "SELECT name FROM documents WHERE kind = 'principal'";
    let mut statement = database.prepare(query).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

fn verify_in_python(sandbox: &Sandbox) {
    let verified = python("verify.py", &[&sandbox.home().display().to_string()]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_name_is_erased_and_the_next_change_gets_another_id() {
    let (sandbox, _) = Sandbox::with_acme();
    let id = id_of_owner(&sandbox);
    sandbox.entail(&["principal", "list"]).ok().prints(&id);
    sandbox
        .entail(&["principal", "erase", &id])
        .ok()
        .prints("backups that exist still contain the name");
    assert!(documents(&sandbox).is_empty());
    sandbox
        .entail(&["principal", "erase", &id])
        .fails(18)
        .prints("neither the journal nor the decision log says who");
    sandbox.entail(&["verify"]).ok();
    verify_in_python(&sandbox);
    let erased = |id: &str| {
        let arguments = ["principal", "erase", id, "--json"];
        sandbox.entail(&arguments).ok().json()
    };
    sandbox.entail(&["project", "add", "acme/new"]).ok();
    let next = id_of_owner(&sandbox);
    assert_ne!(next, id);
    assert_eq!(erased(&next), json!({"journal": [next], "log": []}));
}

#[test]
fn a_name_is_erased_from_the_journal_and_from_the_log_by_any_of_its_ids_or_its_text() {
    for by in ["its text", "its id in the journal", "its id in the log"] {
        let (sandbox, _) = Sandbox::with_acme();
        resolve(&sandbox);
        assert_eq!(logged(&sandbox), ["local:owner"]);
        let (journal, log) = ids_of_owner(&sandbox);
        assert_eq!((journal.len(), log.len()), (1, 1));
        assert_ne!(journal, log);
        sandbox
            .entail(&["principal", "list"])
            .ok()
            .prints("local:owner")
            .prints(&journal[0])
            .prints(&log[0]);
        let meant = match by {
            "its text" => "local:owner",
            "its id in the journal" => &journal[0],
            _ => &log[0],
        };
        let erase = ["principal", "erase", meant];
        sandbox
            .entail(&erase)
            .ok()
            .prints(&format!("the store no longer says who {} is", journal[0]))
            .prints(&format!("no longer says who {} is", log[0]))
            .prints("attributes of requests in it may still mention the name");
        sandbox.entail(&erase).fails(18);
        assert_no_trace(&sandbox);
        assert_eq!(ids_of_owner(&sandbox), (Vec::new(), Vec::new()));
        let unknown = format!("unknown:{}", log[0]);
        assert_eq!(logged(&sandbox), [unknown.as_str()]);
        for filter in [&unknown, &log[0]] {
            let tail = ["audit", "tail", "--principal", filter];
            sandbox.entail(&tail).ok().prints("acme/evals");
        }
        sandbox.entail(&["verify"]).ok();
        sandbox.entail(&["audit", "verify"]).ok();
        // The next request gets another id.
        resolve(&sandbox);
        assert_eq!(logged(&sandbox), [unknown.as_str(), "local:owner"]);
        let (_, new) = ids_of_owner(&sandbox);
        assert!(new.len() == 1 && new != log);
    }
}

#[test]
fn a_machine_that_may_not_change_the_store_erases_the_names_in_its_log() {
    let (sandbox, _) = Sandbox::with_acme();
    resolve(&sandbox);
    let (journal, log) = ids_of_owner(&sandbox);
    std::fs::remove_file(sandbox.home().join("keys/signer.pem")).unwrap();
    sandbox
        .entail(&["principal", "erase", "local:owner"])
        .fails(16)
        .prints(&format!("of this machine no longer says who {} is", log[0]))
        .prints("the store may still say it");
    assert_eq!(ids_of_owner(&sandbox), (journal, Vec::new()));
    assert_eq!(logged(&sandbox), [format!("unknown:{}", log[0])]);
    // That needs no store either.
    resolve(&sandbox);
    std::fs::remove_file(sandbox.database()).unwrap();
    let names = sandbox.home().join("principals.jsonl");
    assert!(!std::fs::read(&names).unwrap().is_empty());
    sandbox
        .entail(&["principal", "erase", "local:owner"])
        .fails(14)
        .prints("no longer says who");
    assert_eq!(std::fs::read(&names).unwrap(), b"");
}

#[test]
fn a_restored_backup_keeps_the_ids_of_principals() {
    let (sandbox, _) = Sandbox::with_acme();
    let id = id_of_owner(&sandbox);
    let backup = sandbox.path("backup").display().to_string();
    sandbox.entail(&["backup", &backup]).ok();
    sandbox.entail(&["project", "add", "acme/new"]).ok();
    sandbox
        .entail(&["restore", &backup, "--accept-rollback"])
        .ok();
    assert_eq!(id_of_owner(&sandbox), id);
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn a_delegated_machine_records_a_principal_below_its_scope() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = Other::new(&sandbox);
    let public_key = other.public_key.to_str().unwrap();
    let add_signer = ["key", "add-signer", public_key, "--scope", "acme/evals"];
    sandbox.entail(&add_signer).ok();
    // The document of the store is used as it is.
    let add = |name: &str| other.entail(&sandbox, &["project", "add", name]);
    add("acme/evals/one").ok();
    let id = id_of_owner(&sandbox);
    assert_eq!(documents(&sandbox), [id.as_str()]);
    other
        .entail(&sandbox, &["principal", "erase", &id])
        .fails(16)
        .prints("may change acme/evals only");
    sandbox.entail(&["principal", "erase", &id]).ok();
    add("acme/evals/two").ok();
    let new = id_of_owner(&sandbox);
    assert_eq!(documents(&sandbox), [format!("acme/evals/{new}")]);
    // The whole store uses it as well.
    sandbox.entail(&["project", "add", "acme/new"]).ok();
    assert_eq!(id_of_owner(&sandbox), new);
    sandbox.entail(&["verify"]).ok();
    verify_in_python(&sandbox);
    other.entail(&sandbox, &["principal", "erase", &new]).ok();
    assert!(documents(&sandbox).is_empty());
}

#[test]
fn a_project_is_shown_what_it_would_be_told() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let set = ["credential", "set", "acme", "openai", "--stdin"];
    let hidden = ["--name", "for-the-board", "--share", "none"];
    sandbox
        .entail_with(&[&set[..], &hidden].concat(), &key)
        .ok();
    let explain = ["explain", "acme/evals", "openai"];
    sandbox.entail(&explain).ok().prints("for-the-board");
    let as_project = [&explain[..], &["--as-project"]].concat();
    let told = sandbox.entail(&as_project).ok();
    let told = told.prints("and 1 credential of others, not shown (not-shared)");
    assert!(!told.stdout.contains("for-the-board"), "{}", told.stdout);
    let told = sandbox
        .entail(&[&as_project[..], &["--json"]].concat())
        .ok();
    assert!(!told.stdout.contains("for-the-board"), "{}", told.stdout);
    let told = told.json();
    assert_eq!(
        (&told["hidden"], &told["hidden_codes"]),
        (&json!(1), &json!(["not-shared"]))
    );
    assert_eq!(told["facts"]["request"]["principal"], "project:acme/evals");
    let all = sandbox.entail(&[&explain[..], &["--json"]].concat()).ok();
    assert_eq!(all.json()["hidden"], 0);
}
