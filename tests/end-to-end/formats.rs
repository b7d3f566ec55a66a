//! Output: masked unless requested, and in forms that programs can parse.

use std::process::Command;

use crate::sandbox::Sandbox;

#[test]
fn a_secret_is_masked_unless_requested() {
    let (sandbox, key) = Sandbox::with_acme();
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .ok()
        .prints("••••cdef");
    sandbox
        .entail(&["resolve", "acme/evals", "openai", "--json"])
        .ok()
        .prints("••••cdef");
    sandbox
        .entail(&["resolve", "acme/evals", "openai", "--format", "env"])
        .fails(19)
        .prints("--reveal");
    let lease = sandbox
        .lease(&["resolve", "acme/evals", "openai", "--reveal"])
        .ok();
    assert!(lease.stdout.contains(&key));
}

#[test]
fn a_shell_evaluates_the_output_to_the_exact_value() {
    let (sandbox, key) = Sandbox::with_acme();
    let program = env!("CARGO_BIN_EXE_entail");
    for source in [
        "resolve acme/evals openai --format shell --reveal",
        "export-env acme/evals",
    ] {
        let script = format!("eval \"$({program} {source})\"; printf %s \"$OPENAI_API_KEY\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTAIL_HOME", sandbox.home())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), key);
    }
    let exported = sandbox
        .lease(&["export-env", "acme/evals", "--json"])
        .ok()
        .json();
    assert_eq!(exported["unset"], serde_json::json!([]));
    assert_eq!(exported["variables"]["OPENAI_API_KEY"], key);
    assert_eq!(exported["variables"]["AWS_CONFIG_FILE"], "/dev/null");
    let lease = sandbox
        .lease(&[
            "resolve",
            "acme/evals",
            "openai",
            "--format",
            "env",
            "--reveal",
        ])
        .ok();
    assert_eq!(lease.stdout, format!("OPENAI_API_KEY={key}\n"));
    let lease = sandbox
        .lease(&[
            "resolve",
            "acme/evals",
            "openai",
            "--format",
            "dotenv",
            "--reveal",
        ])
        .ok();
    assert_eq!(lease.stdout, format!("OPENAI_API_KEY='{key}'\n"));
}

#[test]
fn a_shell_does_not_execute_commands_in_a_value() {
    let (sandbox, _) = Sandbox::with_acme();
    let touched = sandbox.path("touched");
    for key in [
        format!(
            "key`touch${{IFS}}{0}`$(touch${{IFS}}{0})0123456789abcdef",
            touched.display()
        ),
        format!(
            "key'`touch${{IFS}}{0}`$(touch${{IFS}}{0})\"0123456789abcdef",
            touched.display()
        ),
    ] {
        sandbox.watch_for(&key);
        sandbox
            .entail_with(&["credential", "set", "acme", "openai", "--stdin"], &key)
            .ok();
        for format in ["dotenv", "shell"] {
            let script = format!(
                "{} resolve acme openai --reveal --format {format} > env && . ./env && printf %s \"$OPENAI_API_KEY\"",
                env!("CARGO_BIN_EXE_entail")
            );
            let output = Command::new("sh")
                .args(["-c", &script])
                .current_dir(sandbox.path(""))
                .env("ENTAIL_HOME", sandbox.home())
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), key, "{format}");
            assert!(!touched.exists(), "{format}");
        }
    }
}

#[test]
fn output_is_coloured_only_on_a_terminal() {
    let (sandbox, _) = Sandbox::with_acme();
    for arguments in [
        &["status"][..],
        &["explain", "acme/agents", "openai"],
        &["--help"],
        &["doctor"],
    ] {
        let ran = sandbox.entail(arguments);
        assert!(
            !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
            "{arguments:?}"
        );
    }
}

#[test]
fn errors_are_json_if_json_is_requested() {
    let (sandbox, _) = Sandbox::with_acme();
    let ran = sandbox
        .entail(&["resolve", "acme/agents", "openai", "--json"])
        .fails(10);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["code"], "refused");
    assert_eq!(error["error"]["refusal"], "not-opted-in");
    assert_eq!(
        error["error"]["remedies"][0],
        "entail inherit acme/agents openai"
    );
}

#[test]
fn help_lists_the_exit_codes_and_every_shell_has_completions() {
    let sandbox = Sandbox::new();
    sandbox
        .entail(&["--help"])
        .ok()
        .prints("10  refused by the policy")
        .prints("17  the decision cannot be recorded");
    for shell in ["bash", "zsh", "fish"] {
        sandbox
            .entail(&["completions", shell])
            .ok()
            .prints("entail");
    }
}

#[test]
fn a_full_or_closed_output_does_not_crash() {
    let (sandbox, _) = Sandbox::with_acme();
    let program = env!("CARGO_BIN_EXE_entail");
    for (script, code) in [
        (format!("{program} status > /dev/full"), 1),
        (format!("{program} completions bash | true"), 0),
    ] {
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env("ENTAIL_HOME", sandbox.home());
        let ran = sandbox.run(command, "").fails(code);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn decide_prints_one_decision_per_line_without_a_home() {
    let sandbox = Sandbox::new();
    let facts = r#"{"request":{"provider":"openai","now_ms":1},"chain":[{"path":"acme","credentials":[{"id":"1","name":"a"}]}]}"#;
    let ran = sandbox
        .entail_with(&["policy", "decide"], &format!("{facts}\n\n{facts}\n"))
        .ok();
    let answers: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(answers.len(), 2);
    let answer: serde_json::Value = serde_json::from_str(answers[0]).unwrap();
    assert_eq!(answer["granted"]["credential"], "1");
    sandbox
        .entail_with(&["policy", "decide"], "{}\n")
        .fails(19)
        .prints("line 1");
    let invalid = facts.replace("\"acme\"", "\"acme/evals\"");
    sandbox
        .entail_with(&["policy", "decide"], &invalid)
        .fails(12)
        .prints("the organization");
}
