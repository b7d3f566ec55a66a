//! `entail import`: existing keys become credentials, once, and nothing else
//! changes.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{RunOutput, Sandbox};

/// A home with the organization `acme` and nothing else.
fn with_organization() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.entail(&["init", "acme"]).ok();
    sandbox
}

fn import(sandbox: &Sandbox, arguments: &[&str]) -> RunOutput {
    sandbox.entail(&[&["import"], arguments].concat())
}

/// The JSON report of an import or of its dry run.
fn report(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    import(sandbox, &[arguments, &["--json"]].concat())
        .ok()
        .json()
}

/// Creates a directory with two projects that share a key and one with a key of its own.
/// Returns the directory's path, the shared key and the other key.
fn projects(sandbox: &Sandbox) -> (String, String, String) {
    let (shared, own) = (sandbox.canary(), sandbox.canary());
    sandbox.file(
        "src/evals/.env",
        format!("# keys\nOPENAI_API_KEY={shared}\nDEBUG=1\n"),
    );
    sandbox.file(
        "src/agents/.envrc",
        format!("use flake\nexport OPENAI_API_KEY='{shared}'\n"),
    );
    sandbox.file("src/My App/.env.local", format!("OPENAI_API_KEY='{own}'\n"));
    sandbox.file("src/notes/README.md", "nothing");
    let src = sandbox.path("src").to_str().unwrap().to_owned();
    (src, shared, own)
}

/// The key that a scope gets for a provider.
fn key(sandbox: &Sandbox, scope: &str, provider: &str) -> String {
    let lease = sandbox
        .lease(&["resolve", scope, provider, "--reveal", "--json"])
        .ok()
        .json();
    lease["secrets"]["api_key"].as_str().unwrap().to_owned()
}

fn outcomes(report: &Value) -> Vec<(String, String)> {
    let mut outcomes: Vec<(String, String)> = report["projects"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|project| {
            let credentials = project["credentials"].as_array().unwrap().iter();
            credentials.map(|credential| {
                (
                    format!(
                        "{} {}",
                        project["scope"].as_str().unwrap(),
                        credential["provider"].as_str().unwrap()
                    ),
                    credential["outcome"].as_str().unwrap().to_owned(),
                )
            })
        })
        .collect();
    outcomes.sort();
    outcomes
}

fn changes(report: &Value) -> Vec<String> {
    let changes = report["changes"].as_array().unwrap().iter();
    changes
        .map(|change| {
            let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("change"), text("scope"), text("provider"))
                .trim_end()
                .to_owned()
        })
        .collect()
}

fn files_below(sandbox: &Sandbox, directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    crate::sandbox::read_all(&sandbox.path(directory), &mut files);
    files.sort();
    files
}

#[test]
fn a_shared_key_is_imported_into_the_organization_and_other_keys_into_their_projects() {
    let sandbox = with_organization();
    let (src, shared, own) = projects(&sandbox);
    let before = files_below(&sandbox, "src");
    let dry = report(&sandbox, &[&src, "--dry-run"]);
    let expected = [
        "add-scope acme/agents",
        "add-scope acme/evals",
        "add-scope acme/my-app",
        "set-credential acme openai",
        "set-credential acme/my-app openai",
        "inherit acme/agents openai",
        "inherit acme/evals openai",
    ];
    assert_eq!(changes(&dry), expected);
    assert_eq!(
        dry["shared"][0]["scopes"],
        serde_json::json!(["acme/agents", "acme/evals"])
    );
    assert_eq!(
        (&dry["applied"], &dry["dry_run"]),
        (&false.into(), &true.into())
    );
    sandbox.entail(&["project", "list"]).ok().prints("acme\n");
    assert!(
        !sandbox
            .entail(&["project", "list"])
            .stdout
            .contains("evals")
    );

    let output = import(&sandbox, &[&src, "--yes"]).ok().stdout;
    for line in [
        "→ acme/my-app (new)",
        "OPENAI_API_KEY=••••cdef",
        "src/evals/.env:2",
        "the same openai key: acme/agents, acme/evals",
        "set openai on acme/my-app, as its own key",
        "done: 7 changes were made",
        "you can delete these",
    ] {
        assert!(output.contains(line), "{line} is not in:\n{output}");
    }
    assert_eq!(key(&sandbox, "acme", "openai"), shared);
    assert_eq!(key(&sandbox, "acme/evals", "openai"), shared);
    assert_eq!(key(&sandbox, "acme/agents", "openai"), shared);
    assert_eq!(key(&sandbox, "acme/my-app", "openai"), own);
    sandbox
        .entail(&["status", "--all"])
        .ok()
        .prints("acme/evals   from acme");
    // One revision for each of the seven changes, plus two of `init`. The imported files are
    // unchanged.
    sandbox
        .entail(&["verify"])
        .ok()
        .prints("(revision 9, 9 changes");
    assert_eq!(files_below(&sandbox, "src"), before);
}

#[test]
fn a_second_import_changes_nothing_and_reports_existing_credentials() {
    let sandbox = with_organization();
    let (src, ..) = projects(&sandbox);
    import(&sandbox, &[&src, "--yes"]).ok();
    let again = report(&sandbox, &[&src, "--yes"]);
    assert_eq!(changes(&again), Vec::<String>::new());
    assert_eq!(
        outcomes(&again),
        [
            ("acme/agents openai".to_owned(), "opt-in".to_owned()),
            ("acme/evals openai".to_owned(), "opt-in".to_owned()),
            ("acme/my-app openai".to_owned(), "already-set".to_owned()),
        ]
    );
    assert_eq!(again["deletable"].as_array().unwrap().len(), 3);
}

#[test]
fn an_interrupted_import_resumes() {
    let sandbox = with_organization();
    let (src, shared, _) = projects(&sandbox);
    // Makes the first changes of the plan by hand.
    sandbox.entail(&["project", "add", "acme/agents"]).ok();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai"], &shared)
        .ok();
    let rest = report(&sandbox, &[&src, "--yes"]);
    assert_eq!(
        changes(&rest),
        [
            "add-scope acme/evals",
            "add-scope acme/my-app",
            "set-credential acme/my-app openai",
            "inherit acme/agents openai",
            "inherit acme/evals openai",
        ]
    );
    assert_eq!(key(&sandbox, "acme/evals", "openai"), shared);
}

#[test]
fn existing_credentials_are_never_replaced() {
    let sandbox = with_organization();
    let (src, shared, own) = projects(&sandbox);
    let (organization_key, project_key) = (sandbox.canary(), sandbox.canary());
    sandbox.entail(&["project", "add", "acme/my-app"]).ok();
    for (scope, key) in [("acme", &organization_key), ("acme/my-app", &project_key)] {
        sandbox
            .entail_with(&["credential", "set", scope, "openai"], key)
            .ok();
    }
    let output = import(&sandbox, &[&src, "--yes"])
        .ok()
        .prints("already set (different), not replaced")
        .stdout;
    assert!(
        !output.contains("My App/.env.local:1  OPENAI_API_KEY\n"),
        "{output}"
    );
    assert_eq!(key(&sandbox, "acme", "openai"), organization_key);
    assert_eq!(key(&sandbox, "acme/my-app", "openai"), project_key);
    assert_ne!(own, project_key);
    // The organization has a different key, so each project gets the shared key itself.
    assert_eq!(key(&sandbox, "acme/evals", "openai"), shared);
    assert_eq!(key(&sandbox, "acme/agents", "openai"), shared);
}

#[test]
fn without_the_identity_no_key_is_reported_as_different() {
    let sandbox = with_organization();
    let (src, shared, _) = projects(&sandbox);
    sandbox
        .entail_with(&["credential", "set", "acme", "openai"], &shared)
        .ok();
    std::fs::rename(
        sandbox.home().join("keys/identity.txt"),
        sandbox.path("identity.txt"),
    )
    .unwrap();
    let report = report(&sandbox, &[&src, "--yes"]);
    assert_eq!(changes(&report), Vec::<String>::new());
    assert!(
        outcomes(&report)
            .iter()
            .all(|(_, outcome)| outcome == "not-compared")
    );
    assert_eq!(report["deletable"], serde_json::json!([]));
}

#[test]
fn nothing_is_imported_without_confirmation() {
    let sandbox = with_organization();
    let (src, ..) = projects(&sandbox);
    for arguments in [&[src.as_str()][..], &[&src, "--json"]] {
        import(&sandbox, arguments)
            .fails(19)
            .prints("--dry-run")
            .prints("--yes");
    }
    assert_eq!(sandbox.entail(&["project", "list"]).ok().stdout, "acme\n");
}

#[test]
fn on_a_terminal_import_asks_for_confirmation_and_defaults_to_no() {
    let sandbox = with_organization();
    let (src, shared, _) = projects(&sandbox);
    let script = r"
import os, pty, sys
answer, program = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
output = b''
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    output += piece
    if b'[y/N]' in output and answer is not None:
        os.write(terminal, answer.encode() + b'\n')
        answer = None
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(output)
sys.exit(os.waitstatus_to_exitcode(status))
";
    let ask = |answer: &str| {
        let mut command = Command::new("python3");
        command
            .args([
                "-c",
                script,
                answer,
                env!("CARGO_BIN_EXE_entail"),
                "import",
                &src,
            ])
            .env("ENTAIL_HOME", sandbox.home());
        sandbox.run(command, "")
    };
    for no in ["", "n", "yess"] {
        ask(no)
            .ok()
            .prints("Continue? [y/N]")
            .prints("nothing was changed");
        assert_eq!(sandbox.entail(&["project", "list"]).ok().stdout, "acme\n");
    }
    ask("y").ok().prints(": 7 changes were made");
    assert_eq!(key(&sandbox, "acme/evals", "openai"), shared);
}

#[test]
fn modes_are_recognized_by_their_variables() {
    let sandbox = with_organization();
    let (secret, bearer, gemini, token) = (
        sandbox.canary(),
        sandbox.canary(),
        sandbox.canary(),
        sandbox.canary(),
    );
    sandbox.watch_for("canaryofanimportedkey0123456789ABCDEF");
    sandbox.file(
        "account.json",
        r#"{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----\ncanaryofanimportedkey0123456789ABCDEF\n-----END PRIVATE KEY-----\n"}"#,
    );
    sandbox.file(
        "clouds/.env",
        format!(
            "AWS_ACCESS_KEY_ID=AKIAQQQQQQQQQQQQQQQQ\nAWS_SECRET_ACCESS_KEY='{secret}'\nAWS_REGION=eu-central-1\nAWS_BEARER_TOKEN_BEDROCK='{bearer}'\nGOOGLE_APPLICATION_CREDENTIALS=../account.json\nGOOGLE_CLOUD_LOCATION=europe-west4\nGOOGLE_API_KEY='{gemini}'\nGEMINI_API_KEY='{gemini}'\nLITELLM_PROXY_API_KEY='{token}'\nLITELLM_PROXY_API_BASE=https://litellm.example/\n"
        ),
    );
    let directory = sandbox.path("clouds").to_str().unwrap().to_owned();
    let output = import(&sandbox, &[&directory, "--yes"])
        .ok()
        .prints("AWS_BEARER_TOKEN_BEDROCK")
        .prints("is not part of the mode access-key")
        .stdout;
    assert!(
        output.contains("GOOGLE_CLOUD_LOCATION=europe-west4"),
        "{output}"
    );
    // Both variables of the same key can be deleted.
    assert!(
        output.contains("clouds/.env:7  GOOGLE_API_KEY\n"),
        "{output}"
    );
    assert!(
        output.contains("clouds/.env:8  GEMINI_API_KEY\n"),
        "{output}"
    );
    assert!(!output.contains("  AWS_BEARER_TOKEN_BEDROCK\n"), "{output}");
    for (provider, mode) in [
        ("bedrock", "access-key"),
        ("vertex-ai", "service-account"),
        ("gemini", "api-key"),
        ("litellm", "api-key"),
    ] {
        let credential = sandbox
            .entail(&["credential", "show", "acme", provider, "--json"])
            .ok()
            .json();
        assert_eq!(credential["version"]["mode"], mode, "{provider}");
    }
    let script = "tail -c 200 \"$GOOGLE_APPLICATION_CREDENTIALS\" | grep -c ABCDEF";
    sandbox
        .entail(&[
            "run",
            "acme/clouds",
            "--provider",
            "vertex-ai",
            "--",
            "sh",
            "-c",
            script,
        ])
        .ok()
        .prints("1\n");
}

#[test]
fn unparsed_entries_are_named_without_their_values() {
    let sandbox = with_organization();
    let (azure, literal) = (sandbox.canary(), sandbox.canary());
    sandbox.file(
        "app/.env",
        format!(
            "AZURE_OPENAI_API_KEY='{azure}'\nMISTRAL_API_KEY=${{MISTRAL}}\n{literal}\nXAI_API_KEY=\"$(pass show x)\"\nOPENAI_API_KEY=your-key-here\nDEEPSEEK_API_KEY=\nPERPLEXITY_API_KEY=op://vault/item\n"
        ),
    );
    sandbox.file("app/.env.example", "OPENAI_API_KEY=\n");
    sandbox.file("app/.env.bin", b"\xff\xfe");
    let app = sandbox.path("app").to_str().unwrap().to_owned();
    let output = import(&sandbox, &[&app, "--yes"]).ok().stdout;
    for line in [
        "app/.env:1 AZURE_OPENAI_API_KEY",
        "app/.env:2 MISTRAL_API_KEY",
        "app/.env:3: it does not set",
        "app/.env:4 XAI_API_KEY",
        "OPENAI_API_KEY: it looks like a placeholder",
        "PERPLEXITY_API_KEY: it is encrypted, or a reference",
        "app/.env.example: it is a template",
        "app/.env.bin: it is not UTF-8 text",
        "there is nothing to change",
    ] {
        assert!(output.contains(line), "{line} is not in:\n{output}");
    }
    assert!(!output.contains("DEEPSEEK"), "{output}");
    assert!(!output.contains("pass show"), "{output}");
}

#[test]
fn a_key_that_may_be_for_another_host_is_not_imported() {
    let sandbox = with_organization();
    for (number, other) in [
        "OPENAI_API_BASE=https://x.openai.azure.com",
        "OPENAI_API_TYPE=azure",
        "OPENAI_BASE_URL=$GATEWAY",
        "OPENAI_BASE_URL=http://litellm:4000",
        "OPENAI_BASE_URL=https://user:pw@gateway.example",
    ]
    .iter()
    .enumerate()
    {
        let key = sandbox.canary();
        let file = sandbox.file(
            &format!("app{number}/.env"),
            format!("OPENAI_API_KEY='{key}'\n{other}\n"),
        );
        let report = report(&sandbox, &[&file, "--dry-run"]);
        assert_eq!(changes(&report), Vec::<String>::new(), "{other}");
        let refused = &report["projects"][0]["not_imported"][0];
        assert_eq!(refused["provider"], "openai", "{other}");
        let (name, value) = other.split_once('=').unwrap();
        let reason = refused["reason"].as_str().unwrap();
        assert!(reason.contains(name), "{reason}");
        assert!(!reason.contains(value), "{reason}");
    }
}

#[test]
fn conflicting_files_of_one_project_are_reported() {
    let sandbox = with_organization();
    let (first, second, third) = (sandbox.canary(), sandbox.canary(), sandbox.canary());
    sandbox.file(
        "app/.env",
        format!("OPENAI_API_KEY='{first}'\nXAI_API_KEY='{second}'\nXAI_API_KEY='{third}'\n"),
    );
    sandbox.file(
        "app/.env.production",
        format!("OPENAI_API_KEY='{second}'\n"),
    );
    sandbox.file("app/.env.staging", format!("OPENAI_API_KEY='{first}'\n"));
    let app = sandbox.path("app").to_str().unwrap().to_owned();
    let output = import(&sandbox, &[&app, "--yes"])
        .ok()
        .prints(".env.production:1) has another value, which is not imported")
        .prints("XAI_API_KEY: it is set twice in")
        .stdout;
    assert!(
        output.contains("app/.env.staging:1  OPENAI_API_KEY\n"),
        "{output}"
    );
    assert!(
        !output.contains("app/.env.production:1  OPENAI_API_KEY\n"),
        "{output}"
    );
    assert_eq!(key(&sandbox, "acme/app", "openai"), first);
}

#[test]
fn named_json_files_shell_scripts_and_pipes_are_read() {
    let sandbox = with_organization();
    let keys: Vec<String> = (0..3).map(|_| sandbox.canary()).collect();
    let json = serde_json::json!({"OPENAI_API_KEY": keys[0], "DEBUG": "1", "nested": {"a": 1}});
    let vars = sandbox.file("a/vars.json", json.to_string());
    let script = sandbox.file(
        "b/keys.sh",
        format!("#!/bin/sh\nset -e\nexport XAI_API_KEY='{}'\n", keys[1]),
    );
    report(&sandbox, &[&vars, &script, "--yes"]);
    assert_eq!(key(&sandbox, "acme/a", "openai"), keys[0]);
    assert_eq!(key(&sandbox, "acme/b", "xai"), keys[1]);
    let file = sandbox.file("c", format!("MISTRAL_API_KEY='{}'\n", keys[2]));
    let shell = format!(
        "{} import <(cat {file}) --map /dev/fd/63=acme/piped --yes",
        env!("CARGO_BIN_EXE_entail")
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &shell])
        .env("ENTAIL_HOME", sandbox.home());
    sandbox.run(command, "").ok();
    assert_eq!(key(&sandbox, "acme/piped", "mistral"), keys[2]);
}

#[test]
fn a_discovered_pipe_or_device_does_not_block() {
    let sandbox = with_organization();
    std::fs::create_dir_all(sandbox.path("app")).unwrap();
    let status = Command::new("mkfifo")
        .arg(sandbox.path("app/.env"))
        .status();
    assert!(status.unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", sandbox.path("app/.env.local")).unwrap();
    sandbox.file("app/.env.large", "#".repeat(300 * 1024));
    let app = sandbox.path("app").to_str().unwrap().to_owned();
    let output = import(&sandbox, &[&app, "--yes"]).ok().stdout;
    for line in [
        "app/.env: it is a named pipe",
        "app/.env.local: it is a ",
        "app/.env.large: it is longer than 262144 bytes",
    ] {
        assert!(output.contains(line), "{line} is not in:\n{output}");
    }
}

#[test]
fn the_environment_is_imported_into_the_scope_in_effect() {
    let sandbox = with_organization();
    let key_of = |scope: Option<&str>| {
        let canary = sandbox.canary();
        let mut command = sandbox.command(&["import", "--env", "--yes"]);
        command.env("OPENAI_API_KEY", &canary).env("EMPTY", "");
        if let Some(scope) = scope {
            command.env("ENTAIL_SCOPE", scope);
        }
        let stdout = sandbox.run(command, "").ok().stdout;
        assert!(stdout.contains("the environment"), "{stdout}");
        canary
    };
    let organization_key = key_of(None);
    assert_eq!(key(&sandbox, "acme", "openai"), organization_key);
    let project_key = key_of(Some("acme/evals"));
    assert_eq!(key(&sandbox, "acme/evals", "openai"), project_key);
    let mut elsewhere = sandbox.command(&["import", "--env", "--yes"]);
    elsewhere.env("ENTAIL_SCOPE", "other/evals");
    sandbox.run(elsewhere, "").fails(19).prints("not in acme");
}

#[test]
fn map_selects_the_scopes_and_sets_the_inheritance_between_them() {
    let sandbox = with_organization();
    let (src, shared, _) = projects(&sandbox);
    let evals = format!("{src}/evals=acme/team/evals");
    let output = import(&sandbox, &[&src, "--map", &evals, "--yes"])
        .ok()
        .prints("add the project acme/team\n")
        .prints("let acme/team inherit openai")
        .prints("let acme/team/evals inherit openai")
        .stdout;
    assert!(!output.contains("acme/evals"), "{output}");
    assert_eq!(key(&sandbox, "acme/team/evals", "openai"), shared);
    for (map, problem) in [
        (format!("{src}/evals=other/x"), "not in acme"),
        (format!("{src}/nowhere=acme/x"), "nothing was found"),
        (format!("{src}/evals=Acme"), "not the path of a scope"),
        (format!("{src}/evals"), "--map takes PATH=SCOPE"),
        (
            format!("{src}/evals=acme/agents"),
            "would both become acme/agents",
        ),
    ] {
        let arguments = [src.as_str(), "--org", "acme", "--map", &map, "--yes"];
        import(&sandbox, &arguments).fails(19).prints(problem);
    }
}

#[test]
fn a_directory_that_contains_env_files_is_one_project() {
    let sandbox = with_organization();
    let (app_key, deploy_key) = (sandbox.canary(), sandbox.canary());
    sandbox.file("app/.env", format!("OPENAI_API_KEY='{app_key}'\n"));
    sandbox.file(
        "app/deploy/.env",
        format!("OPENAI_API_KEY='{deploy_key}'\n"),
    );
    let mut command = sandbox.command(&["import", "--yes"]);
    command.current_dir(sandbox.path("app"));
    sandbox
        .run(command, "")
        .ok()
        .prints("./deploy/.env: . is a project itself");
    assert_eq!(key(&sandbox, "acme/app", "openai"), app_key);
    assert!(
        !sandbox
            .entail(&["project", "list"])
            .stdout
            .contains("deploy")
    );
}

#[test]
fn org_is_required_if_there_are_several_organizations() {
    let sandbox = with_organization();
    let (src, ..) = projects(&sandbox);
    sandbox.entail(&["init", "other"]).ok();
    import(&sandbox, &[&src, "--yes"])
        .fails(19)
        .prints("add --org acme")
        .prints("add --org other");
    import(&sandbox, &[&src, "--org", "acme/evals", "--yes"]).fails(19);
    let report = report(&sandbox, &[&src, "--org", "third", "--dry-run"]);
    assert_eq!(changes(&report)[0], "add-scope third");
}

#[test]
fn only_the_named_providers_are_imported() {
    let sandbox = with_organization();
    let (openai, xai) = (sandbox.canary(), sandbox.canary());
    let file = sandbox.file(
        "app/.env",
        format!("OPENAI_API_KEY='{openai}'\nXAI_API_KEY='{xai}'\n"),
    );
    let report = report(&sandbox, &[&file, "--provider", "xai", "--yes"]);
    assert_eq!(
        outcomes(&report),
        [("acme/app xai".to_owned(), "opt-in".to_owned())]
    );
    assert_eq!(key(&sandbox, "acme/app", "xai"), xai);
    import(&sandbox, &[&file, "--provider", "opnai", "--yes"]).fails(18);
}

#[test]
fn a_shared_key_with_different_parameters_becomes_a_credential_of_each_project() {
    let sandbox = with_organization();
    let shared_key = sandbox.canary();
    for (name, organization) in [("a", "org-1"), ("b", "org-2")] {
        sandbox.file(
            &format!("src/{name}/.env"),
            format!("OPENAI_API_KEY='{shared_key}'\nOPENAI_ORG_ID={organization}\n"),
        );
    }
    let src = sandbox.path("src").to_str().unwrap().to_owned();
    let report = report(&sandbox, &[&src, "--yes"]);
    assert_eq!(
        report["shared"][0]["scopes"],
        serde_json::json!(["acme/a", "acme/b"])
    );
    assert_eq!(
        changes(&report)[2..],
        [
            "set-credential acme/a openai",
            "set-credential acme/b openai"
        ]
    );
}

#[test]
fn the_output_of_export_env_and_resolve_is_imported_unchanged() {
    let (sandbox, acme_key) = Sandbox::with_acme();
    sandbox.entail(&["init", "other"]).ok();
    let resolve = &["resolve", "acme", "openai", "--reveal", "--format"][..];
    for (name, arguments) in [
        ("a/.env", [resolve, &["dotenv"]].concat()),
        ("b/.env", [resolve, &["env"]].concat()),
        ("c/.envrc", [resolve, &["shell"]].concat()),
        ("d/keys.sh", vec!["export-env", "acme"]),
        ("e/keys.json", vec!["export-env", "acme", "--json"]),
    ] {
        let mut output = sandbox.lease(&arguments).ok().stdout;
        if name == "e/keys.json" {
            let json: Value = serde_json::from_str(&output).unwrap();
            output = json["variables"].to_string();
        }
        let file = sandbox.file(name, output);
        let map = format!("{file}=other/x");
        import(&sandbox, &[&file, "--map", &map, "--yes"]).ok();
        assert_eq!(key(&sandbox, "other/x", "openai"), acme_key, "{name}");
        sandbox.entail(&["project", "remove", "other/x"]).ok();
        sandbox
            .entail(&["credential", "remove", "other", "openai"])
            .ok();
    }
}

#[test]
fn a_project_is_imported_into_its_scope_if_its_file_is_allowed() {
    let (sandbox, _) = Sandbox::with_acme();
    let (first_key, second_key) = (sandbox.canary(), sandbox.canary());
    sandbox.file("src/one/.env", format!("XAI_API_KEY='{first_key}'\n"));
    sandbox.file("src/two/.env", format!("XAI_API_KEY='{second_key}'\n"));
    let mut command = sandbox.command(&["use", "acme/evals"]);
    command.current_dir(sandbox.path("src/one"));
    sandbox.run(command, "").ok();
    // This file came with a repository and is not allowed.
    sandbox.file("src/two/.entail.toml", "scope = \"acme/agents\"\n");
    let src = sandbox.path("src").to_str().unwrap().to_owned();
    import(&sandbox, &[&src, "--yes"]).ok();
    assert_eq!(key(&sandbox, "acme/evals", "xai"), first_key);
    assert_eq!(key(&sandbox, "acme/two", "xai"), second_key);
    sandbox.entail(&["resolve", "acme/agents", "xai"]).fails(10);
}

#[test]
fn a_key_given_as_a_path_is_not_repeated() {
    let sandbox = with_organization();
    let key = sandbox.canary();
    import(&sandbox, &[&key, "--dry-run"]).fails(1);
    import(&sandbox, &["--map", &key, "--dry-run"]).fails(19);
    import(&sandbox, &["--provider", &key]).fails(2);
}

#[test]
fn a_key_is_not_deletable_if_its_scope_does_not_get_the_credential() {
    let sandbox = with_organization();
    let (src, shared, _) = projects(&sandbox);
    sandbox
        .entail_with(
            &[
                "credential",
                "set",
                "acme",
                "openai",
                "--share",
                "acme/agents",
            ],
            &shared,
        )
        .ok();
    let report = report(&sandbox, &[&src, "--yes"]);
    let granted: Vec<(&str, &Value)> = report["projects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|project| {
            (
                project["scope"].as_str().unwrap(),
                &project["credentials"][0]["granted"],
            )
        })
        .collect();
    assert_eq!(
        granted,
        [
            ("acme/my-app", &true.into()),
            ("acme/agents", &true.into()),
            ("acme/evals", &false.into()),
        ]
    );
    assert!(!report["deletable"].to_string().contains("evals"));
    import(&sandbox, &[&src, "--yes"]).ok().prints(
        "acme/evals does not get this openai credential; see: entail explain acme/evals openai",
    );
}
