//! Input typed at a terminal.

use crate::sandbox::Sandbox;
use crate::terminal::ScriptedUser;

/// A service account as long as a real one.
fn account(sandbox: &Sandbox) -> String {
    let key = format!("canary{}", "0123456789abcdef".repeat(100));
    sandbox.watch_for(&key[..64]);
    let lines: Vec<String> = key
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let account = serde_json::json!({
        "type": "service_account", "project_id": "p1", "private_key_id": "0".repeat(900),
        "client_email": "a@p1.iam.gserviceaccount.com",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")),
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    let text = format!("{account:#}");
    assert!(text.len() > 2_800, "{}", text.len());
    text
}

fn secret(sandbox: &Sandbox, provider: &str, field: &str) -> String {
    let lease = sandbox
        .lease(&["resolve", "acme", provider, "--reveal", "--json"])
        .ok();
    lease.json()["secrets"][field].as_str().unwrap().to_owned()
}

#[test]
fn json_of_many_lines_is_read_whole_and_nothing_is_left_for_the_shell() {
    let (sandbox, _) = Sandbox::with_acme();
    let account = account(&sandbox);
    let script = "\"$0\" credential set acme vertex-ai; echo code=$?; \
                  IFS= read -r -t 1 rest; echo \"rest=[$rest]\"; stty -a";
    let session = ScriptedUser::script(&sandbox, script)
        .at("(hidden): ", &format!("{account}\n"))
        .run();
    assert_eq!(session.hidden, [true]);
    let ran = session
        .ran
        .ok()
        .prints("code=0")
        .prints("rest=[]")
        .prints(" icanon");
    assert!(ran.stdout.contains(" echo "), "{}", ran.stdout);
    assert_eq!(
        secret(&sandbox, "vertex-ai", "service_account_json"),
        account
    );
}

#[test]
fn json_without_a_final_line_break_and_base64_of_several_lines_are_read() {
    let (sandbox, _) = Sandbox::with_acme();
    let account = account(&sandbox);
    let rotate = ["credential", "rotate", "acme", "vertex-ai"];
    sandbox
        .entail_with(&["credential", "set", "acme", "vertex-ai"], &account)
        .ok();
    ScriptedUser::entail(&sandbox, &rotate)
        .at("(hidden): ", &account)
        .run()
        .ran
        .ok()
        .prints("version 2");
    let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &account);
    let lines: Vec<&str> = (0..base64.len().div_ceil(76))
        .map(|line| &base64[line * 76..base64.len().min(line * 76 + 76)])
        .collect();
    ScriptedUser::entail(&sandbox, &rotate)
        .at("(hidden): ", &format!("{}\n", lines.join("\n")))
        .run()
        .ran
        .ok()
        .prints("version 3");
    assert_eq!(
        secret(&sandbox, "vertex-ai", "service_account_json"),
        account
    );
}

#[test]
fn a_line_of_more_than_4095_characters_is_not_cut() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = format!("{}{}", sandbox.canary(), "x1".repeat(3_000));
    assert!(key.len() > 6_000);
    ScriptedUser::entail(&sandbox, &["credential", "set", "acme", "xai"])
        .at("(hidden): ", &format!("{key}\n"))
        .run()
        .ran
        .ok();
    assert_eq!(secret(&sandbox, "xai", "api_key"), key);
}

#[test]
fn a_line_can_be_edited() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let typed = format!("wrong\u{15}one two\u{17}\u{7f}\u{7f}\u{7f}\u{7f}{key}öx\u{7f}\u{7f}\n");
    ScriptedUser::entail(&sandbox, &["credential", "set", "acme", "xai"])
        .at("(hidden): ", &typed)
        .run()
        .ran
        .ok();
    assert_eq!(secret(&sandbox, "xai", "api_key"), key);
    // Ctrl-D ends the line, too.
    let other = sandbox.canary();
    ScriptedUser::entail(&sandbox, &["credential", "rotate", "acme", "xai"])
        .at("(hidden): ", &format!("{other}\u{4}"))
        .run()
        .ran
        .ok();
    assert_eq!(secret(&sandbox, "xai", "api_key"), other);
}

#[test]
fn several_lines_for_a_one_line_prompt_are_refused_and_discarded() {
    let (sandbox, key) = Sandbox::with_acme();
    let script = "\"$0\" credential rotate acme openai; echo code=$?; \
                  IFS= read -r -t 1 rest; echo \"rest=[$rest]\"";
    let (first, second) = (sandbox.canary(), sandbox.canary());
    ScriptedUser::script(&sandbox, script)
        .at("(hidden): ", &format!("{first}\n{second}\necho owned\n"))
        .run()
        .ran
        .ok()
        .prints("several lines")
        .prints("code=19")
        .prints("rest=[]");
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn input_typed_before_the_prompt_is_discarded_with_a_notice() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let script = "echo ready; sleep 1; \"$0\" credential rotate acme openai";
    ScriptedUser::script(&sandbox, script)
        .at("ready", "half of a key\n")
        .at("(hidden): ", &format!("{key}\n"))
        .run()
        .ran
        .ok()
        .prints("discarded");
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn an_interrupted_prompt_leaves_the_terminal_as_it_was() {
    let (sandbox, key) = Sandbox::with_acme();
    let script = "trap : INT; \"$0\" credential rotate acme openai; echo code=$?; stty -a";
    let ran = ScriptedUser::script(&sandbox, script)
        .at("(hidden): ", "abc\u{3}")
        .run()
        .ran
        .ok()
        .prints("code=130")
        .prints(" icanon");
    assert!(ran.stdout.contains(" echo "), "{}", ran.stdout);
    assert_eq!(sandbox.revealed_key(), key);
}

#[test]
fn a_passphrase_is_asked_for_at_the_terminal_when_standard_input_is_redirected() {
    let sandbox = Sandbox::new();
    let passphrase = sandbox.canary();
    ScriptedUser::entail(&sandbox, &["init", "acme", "--passphrase"])
        .at("New passphrase", &format!("{passphrase}\n"))
        .at("Repeat the passphrase", &format!("{passphrase}\n"))
        .run()
        .ran
        .ok();
    let key = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme", "openai"], &key)
        .ok();
    let file = sandbox.file("input", "a line for the command\n");
    let session = ScriptedUser::entail(&sandbox, &["run", "acme", "--", "cat"])
        .with_stdin(&file)
        .at("Passphrase of the identity", &format!("{passphrase}\n"))
        .run();
    assert_eq!(session.hidden, [true]);
    session.ran.ok().prints("a line for the command");
}

#[test]
fn widening_and_destructive_changes_ask_for_confirmation_at_a_terminal() {
    let (sandbox, _) = Sandbox::with_acme();
    let declined = |arguments: &[&str], printed: &str| {
        ScriptedUser::entail(&sandbox, arguments)
            .at("Continue? [y/N] ", "\n")
            .run()
            .ran
            .fails(1)
            .prints(printed)
            .prints("nothing was changed");
    };
    declined(&["inherit", "acme/agents", "openai"], "acme/agents openai");
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    let share = ["credential", "set", "acme", "openai", "--share", "none"];
    declined(&share, "acme/evals openai");
    declined(&["credential", "disable", "acme", "openai"], "narrowed");
    declined(&["credential", "remove", "acme", "openai"], "is removed");
    sandbox
        .entail_with(
            &["credential", "set", "acme/agents", "xai"],
            &sandbox.canary(),
        )
        .ok();
    declined(&["project", "remove", "acme/agents"], "acme/agents xai");
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();

    ScriptedUser::entail(&sandbox, &["inherit", "acme/agents", "openai"])
        .at("Continue? [y/N] ", "y\n")
        .run()
        .ran
        .ok();
    sandbox.entail(&["resolve", "acme/agents", "openai"]).ok();
    let yes = ["credential", "disable", "acme", "openai", "--yes"];
    ScriptedUser::entail(&sandbox, &yes).run().ran.ok();
    sandbox
        .entail(&["resolve", "acme/agents", "openai"])
        .fails(10);
    // A change that affects no other scope needs no confirmation.
    let enable = ["credential", "set", "acme/agents", "xai", "--priority", "3"];
    ScriptedUser::entail(&sandbox, &enable).run().ran.ok();
}
