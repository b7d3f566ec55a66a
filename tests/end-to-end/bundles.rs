//! Bundles: files that resolve without a home.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{RunOutput, Sandbox, encodings};

/// A home, and an identity that a bundle is exported to.
struct Exported {
    sandbox: Sandbox,
    key: String,
    identity: String,
    recipient: String,
    bundle: String,
    signer: String,
}

/// An age identity in a file, and its recipient.
fn identity(sandbox: &Sandbox, name: &str) -> (String, String) {
    let file = sandbox.path(name).to_str().unwrap().to_owned();
    let keygen = Command::new("age-keygen").args(["-o", &file]).output();
    assert!(keygen.unwrap().status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let recipient = text.split("public key: ").nth(1).unwrap();
    (file, recipient.lines().next().unwrap().to_owned())
}

impl Exported {
    fn new() -> Self {
        let (sandbox, key) = Sandbox::with_acme();
        let (identity, recipient) = identity(&sandbox, "identity.txt");
        let bundle = sandbox.path("evals.json").to_str().unwrap().to_owned();
        let mut exported = Exported {
            sandbox,
            key,
            identity,
            recipient,
            bundle,
            signer: String::new(),
        };
        let output = exported.export(&["acme/evals"], &[]).ok().json();
        let signer = output["signer"].as_str().unwrap();
        signer.clone_into(&mut exported.signer);
        exported
    }

    fn export(&self, scopes: &[&str], more: &[&str]) -> RunOutput {
        let options = ["--to", &self.recipient, "-o", &self.bundle, "--json"];
        let words = [&["bundle", "export"], scopes, &options, more].concat();
        self.sandbox.entail(&words)
    }

    /// Runs a command on a machine without a home.
    fn elsewhere(&self, arguments: &[&str]) -> RunOutput {
        let mut command = self.sandbox.command(arguments);
        command.env("ENTAIL_HOME", self.sandbox.path("nowhere"));
        self.sandbox.run(command, "")
    }

    fn trusting<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["bundle", command, &self.bundle, "--signer", &self.signer];
        [&words, more].concat()
    }

    /// Resolves elsewhere with an identity.
    fn resolve(&self, scope: &str, provider: &str, identity: &str) -> RunOutput {
        let more = [scope, provider, "--identity", identity];
        self.elsewhere(&self.trusting("resolve", &more))
    }
}

#[test]
fn a_bundle_resolves_and_explains_as_the_home_does_without_it() {
    let exported = Exported::new();
    let sandbox = &exported.sandbox;
    let without_revision = |output: RunOutput| {
        let mut lease = output.ok().json();
        lease.as_object_mut().unwrap().remove("revision");
        lease
    };
    let more = [
        "acme/evals",
        "openai",
        "--identity",
        &exported.identity,
        "--json",
    ];
    let words = exported.trusting("resolve", &more);
    let at_home = ["resolve", "acme/evals", "openai", "--json"];
    assert_eq!(
        without_revision(exported.elsewhere(&words)),
        without_revision(sandbox.entail(&at_home))
    );
    let mut revealing = sandbox.command(&[&words[..], &["--reveal"]].concat());
    revealing.env("ENTAIL_HOME", sandbox.path("nowhere"));
    let lease = sandbox.lease_of(revealing).ok().json();
    assert_eq!(lease["secrets"]["api_key"], exported.key);

    let explained = exported.elsewhere(&exported.trusting("explain", &["acme/evals", "openai"]));
    let home = sandbox.entail(&["explain", "acme/evals", "openai"]).ok();
    assert_eq!(explained.ok().stdout, home.stdout);
    exported
        .elsewhere(&exported.trusting("verify", &[]))
        .ok()
        .prints("1 sealed secret");
    // At home, its own signers are trusted.
    sandbox.entail(&["bundle", "verify", &exported.bundle]).ok();
    sandbox.entail(&["verify"]).ok();
}

#[test]
fn a_bundle_contains_no_secret_in_clear_and_only_those_that_its_scopes_can_be_granted() {
    let exported = Exported::new();
    let sandbox = &exported.sandbox;
    let other = sandbox.canary();
    let set = ["credential", "set", "acme/agents", "openai"];
    sandbox.entail_with(&set, &other).ok();
    let private = ["credential", "set", "acme", "anthropic", "--share", "none"];
    sandbox.entail_with(&private, &sandbox.canary()).ok();
    let output = exported.export(&["acme/evals"], &[]).ok().json();
    let secrets = output["bundle"]["secrets"].as_array().unwrap();
    assert_eq!(secrets.len(), 1, "{secrets:?}");
    assert_eq!(secrets[0]["holder"], "acme");
    // An own key that can always be used ends the search, also if the scope falls back.
    let fall_back = ["inherit", "acme/agents", "openai", "--fall-back"];
    sandbox.entail(&fall_back).ok();
    let output = exported.export(&["acme/agents"], &[]).ok().json();
    let secrets = output["bundle"]["secrets"].as_array().unwrap();
    assert_eq!(
        (secrets.len(), &secrets[0]["holder"]),
        (1, &"acme/agents".into())
    );
    let both = exported
        .export(&["acme/evals", "acme/agents"], &[])
        .ok()
        .json();
    assert_eq!(both["bundle"]["secrets"].as_array().unwrap().len(), 2);
    let text = std::fs::read(&exported.bundle).unwrap();
    for secret in [&exported.key, &other] {
        for (form, needle) in encodings(secret) {
            let found = text.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{form}");
        }
    }
    sandbox
        .entail(&["bundle", "inspect", &exported.bundle])
        .ok()
        .prints("openai/default of acme/agents, version 1")
        .prints("was not checked");
}

#[test]
fn any_age_tool_opens_a_secret_of_a_bundle() {
    let exported = Exported::new();
    let file: Value = serde_json::from_slice(&std::fs::read(&exported.bundle).unwrap()).unwrap();
    let (_, blob) = file["blobs"].as_object().unwrap().iter().next().unwrap();
    let sealed = exported.sandbox.file("secret.b64", blob.as_str().unwrap());
    let script = format!(
        "base64 -d {sealed} | age -d -i {} | head -c 1000",
        exported.identity
    );
    let opened = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(opened.stdout).unwrap();
    assert!(text.starts_with("entail-secret/1\n"), "not a frame");
    let header = text.lines().nth(1).unwrap();
    assert!(header.contains(r#""scope":"acme""#) && header.contains(r#""epoch":0"#));
}

#[test]
fn a_bundle_resolves_in_python_and_in_node() {
    let exported = Exported::new();
    let sandbox = &exported.sandbox;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let core = root.join("target/wasm32-unknown-unknown/resolver/entail_resolver.wasm");
    assert!(
        core.exists(),
        "guest/resolver/README.md builds {}",
        core.display()
    );
    let request = serde_json::json!({
        "scope": "acme/evals", "provider": "openai", "now_ms": entail::now_ms(),
        "recipients": [exported.recipient], "expected": {"signers": [exported.signer]},
    });
    let file = sandbox.file("request.json", request.to_string());
    let bundle = std::fs::read_to_string(&exported.bundle).unwrap();
    let expected = entail::bundle::answer(&bundle, &request.to_string());
    assert!(expected.starts_with(r#"{"resolved":"#), "{expected}");
    let interop = root.join("target/interop");
    let examples = root.join("guest/resolver/examples");
    // A module finds its packages beside itself.
    let script = interop.join(format!("resolve-{}.mjs", std::process::id()));
    std::fs::copy(examples.join("resolve.mjs"), &script).unwrap();
    let python = interop.join("python/bin/python");
    for (program, script) in [
        (python.as_path(), &examples.join("resolve.py")),
        (Path::new("node"), &script),
    ] {
        let run = |more: &[&str]| {
            let mut command = Command::new(program);
            let arguments = [
                script.as_path(),
                &core,
                exported.bundle.as_ref(),
                file.as_ref(),
            ];
            let output = command.args(arguments).args(more).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (String::from_utf8(output.stdout).unwrap(), errors)
        };
        let (answer, errors) = run(&[]);
        assert_eq!(answer.trim_end(), expected, "{errors}");
        let (opened, errors) = run(&[&exported.identity]);
        let fields: Value = serde_json::from_str(&opened).expect(&errors);
        assert_eq!(fields, serde_json::json!({"api_key": exported.key}));
        let (other, _) = identity(
            sandbox,
            &format!("{}.txt", script.display()).replace('/', "-"),
        );
        let (opened, errors) = run(&[&other]);
        assert!(opened.is_empty() && !errors.is_empty());
    }
    std::fs::remove_file(script).unwrap();
}

#[test]
fn a_bundle_that_is_not_trusted_or_not_for_this_machine_is_refused() {
    let exported = Exported::new();
    let sandbox = &exported.sandbox;
    let (other_identity, other_recipient) = identity(sandbox, "other.txt");
    exported
        .resolve("acme/evals", "openai", &other_identity)
        .fails(10)
        .prints("cannot be read")
        .prints(&format!("export it with --to {other_recipient}"));
    exported
        .elsewhere(&["bundle", "verify", &exported.bundle])
        .fails(19)
        .prints("that entail key list shows at the home");
    let stranger = format!("ed25519:{}", "0".repeat(64));
    exported
        .elsewhere(&["bundle", "verify", &exported.bundle, "--signer", &stranger])
        .fails(15)
        .prints("which is not trusted");
    exported
        .elsewhere(&exported.trusting("verify", &["--at-least", "1000"]))
        .fails(15)
        .prints("at least 1000 is required");
    exported
        .resolve("acme/agents", "openai", &exported.identity)
        .fails(18)
        .prints("the bundle is not for acme/agents, only for acme/evals");
    exported
        .resolve("acme/evals", "xai", &exported.identity)
        .fails(18)
        .prints("nothing for xai, only for openai");
    // A byte of the secret.
    let text = std::fs::read_to_string(&exported.bundle).unwrap();
    let place = text.rfind("\":\"").unwrap() + 100;
    let mut changed = text.clone().into_bytes();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    std::fs::write(&exported.bundle, changed).unwrap();
    exported
        .resolve("acme/evals", "openai", &exported.identity)
        .fails(15)
        .prints("was changed");
    // For other recipients alone.
    let to = ["--to", &other_recipient, "-o", &exported.bundle];
    sandbox
        .entail(&[&["bundle", "export", "acme/evals"][..], &to].concat())
        .ok();
    exported
        .resolve("acme/evals", "openai", &exported.identity)
        .fails(10);
    exported.export(&["acme/evals"], &["--expires", "1s"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    exported
        .resolve("acme/evals", "openai", &exported.identity)
        .fails(14)
        .prints("has expired");
}

#[test]
fn what_cannot_be_exported_says_why_and_writes_nothing() {
    let exported = Exported::new();
    let sandbox = &exported.sandbox;
    std::fs::remove_file(&exported.bundle).unwrap();
    // Nothing but a bundle is replaced.
    for file in ["home/keys/identity.txt", "home/entail.db", "other.txt"] {
        let path = sandbox.path(file);
        if file == "other.txt" {
            std::fs::write(&path, "precious").unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        let to = ["--to", &exported.recipient, "-o", path.to_str().unwrap()];
        sandbox
            .entail(&[&["bundle", "export", "acme/evals"][..], &to].concat())
            .fails(19)
            .prints("is not a bundle, so it is not replaced");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    let fails = |scopes: &[&str], more: &[&str], code: i32, text: &str| {
        exported.export(scopes, more).fails(code).prints(text);
        assert!(!sandbox.path("evals.json").exists());
    };
    fails(&["acme/none"], &[], 18, "no scope acme/none");
    fails(&["acme/evals"], &["--provider", "none"], 18, "none");
    fails(&["acme/evals"], &["--expires", "400d"], 19, "366 days");
    fails(&["acme/evals"], &["--to", "age1nothing"], 19, "recipient");
    sandbox.entail(&["init", "globex"]).ok();
    fails(&["acme/evals", "globex"], &[], 19, "of two");
    let balance = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest/balance/balance.wasm"
    );
    sandbox.entail(&["policy", "install", balance]).ok();
    sandbox
        .entail(&["policy", "activate", "acme", "balance"])
        .ok();
    fails(&["acme/evals"], &[], 19, "built-in policy alone");
    sandbox.entail(&["policy", "rollback", "acme"]).ok();
    // Without a signer nothing can be recorded.
    let signer = sandbox.home().join("keys/signer.pem");
    std::fs::rename(&signer, sandbox.path("signer.pem")).unwrap();
    fails(&["acme/evals"], &[], 16, "signer");
}
