//! Who made changes, how a name is erased, and what a project is told.

use serde_json::json;

use crate::foreign::python;
use crate::sandbox::Sandbox;
use crate::signers::Other;

/// The only principal in the journal.
fn id_of_owner(sandbox: &Sandbox) -> String {
    let list = sandbox.entail(&["principal", "list", "--json"]).ok().json();
    let principals = list["principals"].as_array().unwrap();
    assert_eq!(principals.len(), 1, "{list}");
    assert_eq!(principals[0]["principal"], "local:owner");
    principals[0]["id"].as_str().unwrap().to_owned()
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
        .prints("backups that exist still contain it");
    assert!(documents(&sandbox).is_empty());
    sandbox
        .entail(&["principal", "erase", &id])
        .fails(18)
        .prints("no principal has the id");
    sandbox.entail(&["verify"]).ok();
    verify_in_python(&sandbox);
    let erased = |id: &str| {
        let arguments = ["principal", "erase", id, "--json"];
        sandbox.entail(&arguments).ok().json()
    };
    sandbox.entail(&["project", "add", "acme/new"]).ok();
    let next = id_of_owner(&sandbox);
    assert_ne!(next, id);
    assert_eq!(erased(&next), json!({"erased": next}));
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
