//! The codes of a policy have a separate namespace: none of them is mistaken for a grant, a
//! failure, or an error of the program.

use entail::policy::PolicyDigest;
use serde_json::{Value, json};

use crate::components::{Answer, Details, Finding, Kind, Scripted};
use crate::sandbox::Sandbox;

const BUILT_IN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest/default/default-policy.wasm"
);

/// Codes that have another meaning in the output of the program.
const AMBIGUOUS: [&str; 12] = [
    "not-found",
    "own",
    "from",
    "granted",
    "failed",
    "refused",
    "tampered",
    "error",
    "ok",
    "usage",
    "no-credential",
    "not-opted-in",
];

/// `acme` as in the other tests, with this policy. Its trial call succeeds.
fn with_policy(policy: Scripted, over: Option<&str>) -> Sandbox {
    let (sandbox, _) = Sandbox::with_acme();
    let policy = Scripted {
        is_well_behaved_on_trial: true,
        ..policy
    };
    let file = sandbox.file("policy.wasm", policy.component());
    let mut install = vec!["policy", "install", &file, "--json"];
    install.extend(over.iter().flat_map(|below| ["--over", below]));
    let installed = sandbox.entail(&install).ok().json();
    let digest = installed["component"].as_str().unwrap();
    sandbox.entail(&["policy", "activate", "acme", digest]).ok();
    sandbox
}

fn openai(status: &Value, scope: &str) -> Value {
    let rows = status["status"].as_array().unwrap();
    let row = rows.iter().find(|row| row["scope"] == scope);
    let row = row.unwrap_or_else(|| panic!("{scope} is missing in {status}"));
    let cells = row["providers"].as_array().unwrap();
    let cell = cells.iter().find(|cell| cell["provider"] == "openai");
    cell.unwrap().clone()
}

#[test]
fn a_refusal_is_shown_as_a_refusal_with_any_code() {
    for code in AMBIGUOUS {
        let sandbox = with_policy(Scripted::refusing(code, "closed for now"), None);
        let expected = match code {
            // These two are expected without a prefix, since they need no attention.
            "no-credential" | "not-opted-in" => code.to_owned(),
            code => format!("refused: {code}"),
        };
        let status = sandbox.entail(&["status"]).ok().stdout;
        for scope in ["acme", "acme/agents", "acme/evals"] {
            let row = status.lines().find_map(|line| line.strip_prefix(scope));
            let row = row.unwrap_or_else(|| panic!("{scope} is missing:\n{status}"));
            assert!(row.contains(&expected), "{code}: {row}");
        }
        let status = sandbox.entail(&["status", "--json"]).ok().json();
        for scope in ["acme", "acme/agents", "acme/evals"] {
            let cell = openai(&status, scope);
            assert_eq!(cell["granted"], false, "{code}");
            assert_eq!(cell["code"], "refused", "{code}");
            assert_eq!(cell["refusal"], code);
        }
        let resolve = ["resolve", "acme", "openai"];
        sandbox.entail(&resolve).fails(10).prints("closed for now");
        for command in [
            &resolve[..],
            &["run", "acme", "--provider", "openai", "--", "true"],
            &["export-env", "acme", "--provider", "openai"],
        ] {
            let ran = sandbox.entail(&[&["--json"], command].concat()).fails(10);
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            assert_eq!(error["error"]["code"], "refused", "{command:?}");
            assert_eq!(error["error"]["refusal"], code, "{command:?}");
        }
        sandbox
            .entail(&["explain", "acme", "openai"])
            .ok()
            .prints(&format!("refused: closed for now ({code})"));
        sandbox.entail(&["doctor"]).ok();
    }
}

#[test]
fn a_comparison_shows_a_refusal_as_a_refusal_with_any_code() {
    for code in AMBIGUOUS {
        let sandbox = with_policy(Scripted::refusing(code, ""), None);
        sandbox.entail(&["resolve", "acme", "openai"]).fails(10);
        let expected = format!("refused: {code}");
        let diff = ["policy", "diff", BUILT_IN];
        sandbox.entail(&diff).fails(20).prints(&expected);
        let replay = ["policy", "replay", BUILT_IN];
        sandbox.entail(&replay).fails(20).prints(&expected);
        let replayed = |outcome: &str| {
            let filter = ["--outcome", outcome, "--json"];
            let ran = sandbox.entail(&[&replay[..], &filter].concat());
            serde_json::from_str::<Value>(&ran.stdout).unwrap()["counts"]["widened"].clone()
        };
        assert_eq!(replayed("refused"), 1, "{code}");
        assert_eq!(replayed("granted"), 0, "{code}");
        assert_eq!(replayed("failed"), 0, "{code}");
        let file = sandbox.path("policy.wasm");
        let digest = PolicyDigest::of(&std::fs::read(file).unwrap()).to_string();
        sandbox.entail(&["policy", "rollback", "acme"]).ok();
        sandbox.entail(&["policy", "shadow", "acme", &digest]).ok();
        sandbox.entail(&["resolve", "acme", "openai"]).ok();
        sandbox
            .entail(&["policy", "shadow", "acme"])
            .ok()
            .prints(&expected);
    }
}

#[test]
fn a_credential_is_shown_as_a_dash_only_where_it_is_missing() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.entail(&["init", "other"]).ok();
    let status = sandbox.entail(&["status"]).ok();
    let other = status.stdout.lines().find(|line| line.starts_with("other"));
    assert_eq!(other, Some("other        –"), "{}", status.stdout);
    // The credential is not shared with the project, and the code says so.
    let unshared = ["credential", "set", "acme", "openai", "--keep-secret"];
    let unshared = [&unshared[..], &["--share", "none"]].concat();
    sandbox.entail(&unshared).ok();
    sandbox
        .entail(&["status"])
        .ok()
        .prints("acme/evals   no-credential");
}

/// Texts that are not valid codes.
fn invalid_codes() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "Expired",
        "not found",
        "not_found",
        "not.found",
        "verweigert-für-heute",
        "expired\n",
        "expired\u{202e}",
        "\u{1b}[32mgranted",
    ]
    .map(str::to_owned)
    .into();
    texts.push("a".repeat(65));
    texts
}

fn refusing(kind: Kind, code: &str) -> Scripted {
    Scripted {
        kind,
        is_well_behaved_on_trial: true,
        ..Scripted::refusing(code, "")
    }
}

fn finding(kind: Kind, code: &str) -> Scripted {
    let mut policy = refusing(kind, "expired");
    if let Answer::Refused { details, .. } = &mut policy.answer {
        *details = Details {
            trail: vec![Finding {
                credential: "1".to_owned(),
                code: code.to_owned(),
                attributes: Vec::new(),
            }],
            attributes: Vec::new(),
        };
    }
    policy
}

#[test]
fn an_invalid_code_makes_a_decision_malformed() {
    let sandbox = Sandbox::new();
    let facts = json!({
        "request": {"provider": "openai", "now_ms": 1},
        "chain": [{"path": "acme", "credentials": [{"id": "1", "name": "default"}]}],
    });
    let facts = sandbox.file("facts.jsonl", facts.to_string());
    let decide = |policy: Scripted| {
        let file = sandbox.file("policy.wasm", policy.component());
        sandbox.entail(&["policy", "decide", "--policy", &file, &facts])
    };
    for kind in [Kind::Policy, Kind::First] {
        for code in invalid_codes() {
            for policy in [refusing(kind, &code), finding(kind, &code)] {
                decide(policy)
                    .fails(12)
                    .prints("the policy's result is malformed")
                    .prints("is not a code: a code has 1 to 64 characters of a-z, 0-9 and -");
            }
        }
        for code in ["a", "7", "-", &"a".repeat(64)] {
            for policy in [refusing(kind, code), finding(kind, code)] {
                decide(policy).ok().prints(&format!("\"code\":\"{code}\""));
            }
        }
    }
}

#[test]
fn an_invalid_code_of_an_active_layer_is_malformed() {
    for policy in [
        refusing(Kind::Layer, "granted\r"),
        finding(Kind::Layer, "Chosen"),
    ] {
        let sandbox = with_policy(policy, Some("built-in"));
        for command in [
            &["resolve", "acme", "openai"][..],
            &["explain", "acme", "openai"],
            &["run", "acme", "--", "true"],
            &["status"],
        ] {
            let ran = sandbox.entail(&[&["--json"], command].concat()).fails(12);
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            assert_eq!(error["error"]["code"], "policy-failed", "{command:?}");
            assert!(error["error"].get("refusal").is_none(), "{command:?}");
        }
    }
    let sandbox = with_policy(refusing(Kind::Layer, "closed"), Some("built-in"));
    sandbox
        .entail(&["explain", "acme", "openai"])
        .ok()
        .prints("(closed)");
}

#[test]
fn reasons_set_by_a_policy_get_no_ineffective_remedy() {
    let (sandbox, _) = Sandbox::with_acme();
    let credential = sandbox
        .entail(&["credential", "show", "acme", "openai", "--json"])
        .ok()
        .json();
    let id = credential["id"].as_str().unwrap();
    for code in ["model-not-allowed", "model-required", "expired", "disabled"] {
        let mut policy = refusing(Kind::Policy, code);
        if let Answer::Refused { details, .. } = &mut policy.answer {
            details.trail = vec![Finding {
                credential: id.to_owned(),
                code: code.to_owned(),
                attributes: Vec::new(),
            }];
        }
        let file = sandbox.file("policy.wasm", policy.component());
        let install = ["policy", "install", &file, "--json"];
        let installed = sandbox.entail(&install).ok().json();
        let digest = installed["component"].as_str().unwrap();
        sandbox.entail(&["policy", "activate", "acme", digest]).ok();
        let refused = sandbox
            .entail(&["resolve", "acme", "openai"])
            .fails(10)
            .prints("entail explain acme openai");
        for remedy in [
            "credential set",
            "credential rotate",
            "credential enable",
            "--model",
        ] {
            assert!(
                !refused.stderr.contains(remedy),
                "{code}: {}",
                refused.stderr
            );
        }
    }
}
