//! What the help of each command shows, and that its examples are valid commands.

use std::process::Command;

use crate::sandbox::Sandbox;

/// The commands that a help lists, by name.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The help of every command, with the words of the command.
pub fn help_of_every_command(sandbox: &Sandbox) -> Vec<(Vec<String>, String)> {
    let mut all = Vec::new();
    let mut pending: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(words) = pending.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = sandbox.entail(&arguments).ok().stdout;
        for name in listed(&help) {
            pending.push([&words[..], &[name]].concat());
        }
        all.push((words, help));
    }
    all
}

fn examples(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Examples:")
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("entail ") || line.starts_with("eval "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_shows_examples_and_lists_global_options_separately() {
    let sandbox = Sandbox::new();
    let all = help_of_every_command(&sandbox);
    assert!(all.len() > 50, "{}", all.len());
    for (words, help) in &all {
        let (own, global) = help
            .split_once("\nGlobal options:\n")
            .unwrap_or_else(|| panic!("{words:?} has no global options:\n{help}"));
        for option in [
            "--home",
            "--json",
            "--passphrase-file",
            "--identity-fd",
            "--signer-fd",
        ] {
            assert!(global.contains(option), "{words:?}: {option}\n{help}");
            assert!(!own.contains(&format!("  {option}")), "{words:?}: {option}");
        }
        let is_exempt = words.is_empty() || words[0] == "help";
        assert!(is_exempt || !examples(help).is_empty(), "{words:?}\n{help}");
    }
}

#[test]
fn every_example_is_a_valid_command_line() {
    let sandbox = Sandbox::new();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_entail"));
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    for (number, example) in help_of_every_command(&sandbox)
        .iter()
        .flat_map(|(_, help)| examples(help))
        .enumerate()
    {
        // Without a home, the examples fail early.
        let directory = sandbox.path(&format!("{number}"));
        std::fs::create_dir(&directory).unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-c", &example])
            .env_clear()
            .env("PATH", &path)
            .env("HOME", &directory)
            .env("ENTAIL_SCOPE", "acme/evals")
            .env("ENTAIL_HOME", directory.join("home"))
            .current_dir(&directory);
        let ran = sandbox.run(command, "");
        let is_usage = ran.stderr.contains("Usage:") || ran.stderr.contains("for more information");
        assert!(
            !is_usage && ran.code != Some(2),
            "{example}\n{}",
            ran.stderr
        );
    }
}

#[test]
fn help_lists_the_commands_by_task_and_shows_the_help_of_each() {
    let sandbox = Sandbox::new();
    let tasks = sandbox.entail(&["help"]).ok().stdout;
    for line in [
        "Start",
        "entail init ORG",
        "entail import [PATH…]",
        "entail run SCOPE -- COMMAND",
        "entail use SCOPE",
        "entail restore FILE --recovery KEY",
    ] {
        assert!(tasks.contains(line), "{line} is not in:\n{tasks}");
    }
    for words in [
        &["run"][..],
        &["credential", "set"],
        &["key", "rotate", "signer"],
    ] {
        let help_command = [&["help"], words].concat();
        let help_option = [words, &["--help"]].concat();
        assert_eq!(
            sandbox.entail(&help_command).ok().stdout,
            sandbox.entail(&help_option).ok().stdout
        );
    }
    sandbox
        .entail(&["help", "credentials"])
        .fails(2)
        .prints("there is no command")
        .prints("credential");
    sandbox
        .entail(&["help", "credential", "sett"])
        .fails(2)
        .prints("one of: set, rotate");
}

#[test]
fn a_usage_error_names_the_missing_arguments_and_no_options() {
    let sandbox = Sandbox::new();
    let stderr = sandbox
        .entail(&["credential", "show", "--name", "x", "acme"])
        .fails(2)
        .stderr;
    assert!(
        stderr.contains("Usage: entail credential show [OPTIONS] <SCOPE> <PROVIDER>"),
        "{stderr}"
    );
    let stderr = sandbox
        .entail(&["run", "acme", "--pristine"])
        .fails(2)
        .stderr;
    assert!(
        stderr.contains("Usage: entail run [OPTIONS] [SCOPE] -- <COMMAND>..."),
        "{stderr}"
    );
}
