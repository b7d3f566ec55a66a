//! Changes can be previewed: replay of the decision log, comparison of effective access, and
//! dry runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail::policy::PolicyDigest;

use crate::components::{closed, forging};
use crate::sandbox::Sandbox;

const BUILT_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/default/default-policy.wasm"
);

const RESOLVE: [&str; 3] = ["resolve", "acme/evals", "openai"];

const BALANCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/balance/balance.wasm"
);

/// The sandbox with `acme`, and the file of a policy that refuses everything.
fn with_closed() -> (Sandbox, String) {
    let (sandbox, _) = Sandbox::with_acme();
    let file = sandbox.path("closed.wasm");
    std::fs::write(&file, closed()).unwrap();
    (sandbox, file.display().to_string())
}

fn install_and_activate(sandbox: &Sandbox, file: &str) {
    let digest = PolicyDigest::of(&std::fs::read(file).unwrap()).to_string();
    sandbox.entail(&["policy", "install", file]).ok();
    sandbox
        .entail(&["policy", "activate", "acme", &digest])
        .ok();
}

fn write(sandbox: &Sandbox, name: &str, text: &str) -> String {
    let file = sandbox.path(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn log_text(home: &Path) -> String {
    std::fs::read_to_string(home.join("decisions.jsonl")).unwrap()
}

/// The current revision of the store.
fn revision(sandbox: &Sandbox) -> u64 {
    let explanation = sandbox.entail(&["explain", "acme", "openai", "--json"]);
    explanation.ok().json()["revision"].as_u64().unwrap()
}

#[test]
fn the_same_policy_would_change_nothing() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    sandbox
        .entail(&["policy", "diff", BUILT_IN])
        .ok()
        .prints("3 requests in 3 scopes: 3 unchanged");
    sandbox
        .entail(&["policy", "replay", BUILT_IN])
        .ok()
        .prints("1 record: 1 unchanged");
}

#[test]
fn a_policy_that_refuses_more_is_reported_as_narrowing_with_the_affected_scopes() {
    let (sandbox, closed) = with_closed();
    sandbox
        .entail(&["policy", "diff", &closed])
        .ok()
        .prints("2 narrowed, 1 reason-changed, 0 unchanged");
    let diff = sandbox.entail(&["policy", "diff", &closed, "--json"]);
    let diff = diff.ok().json();
    assert_eq!(diff["policy"]["name"], "closed");
    assert_eq!(diff["counts"]["narrowed"], 2);
    let evals = diff["changes"].as_array().unwrap();
    let evals = evals.iter().find(|c| c["scope"] == "acme/evals").unwrap();
    assert_eq!(evals["provider"], "openai");
    assert_eq!(evals["any"], true);
    assert_eq!(evals["difference"], "narrowed");
    assert_eq!(evals["from"]["granted"]["credentials"][0]["holder"], "acme");
    assert_eq!(evals["to"]["refused"]["code"], "closed");

    // Other scopes are not evaluated, and nothing was recorded.
    sandbox.entail(&["init", "other"]).ok();
    let arguments = ["policy", "diff", &closed, "--organization", "other"];
    sandbox
        .entail(&arguments)
        .ok()
        .prints("0 requests in 1 scope");
    sandbox
        .entail(&["policy", "diff", &closed, "--organization", "nobody"])
        .fails(18);
    assert_eq!(log_text(&sandbox.home()), "");
}

#[test]
fn a_policy_that_grants_more_has_the_exit_code_for_widening() {
    let (sandbox, closed) = with_closed();
    install_and_activate(&sandbox, &closed);
    sandbox.entail(&RESOLVE).fails(10);
    sandbox.entail(&RESOLVE).fails(10);
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    sandbox
        .entail(&["policy", "diff", BUILT_IN])
        .fails(20)
        .prints("2 widened, 1 reason-changed, 0 unchanged");
    sandbox
        .entail(&["policy", "replay", BUILT_IN])
        .fails(20)
        .prints("3 records: 2 widened, 1 reason-changed, 0 unchanged");
    let replay = sandbox.entail(&["policy", "replay", BUILT_IN, "--json"]);
    let replay = replay.fails(20).json();
    let first = &replay["changes"][0];
    assert_eq!(first["scope"], "acme/evals");
    assert_eq!(first["difference"], "widened");
    assert_eq!(first["times"], 2);
    assert_eq!(first["from"]["refused"]["code"], "closed");
    assert_eq!(first["to"]["granted"]["credentials"][0]["name"], "default");
    // The example is a record of the log.
    let example = &first["example"];
    let place = format!(
        "\"writer\":{},\"sequence\":{},",
        example["writer"], example["sequence"]
    );
    assert!(log_text(&sandbox.home()).contains(&place), "{place}");
}

#[test]
fn replay_evaluates_only_the_selected_records() {
    let (sandbox, closed) = with_closed();
    sandbox.entail(&RESOLVE).ok();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    let replay = |arguments: &[&str]| {
        let arguments = [&["policy", "replay", &closed], arguments].concat();
        sandbox.entail(&arguments).ok()
    };
    replay(&[]).prints("2 records: 1 narrowed, 1 reason-changed, 0 unchanged");
    replay(&["--since", "1h"]).prints("2 records");
    replay(&["--until", "1h"]).prints("0 records");
    replay(&["--scope", "acme/evals"]).prints("1 record: 1 narrowed");
    replay(&["--scope", "acme/eva"]).prints("0 records");
    replay(&["--outcome", "not-opted-in"]).prints("1 record: 1 reason-changed");
    replay(&["--provider", "anthropic"]).prints("0 records");
    // A line that is not a record is reported; an unfinished last line is not.
    let log = sandbox.home().join("decisions.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{{}}\n{text}unfinished")).unwrap();
    replay(&[])
        .prints("2 records")
        .prints("1 line of the decision log cannot be read");
}

#[test]
fn settings_of_a_candidate_are_checked_first() {
    let (sandbox, closed) = with_closed();
    let settings = write(&sandbox, "settings.json", r#"{"hours": 8}"#);
    sandbox
        .entail(&["policy", "diff", &closed, "--settings", &settings])
        .ok();
    sandbox
        .entail(&["policy", "replay", &closed, "--settings", &settings])
        .ok();
    sandbox
        .entail(&["policy", "diff", BUILT_IN, "--settings", &settings])
        .fails(19)
        .prints("/hours");
    let list = write(&sandbox, "list.json", "[1]");
    sandbox
        .entail(&["policy", "diff", &closed, "--settings", &list])
        .fails(19)
        .prints("list.json");
    let text = write(&sandbox, "text.wasm", "no component");
    sandbox
        .entail(&["policy", "diff", &text])
        .fails(12)
        .prints("entail policy check");
}

#[test]
fn a_dry_run_shows_the_blast_radius_and_changes_nothing() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&["project", "add", "acme/evals/nightly"])
        .ok();
    sandbox
        .entail(&["inherit", "acme/evals/nightly", "openai"])
        .ok();
    let before = revision(&sandbox);
    let planned = |arguments: &[&str], input: &str| {
        let arguments = [arguments, &["--dry-run"]].concat();
        sandbox.entail_with(&arguments, input)
    };
    planned(&["inherit", "acme/agents", "openai"], "")
        .fails(20)
        .prints("1 widened")
        .prints("nothing was changed");
    planned(&["inherit", "acme/evals", "openai", "--off"], "")
        .ok()
        .prints("acme/evals/nightly")
        .prints("2 narrowed");
    planned(&["model", "acme", "openai", "gpt-5"], "")
        .ok()
        .prints("default of acme, for gpt-5");
    planned(&["project", "add", "acme/new"], "")
        .ok()
        .prints("no such scope");
    planned(&["project", "remove", "acme/agents"], "")
        .ok()
        .prints("acme/agents");
    planned(&["credential", "disable", "acme", "openai"], "")
        .ok()
        .prints("disabled");
    planned(&["credential", "remove", "acme", "openai"], "")
        .ok()
        .prints("no-credential");
    let narrower = ["credential", "set", "acme", "openai", "--keep-secret"];
    planned(&[&narrower[..], &["--models", "gpt-*"]].concat(), "")
        .ok()
        .prints("model-required");
    // The given secret is not kept anywhere.
    let own = sandbox.canary();
    planned(&["credential", "set", "acme/agents", "openai"], &own)
        .fails(20)
        .prints("default of acme/agents")
        .prints("widened");
    planned(&["credential", "rotate", "acme", "openai"], &own)
        .ok()
        .prints("4 requests in 4 scopes: 4 unchanged");
    let json = planned(&["inherit", "acme/agents", "openai", "--json"], "");
    let json = json.fails(20).json();
    assert_eq!(json["dry_run"], true);
    assert_eq!(json["changes"][0]["scope"], "acme/agents");
    assert_eq!(revision(&sandbox), before);
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    sandbox.entail(&RESOLVE).ok();
}

#[test]
fn a_dry_run_fails_if_the_change_would_fail() {
    let (sandbox, _) = Sandbox::with_acme();
    for (arguments, code) in [
        (&["project", "add", "acme/evals"][..], 19),
        (&["project", "add", "acme/nowhere/below"], 18),
        (&["inherit", "acme/nowhere", "openai"], 18),
        (&["credential", "disable", "acme", "anthropic"], 18),
        (&["credential", "rollback", "acme", "openai"], 19),
        (&["model", "acme", "nobody", "gpt-5"], 18),
        (&["policy", "activate", "acme/evals", "built-in"], 19),
        (&["policy", "rollback", "acme"], 19),
        (&["policy", "shadow", "nobody", "--off"], 18),
        (&["policy", "remove", "nobody"], 19),
        (&["init", "acme"], 19),
    ] {
        let planned = [arguments, &["--dry-run"]].concat();
        let planned = sandbox.entail(&planned).fails(code);
        let actual = sandbox.entail(arguments).fails(code);
        assert_eq!(planned.stderr, actual.stderr);
    }
}

#[test]
fn a_dry_run_fails_if_the_store_is_not_writable() {
    let (sandbox, closed) = with_closed();
    install_and_activate(&sandbox, &closed);
    let digest = PolicyDigest::of(&std::fs::read(&closed).unwrap()).to_string();
    sandbox.entail(&["policy", "rollback", "acme"]).ok();
    std::fs::remove_file(sandbox.home().join("keys/signer.pem")).unwrap();
    let recovery = sandbox.path("recovery.txt").display().to_string();
    for arguments in [
        &["project", "add", "acme/new"][..],
        &["policy", "install", &closed],
        &["policy", "activate", "acme", &digest],
        &["policy", "rollback", "acme"],
        &["policy", "shadow", "acme", &digest],
        &["policy", "remove", &digest],
        &["key", "rotate", "signer"],
        &["key", "rotate", "identity"],
        &["key", "add-recipient", "--recovery", &recovery],
        &["restore", "--accept-rollback"],
    ] {
        let planned = [arguments, &["--dry-run"]].concat();
        sandbox.entail(&planned).fails(16);
        sandbox.entail(arguments).fails(16);
    }
}

#[test]
fn a_dry_run_of_init_fails_where_init_would_fail() {
    let sandbox = Sandbox::new();
    let at = |home: &Path, more: &[&str]| {
        let mut command = sandbox.command(&[&["init", "acme"], more].concat());
        command.env("ENTAIL_HOME", home);
        sandbox.run(command, "")
    };
    let file = sandbox.path("file");
    std::fs::write(&file, "").unwrap();
    let open = sandbox.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    for home in [file.clone(), file.join("home"), open.join("home")] {
        at(&home, &["--dry-run"]).fails(14);
        at(&home, &[]).fails(14);
    }
    let home = sandbox.path("far/from/here");
    let planned = at(&home, &["--dry-run"]).ok();
    planned.prints("would create the home");
    assert!(!sandbox.path("far").exists());
    at(&home, &[]).ok();
}

#[test]
fn dry_runs_of_policies_admit_them_and_change_nothing() {
    let (sandbox, closed) = with_closed();
    let text = write(&sandbox, "text.wasm", "no component");
    let planned = |arguments: &[&str]| sandbox.entail(&[arguments, &["--dry-run"]].concat());
    let before = revision(&sandbox);
    planned(&["policy", "install", &closed])
        .ok()
        .prints("would install closed 1.0.0")
        .prints("nothing was changed");
    planned(&["policy", "install", &text])
        .fails(12)
        .prints("not a WebAssembly component");
    let json = planned(&["policy", "install", &closed, "--json"])
        .ok()
        .json();
    assert_eq!(json["dry_run"], true);
    let activate = ["policy", "activate", "acme", "built-in", "--json"];
    let json = planned(&activate).ok().json();
    assert_eq!(json["dry_run"], true);
    assert_eq!(json["policy"]["name"], "default");
    assert_eq!(revision(&sandbox), before);

    install_and_activate(&sandbox, &closed);
    let digest = PolicyDigest::of(&std::fs::read(&closed).unwrap()).to_string();
    planned(&["policy", "remove", &digest])
        .fails(19)
        .prints("is the active policy of acme");
    sandbox.entail(&["policy", "rollback", "acme"]).ok();
    let before = revision(&sandbox);
    planned(&["policy", "shadow", "acme", &digest])
        .ok()
        .prints("would run beside the active policy of acme")
        .prints("nothing was changed");
    let settings = write(&sandbox, "settings.json", r#"{"hours": 5}"#);
    let shadow = [
        "policy",
        "shadow",
        "acme",
        "built-in",
        "--settings",
        &settings,
    ];
    planned(&shadow).fails(19).prints("/hours");
    planned(&["policy", "shadow", "nobody", &digest]).fails(18);
    planned(&["policy", "remove", &digest])
        .ok()
        .prints("would remove closed 1.0.0")
        .prints("acme could no longer roll back to it");
    planned(&["init", "beta"]).ok().prints("in 1 scope");
    assert_eq!(revision(&sandbox), before);
    sandbox.entail(&["policy", "show", &digest]).ok();
}

#[test]
fn a_failing_policy_is_not_a_refusal() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&RESOLVE).ok();
    let file = sandbox.path("forging.wasm");
    std::fs::write(&file, forging()).unwrap();
    let file = file.to_str().unwrap();
    let digest = PolicyDigest::of(&forging()).to_string();
    sandbox
        .entail(&["policy", "diff", file])
        .fails(12)
        .prints("3 now-failing, 0 unchanged");
    sandbox
        .entail(&["policy", "replay", file])
        .fails(12)
        .prints("1 now-failing");
    sandbox.entail(&["policy", "install", file]).ok();
    let activate = ["policy", "activate", "acme", &digest];
    let planned = sandbox.entail(&[&activate[..], &["--dry-run", "--json"]].concat());
    assert_eq!(planned.fails(12).json()["counts"]["now_failing"], 3);
    sandbox.entail(&["doctor"]).ok();
    sandbox.entail(&activate).ok();
    sandbox
        .entail(&RESOLVE)
        .fails(13)
        .prints("entail policy rollback");
    sandbox
        .entail(&["doctor"])
        .fails(13)
        .prints("entail policy rollback acme");
    // Activating the same policy again does not change which one a rollback returns to.
    sandbox.entail(&activate).ok();
    sandbox.entail(&["policy", "rollback", "acme"]).ok();
    sandbox.entail(&RESOLVE).ok();
}

#[test]
fn policies_are_named_as_the_list_shows_them() {
    let (sandbox, _) = Sandbox::with_acme();
    for name in ["built-in", "default"] {
        let policy = sandbox.entail(&["policy", "show", name]).ok();
        policy.prints("default 0.1.0, built-in");
    }
    sandbox
        .entail(&["policy", "remove", "built-in"])
        .fails(19)
        .prints("cannot be removed");
    sandbox
        .entail(&["policy", "activate", "acme", BALANCE])
        .fails(19)
        .prints("try: entail policy install");
    sandbox.entail(&["policy", "install", BALANCE]).ok();
    sandbox
        .entail(&["policy", "activate", "acme", "balance"])
        .ok();
    let other = ["credential", "set", "acme", "openai", "--name", "other"];
    sandbox.entail_with(&other, &sandbox.canary()).ok();
    sandbox
        .entail(&["explain", "acme/evals", "openai"])
        .ok()
        .prints("balanced-by: principal");
    let nothing = write(&sandbox, "nothing.json", r#"{"deadline_ms": 0}"#);
    sandbox
        .entail(&["policy", "install", BALANCE, "--limits", &nothing])
        .fails(12)
        .prints("below the minimum for policies")
        .prints(r#"{"deadline_ms":1}"#);
    let text = write(&sandbox, "text.wasm", "no component");
    sandbox
        .entail(&["policy", "test", &text])
        .fails(12)
        .prints("not a WebAssembly component");
    sandbox.entail(&["policy", "test", BALANCE]).ok();
}

#[test]
fn a_replay_of_an_empty_log_is_reported() {
    let (sandbox, closed) = with_closed();
    sandbox.entail(&RESOLVE).ok();
    sandbox
        .entail(&["policy", "replay", &closed, "--provider", "anthropic"])
        .ok()
        .prints("no record of the decision log matches");
    let reversed = ["--since", "1d", "--until", "2d"];
    sandbox
        .entail(&[&["policy", "replay", &closed], &reversed[..]].concat())
        .fails(19)
        .prints("--since is after --until");
}

#[test]
fn commands_that_change_nothing_have_no_dry_run() {
    let (sandbox, _) = Sandbox::with_acme();
    for arguments in [
        &["dev"][..],
        &["verify"],
        &["policy", "list"],
        &["policy", "shadow", "acme"],
        &["project", "list"],
        &["credential", "list", "acme"],
        &["key", "list"],
    ] {
        sandbox
            .entail(&[arguments, &["--dry-run"]].concat())
            .fails(2)
            .prints("--dry-run");
    }
}

#[test]
fn diff_and_dry_run_take_attributes_and_report_when_recorded_ones_matter() {
    let (sandbox, _) = Sandbox::with_acme();
    let other = ["credential", "set", "acme", "openai", "--name", "other"];
    sandbox.entail_with(&other, &sandbox.canary()).ok();
    install_and_activate(&sandbox, BALANCE);
    let diff = ["policy", "diff", BUILT_IN];
    // No attribute was given yet.
    let stdout = sandbox.entail(&diff).stdout;
    assert!(!stdout.contains("--attribute"), "{stdout}");
    // Of eight sessions, some get one credential and some the other.
    let sessions: Vec<String> = (1..=8).map(|n| format!("session={n}")).collect();
    for session in &sessions {
        sandbox
            .entail(&[&RESOLVE[..], &["--attribute", session]].concat())
            .ok();
    }
    let coverage = |arguments: &[&str]| {
        let json = sandbox.entail(&[arguments, &["--json"]].concat()).json();
        json["coverage"].clone()
    };
    let report = coverage(&diff);
    assert_eq!(report["with_attributes"], 8);
    let matter = report["attributes_matter"].as_u64().unwrap();
    assert!((1..8).contains(&matter), "{report}");
    sandbox
        .entail(&diff)
        .prints(&format!(
            "8 requests of the log have attributes, and {matter} of them are decided in another \
             way without"
        ))
        .prints("compare others with --attribute NAME=VALUE");
    let with_attribute = [&diff[..], &["--attribute", "session=99"]].concat();
    assert_eq!(coverage(&with_attribute)["attributes"]["session"], "99");
    sandbox
        .entail(&with_attribute)
        .prints("for the models that scopes name, with and without session=99");
    // A dry run of a change takes attributes, too; the change itself refuses them.
    let change = ["credential", "disable", "acme", "openai", "--name", "other"];
    let dry = [&change[..], &["--dry-run", "--attribute", "session=99"]].concat();
    assert_eq!(coverage(&dry)["attributes"]["session"], "99");
    sandbox
        .entail(&[&change[..], &["--attribute", "session=99"]].concat())
        .fails(2)
        .prints("--dry-run");
    sandbox
        .entail(&[&diff[..], &["--attribute", "entail:kept=x"]].concat())
        .fails(19)
        .prints("reserved for the host");
    sandbox
        .entail(&[&RESOLVE[..], &["--attribute", "entail:mode=x"]].concat())
        .fails(19)
        .prints("reserved for the host");
}

#[test]
fn all_problems_of_settings_are_listed_at_once_with_their_paths() {
    let (sandbox, _) = Sandbox::with_acme();
    let settings = write(
        &sandbox,
        "settings.json",
        r#"{"by": "", "other": 1, "weights": [{"scope": "acme", "credential": "default"},
            {"scope": "ACME", "credential": "default", "weight": 1000001}]}"#,
    );
    sandbox.entail(&["policy", "install", BALANCE]).ok();
    let diff = ["policy", "diff", BALANCE, "--settings", &settings];
    let activate = [
        "policy",
        "activate",
        "acme",
        "balance",
        "--settings",
        &settings,
    ];
    for command in [&diff[..], &activate] {
        let ran = sandbox.entail(command).fails(19);
        let ran = ran.prints("does not take these settings: there are 5 problems");
        for line in [
            "  - /other: is not known; there are: by, weights",
            "  - /by: ",
            "  - /weights/0: ",
            "  - /weights/1/scope: ",
            "  - /weights/1/weight: ",
        ] {
            assert!(ran.stderr.contains(line), "{line:?}: {}", ran.stderr);
        }
        let json = sandbox.entail(&[command, &["--json"]].concat()).fails(19);
        let json: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(json["error"]["details"].as_array().unwrap().len(), 5);
    }
    // Problems that the policy finds are listed with those that its schema finds.
    let settings = write(
        &sandbox,
        "settings.json",
        r#"{"by": "", "weights": [{"scope": "acme", "credential": "default", "weight": 1},
            {"scope": "acme", "credential": "default", "weight": 2}]}"#,
    );
    sandbox
        .entail(&["policy", "diff", BALANCE, "--settings", &settings])
        .fails(19)
        .prints("  - /by: ")
        .prints("  - /weights/1: must be of another credential than /weights/0");
}

#[test]
fn replay_hides_changed_reasons_unless_requested() {
    let (sandbox, closed) = with_closed();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    let replay = ["policy", "replay", &closed];
    let ran = sandbox.entail(&replay).ok();
    let ran = ran
        .prints("1 record: 1 reason-changed")
        .prints("--reason-changed");
    assert!(!ran.stdout.contains("not-opted-in"), "{}", ran.stdout);
    let with_reasons = [&replay[..], &["--reason-changed"]].concat();
    sandbox.entail(&with_reasons).ok().prints("not-opted-in");
    let changes = |arguments: &[&str]| {
        let json = sandbox.entail(&[arguments, &["--json"]].concat()).json();
        assert_eq!(json["counts"]["reason_changed"], 1);
        json["changes"].as_array().unwrap().len()
    };
    assert_eq!((changes(&replay), changes(&with_reasons)), (0, 1));
}
