//! The main commands: set, inherit, run, explain, rotate, disable.

use crate::sandbox::Sandbox;

/// Runs a command that prints the last characters of the key.
fn run_key_suffix(sandbox: &Sandbox, scope: &str) -> crate::sandbox::RunOutput {
    sandbox.entail(&[
        "run",
        scope,
        "--",
        "python3",
        "-c",
        "import os; print(os.environ['OPENAI_API_KEY'][-8:])",
    ])
}

#[test]
fn a_project_that_opted_in_runs_with_the_organizations_key() {
    let (sandbox, _) = Sandbox::with_acme();
    run_key_suffix(&sandbox, "acme/evals")
        .ok()
        .prints("89abcdef");
}

#[test]
fn a_rotated_key_is_used_at_once() {
    let (sandbox, _) = Sandbox::with_acme();
    let renewed = format!("{}-renewed!", sandbox.canary());
    sandbox.watch_for(&renewed);
    sandbox
        .entail_with(&["credential", "rotate", "acme", "openai"], &renewed)
        .ok()
        .prints("version 2");
    run_key_suffix(&sandbox, "acme/evals")
        .ok()
        .prints("renewed!");
}

#[test]
fn a_project_that_stops_inheriting_is_refused_with_the_reason() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["inherit", "acme/evals", "openai", "--off"])
        .ok();
    run_key_suffix(&sandbox, "acme/evals")
        .fails(10)
        .prints("has not opted in")
        .prints("entail inherit acme/evals openai");
    sandbox
        .entail(&["run", "acme/evals", "--provider", "openai", "--", "true"])
        .fails(10)
        .prints("entail inherit acme/evals openai");
}

#[test]
fn a_projects_own_key_is_preferred_and_never_falls_back_to_the_parents() {
    let (sandbox, organizations) = Sandbox::with_acme();
    let own = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/evals", "openai"], &own)
        .ok();
    let reveal = ["resolve", "acme/evals", "openai", "--reveal", "--json"];
    assert_eq!(
        sandbox.lease(&reveal).ok().json()["secrets"]["api_key"],
        *own
    );

    sandbox
        .entail(&["credential", "disable", "acme/evals", "openai"])
        .ok();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(10)
        .prints("disabled")
        .prints("entail credential enable acme/evals openai");
    sandbox
        .entail(&["inherit", "acme/evals", "openai", "--fall-back"])
        .ok();
    assert_eq!(
        sandbox.lease(&reveal).ok().json()["secrets"]["api_key"],
        *organizations
    );
}

#[test]
fn an_organization_can_require_its_key_but_not_opt_in_for_a_project() {
    let (sandbox, organizations) = Sandbox::with_acme();
    let own = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/evals", "openai"], &own)
        .ok();
    sandbox
        .entail(&[
            "credential",
            "set",
            "acme",
            "openai",
            "--keep-secret",
            "--mandatory",
        ])
        .ok();
    let lease = sandbox
        .lease(&["resolve", "acme/evals", "openai", "--reveal", "--json"])
        .ok();
    assert_eq!(lease.json()["secrets"]["api_key"], *organizations);
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10)
        .prints("requires its own credential")
        .prints("entail inherit acme/agents openai");
}

#[test]
fn each_refusal_names_a_command_that_resolves_it() {
    let (sandbox, _) = Sandbox::with_acme();
    let set = |options: &[&str]| {
        let arguments = ["credential", "set", "acme", "openai", "--keep-secret"];
        sandbox.entail(&[&arguments, options].concat()).ok();
    };
    let resolve = |options: &[&str]| {
        sandbox.entail(&[&["resolve", "acme/evals", "openai"], options].concat())
    };
    resolve(&[]).ok();

    set(&["--models", "gpt-*"]);
    resolve(&[])
        .fails(10)
        .prints("no model is known")
        .prints("entail model acme/evals openai MODEL");
    sandbox
        .entail(&["model", "acme/evals", "openai", "gpt-5"])
        .ok();
    resolve(&[]).ok().prints("gpt-5");
    resolve(&["--model", "o1"])
        .fails(10)
        .prints("does not allow the model")
        .prints("--models PATTERN");
    set(&["--all-models", "--share", "acme/others"]);
    resolve(&[])
        .fails(10)
        .prints("entail credential set acme/evals openai");
    set(&["--share", "acme/ev*"]);
    resolve(&[]).ok();
    resolve(&["--name", "other"])
        .fails(10)
        .prints("no credential");
    set(&["--expires", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    resolve(&[])
        .fails(10)
        .prints("expired")
        .prints("entail credential rotate acme openai");
}

#[test]
fn explain_shows_every_candidate_and_its_result() {
    let (sandbox, _) = Sandbox::with_acme();
    let backup = sandbox.canary();
    let arguments = [
        "credential",
        "set",
        "acme",
        "openai",
        "--name",
        "backup",
        "--priority",
        "1",
    ];
    sandbox.entail_with(&arguments, &backup).ok();
    let explained = sandbox.entail(&["explain", "acme/evals", "openai"]).ok();
    let tree = "acme/evals openai
├─ acme/evals  inherits if it has no credential
│  · none
└─ acme\n   • default   chosen
   • backup    alternate
granted: default of acme
";
    assert_eq!(explained.stdout, tree);
    let refused = sandbox
        .entail(&["explain", "acme/agents", "openai", "--json"])
        .ok()
        .json();
    assert_eq!(refused["decision"]["refused"]["code"], "not-opted-in");
    assert_eq!(refused["remedies"][0], "entail inherit acme/agents openai");
}

#[test]
fn status_agrees_with_resolve() {
    let (sandbox, _) = Sandbox::with_acme();
    let own = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/agents", "anthropic"], &own)
        .ok();
    let status = sandbox.entail(&["status", "--json"]).ok().json();
    for row in status["status"].as_array().unwrap() {
        let scope = row["scope"].as_str().unwrap();
        for cell in row["providers"].as_array().unwrap() {
            let provider = cell["provider"].as_str().unwrap();
            let resolved = sandbox.entail(&["resolve", scope, provider, "--json"]);
            assert_eq!(
                resolved.code == Some(0),
                cell["granted"].as_bool().unwrap(),
                "{scope} {provider}"
            );
            if resolved.code == Some(0) {
                assert_eq!(resolved.json()["holder"], cell["holder"]);
            } else {
                let error: serde_json::Value = serde_json::from_str(&resolved.stderr).unwrap();
                assert_eq!(error["error"]["code"], cell["code"]);
                assert_eq!(error["error"]["refusal"], cell["refusal"]);
            }
        }
    }
}

#[test]
fn a_project_is_removed_with_its_secrets_only_if_it_has_no_children() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["project", "add", "acme/evals/staging"])
        .ok();
    let own = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/evals/staging", "xai"], &own)
        .ok();
    sandbox
        .entail(&["project", "remove", "acme/evals"])
        .fails(19)
        .prints("acme/evals/staging");
    sandbox
        .entail(&["project", "remove", "acme/evals/staging"])
        .ok();
    sandbox.entail(&["project", "remove", "acme/evals"]).ok();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(18)
        .prints("entail project list");
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    let blobs: u32 = database
        .query_row("SELECT count(*) FROM blobs", [], |row| row.get(0))
        .unwrap();
    // The secret, and the key of the epoch.
    assert_eq!(blobs, 2);
}

#[test]
fn doctor_passes_and_dev_creates_an_organization() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["doctor"])
        .ok()
        .prints("3 scopes are verified")
        .prints("1 secret can be opened");
    let mut command = sandbox.command(&["dev"]);
    command.env("TMPDIR", sandbox.path(""));
    sandbox
        .run(command, "")
        .ok()
        .prints("granted: default of acme")
        .prints("try: entail inherit acme/agents openai");
}

#[test]
fn a_key_can_be_rotated_during_use() {
    let (sandbox, _) = Sandbox::with_acme();
    let keys: Vec<String> = (0..15).map(|_| sandbox.canary()).collect();
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            for key in &keys {
                sandbox
                    .entail_with(&["credential", "rotate", "acme", "openai"], key)
                    .ok();
            }
        });
        let mut resolved = 0;
        while !rotating.is_finished() || resolved == 0 {
            sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
            resolved += 1;
        }
    });
}

#[test]
fn concurrent_changes_of_a_store_are_all_kept() {
    let (sandbox, _) = Sandbox::with_acme();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                sandbox
                    .entail(&["project", "add", &format!("acme/p{n}")])
                    .ok()
            });
        }
    });
    let list = sandbox.entail(&["project", "list", "--json"]).ok().json();
    assert_eq!(list["scopes"].as_array().unwrap().len(), 3 + 16);
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn every_decision_is_logged_and_without_a_log_nothing_is_granted() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    let file = sandbox.home().join("decisions.jsonl");
    let log = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["scope"], "acme/evals");
    assert!(lines[0]["decision"]["granted"].is_object());
    let served = serde_json::json!({"holder": "acme", "credential": "default", "version": 1});
    assert_eq!(lines[0]["granted"], served);
    assert_eq!(
        (&lines[1]["of"], &lines[1]["result"]),
        (&1.into(), &"opened".into())
    );
    assert_eq!(lines[2]["decision"]["refused"]["code"], "not-opted-in");

    // A decision can be repeated from the log alone.
    let facts = format!("{}\n", lines[0]["facts"]);
    let again = sandbox
        .entail_with(&["policy", "decide"], &facts)
        .ok()
        .json();
    assert_eq!(again, lines[0]["decision"]);

    // An incomplete line does not affect the next record.
    std::fs::write(&file, format!("{log}{{\"at_ms\":17")).unwrap();
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
    let log = std::fs::read_to_string(&file).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().nth_back(1).unwrap()).unwrap();
    assert_eq!(last["granted"], served);

    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    sandbox
        .entail(&["resolve", "acme/evals", "openai", "--reveal"])
        .fails(17)
        .prints("nothing is granted");
    std::fs::remove_file(&file).unwrap();
}
