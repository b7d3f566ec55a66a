//! Values as people paste them: service accounts from a clipboard or a shell, lines of `.env`
//! files, JSON with a duplicate member.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// Creates a service account with a real key, or reads one and signs with it.
const GOOGLE: &str = r#"
import json, sys
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

if sys.argv[1] == "make":
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    print(json.dumps({
        "type": "service_account",
        "project_id": "p1",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "a@p1.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }, indent=2))
else:
    account = json.load(sys.stdin)
    credentials = service_account.Credentials.from_service_account_info(account)
    assert credentials.project_id == "p1"
    print("signed", len(credentials.sign_bytes(b"text")))
"#;

fn google(action: &str, input: &str) -> String {
    let python =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop/python/bin/python");
    let mut command = Command::new(python);
    command.args(["-c", GOOGLE, action]);
    let output = Sandbox::output(command, input);
    assert!(
        output.status.success(),
        "google-auth is installed by .ci/test: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_service_account_works_with_googles_client_in_every_pasted_form() {
    let (sandbox, _) = Sandbox::with_acme();
    let account = google("make", "");
    let parsed: Value = serde_json::from_str(&account).unwrap();
    let pem = parsed["private_key"].as_str().unwrap().to_owned();
    sandbox.watch_for(pem.lines().nth(3).unwrap());
    let escaped = serde_json::to_string(account.trim()).unwrap();
    let with_key = |key: String| {
        let mut account = parsed.clone();
        account["private_key"] = json!(key);
        account.to_string()
    };
    let set = [
        "credential",
        "set",
        "acme",
        "vertex-ai",
        "--stdin",
        "--grace",
        "0",
    ];
    for (form, pasted) in [
        ("as it is", account.clone()),
        (
            "from Windows",
            format!("\u{feff}{}", account.replace('\n', "\r\n")),
        ),
        ("in single quotes", format!("'{}'", account.trim())),
        ("in double quotes", format!("\"{}\"", account.trim())),
        ("as a text of JSON", escaped.clone()),
        ("escaped", escaped.trim_matches('"').to_owned()),
        ("escaped twice", serde_json::to_string(&escaped).unwrap()),
        ("in base64", BASE64_STANDARD.encode(&account)),
        (
            "in base64 of a text of JSON",
            BASE64_STANDARD.encode(&escaped),
        ),
        ("with line breaks resolved", account.replace("\\n", "\n")),
        (
            "with a key escaped twice",
            with_key(pem.replace('\n', "\\n")),
        ),
        ("with a key on one line", with_key(pem.replace('\n', " "))),
        (
            "with a key from Windows",
            with_key(pem.replace('\n', "\r\n")),
        ),
    ] {
        sandbox.entail_with(&set, &pasted).ok();
        let lease = sandbox
            .lease(&["resolve", "acme", "vertex-ai", "--reveal", "--json"])
            .ok()
            .json();
        let stored = lease["secrets"]["service_account_json"].as_str().unwrap();
        assert_eq!(google("use", stored), "signed 256\n", "{form}");
        assert_eq!(lease["parameters"]["project"], "p1", "{form}");
    }
    let half = with_key(pem[..pem.len() / 2].to_owned());
    sandbox
        .entail_with(&set, &half)
        .fails(19)
        .prints("not all of it is there");
    let twice = account.replacen('{', "{\"token_uri\": \"https://example.com\",", 1);
    sandbox.entail_with(&set, &twice).fails(19).prints("twice");
}

#[test]
fn a_line_of_an_env_file_is_refused_as_a_key() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let set = ["credential", "set", "acme", "xai"];
    for (line, expected) in [
        (format!("XAI_API_KEY={key}\n"), "a line of a .env file"),
        (format!("XAI_API_KEY=\"{key}\"\n"), "a line of a .env file"),
        (
            format!("export XAI_API_KEY='{key}'"),
            "a line of a .env file",
        ),
        (
            format!("# keys\nOTHER=1\nXAI_API_KEY={key}\n"),
            "a line of a .env file",
        ),
        (format!("\"{key}\""), "in quotes"),
        (format!("'{key}'"), "in quotes"),
    ] {
        sandbox.entail_with(&set, &line).fails(19).prints(expected);
    }
    let file = sandbox.file(".env", format!("XAI_API_KEY={key}\n"));
    sandbox
        .entail(&[&set[..], &["--from-file", &file]].concat())
        .fails(19)
        .prints("a line of a .env file");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn json_with_a_duplicate_member_is_refused_everywhere() {
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    let expected = "occurs twice";
    let twice = sandbox.file("twice.json", r#"{"rules": "forbid", "rules": ""}"#);
    let activate = ["policy", "activate", "acme", "built-in"];
    for option in ["--settings", "--limits"] {
        sandbox
            .entail(&[&activate[..], &[option, &twice]].concat())
            .fails(19)
            .prints(expected);
    }
    for facts in [
        r#"{"request": {"provider": "openai", "now_ms": 1, "attributes": {"a": "1", "a": "2"}}, "chain": []}"#,
        r#"{"request": {"provider": "openai", "now_ms": 1}, "request": {"provider": "xai", "now_ms": 1}, "chain": []}"#,
    ] {
        sandbox
            .entail_with(&["policy", "decide"], facts)
            .fails(19)
            .prints("twice");
    }
    let component = sandbox.path("policy.wasm");
    let built_in =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/default/default-policy.wasm");
    std::fs::copy(built_in, &component).unwrap();
    let component = component.to_str().unwrap();
    let vectors = sandbox.file(
        "vectors/one.json",
        r#"[{"name": "a", "facts": {"request": {"provider": "openai", "now_ms": 1}, "chain": [{"path": "acme"}]},
            "error": "other", "error": "invalid-facts"}]"#,
    );
    let directory = Path::new(&vectors).parent().unwrap().to_str().unwrap();
    sandbox
        .entail(&["policy", "test", component, "--vectors", directory])
        .fails(19)
        .prints(expected);
}

#[test]
fn a_byte_order_mark_is_skipped_in_every_text_file() {
    const MARK: &str = "\u{feff}";
    let (sandbox, _) = Sandbox::with_acme();
    let settings = sandbox.file("settings.json", format!("{MARK}{{}}"));
    for option in ["--settings", "--limits"] {
        let activate = ["policy", "activate", "acme", "built-in", option, &settings];
        sandbox.entail(&activate).ok();
    }
    let facts = r#"{"request": {"provider": "openai", "now_ms": 1}, "chain": [{"path": "acme"}]}"#;
    sandbox
        .entail_with(&["policy", "decide"], &format!("{MARK}{facts}\n"))
        .ok()
        .prints("no-credential");
    let key = sandbox.canary();
    sandbox
        .entail_with(
            &["credential", "set", "acme", "xai"],
            &format!("{MARK}{key}\n"),
        )
        .ok();
    for file in ["settings.toml", "providers.toml"] {
        let file = sandbox.home().join(file);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, format!("{MARK}{text}")).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    sandbox.entail(&["status"]).ok();
    let passphrase = sandbox.file("passphrase", format!("{MARK}a long passphrase\r\n"));
    let home = sandbox.path("other");
    let at = ["--home", home.to_str().unwrap()];
    let with = [&at[..], &["--passphrase-file", &passphrase]].concat();
    sandbox
        .entail(&[&with[..], &["init", "acme", "--passphrase"]].concat())
        .ok();
    sandbox
        .entail_with(
            &[&at[..], &["credential", "set", "acme", "xai"]].concat(),
            &key,
        )
        .ok();
    std::fs::write(&passphrase, "a long passphrase").unwrap();
    sandbox
        .entail(&[&with[..], &["resolve", "acme", "xai"]].concat())
        .ok();
    // A recovery key that an editor saved with a mark.
    let recovery = sandbox.path("recovery.txt");
    let recovery = recovery.to_str().unwrap();
    sandbox
        .entail(&["key", "add-recipient", "--recovery", recovery])
        .ok();
    let text = std::fs::read_to_string(recovery).unwrap();
    std::fs::write(recovery, format!("{MARK}{text}")).unwrap();
    let copy = sandbox.path("copy.db");
    let copy = copy.to_str().unwrap();
    sandbox.entail(&["backup", copy]).ok();
    let clean = sandbox.path("clean");
    let restore = [
        "--home",
        clean.to_str().unwrap(),
        "restore",
        copy,
        "--recovery",
        recovery,
    ];
    sandbox.entail(&restore).ok();
    std::fs::remove_file(recovery).unwrap();
}

#[test]
fn hostile_settings_take_little_memory() {
    const MEASURE: &str = "
import resource, subprocess, sys
ran = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, ran.stderr)
sys.exit(ran.returncode)
";
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    let peak = |text: &str| {
        let file = sandbox.file("settings.json", text);
        let mut command = Command::new("python3");
        command
            .args(["-c", MEASURE, env!("CARGO_BIN_EXE_entail")])
            .args([
                "policy",
                "activate",
                "acme",
                "built-in",
                "--settings",
                &file,
            ])
            .env("ENTAIL_HOME", sandbox.home());
        let ran = sandbox.run(command, "").fails(19);
        let peak: u64 = ran.stdout.split(' ').next().unwrap().parse().unwrap();
        (peak, ran)
    };
    let (baseline, _) = peak("not JSON");
    for element in ["{}", "[]", "0", "{\"\":0}"] {
        let count = 1_000_000 / (element.len() + 1);
        let list = vec![element; count].join(",");
        let (peak, ran) = peak(&format!("{{\"a\": [{list}]}}"));
        ran.prints("values");
        assert!(
            peak < baseline + 16 * 1024,
            "{element}: {peak} KiB, and {baseline}"
        );
    }
}
