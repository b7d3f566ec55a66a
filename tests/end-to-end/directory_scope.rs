//! The scope of a directory: commands that need no scope argument, and files that must be
//! allowed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{RunOutput, Sandbox};

/// The program in a directory of the sandbox. Creates the directory.
fn command_in(sandbox: &Sandbox, directory: &str, arguments: &[&str]) -> Command {
    std::fs::create_dir_all(sandbox.path(directory)).unwrap();
    let mut command = sandbox.command(arguments);
    command.current_dir(sandbox.path(directory));
    command
}

fn entail_in(sandbox: &Sandbox, directory: &str, arguments: &[&str]) -> RunOutput {
    sandbox.run(command_in(sandbox, directory, arguments), "")
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The only record of an allowed file.
fn record(sandbox: &Sandbox) -> std::path::PathBuf {
    let mut records = std::fs::read_dir(sandbox.home().join("allowed-scopes")).unwrap();
    let record = records.next().unwrap().unwrap().path();
    assert!(records.next().is_none());
    record
}

const PRINT_TAIL: &str = "printf %s \"$OPENAI_API_KEY\" | tail -c 4";

#[test]
fn a_directory_with_a_scope_needs_none_on_the_command_line() {
    let (sandbox, _) = Sandbox::with_acme();
    entail_in(&sandbox, "code", &["use", "acme/evals"])
        .ok()
        .prints("now use the scope acme/evals");
    for directory in ["code", "code/src/deep"] {
        let stdout_of = |arguments: &[&str]| entail_in(&sandbox, directory, arguments).ok().stdout;
        assert_eq!(stdout_of(&["run", "--", "sh", "-c", PRINT_TAIL]), "cdef");
        assert_eq!(
            stdout_of(&["run", "openai", "--", "sh", "-c", PRINT_TAIL]),
            "cdef"
        );
        assert!(stdout_of(&["explain", "openai"]).starts_with("acme/evals openai\n"));
        assert!(stdout_of(&["resolve", "openai"]).starts_with("acme/evals openai: granted"));
        let status = stdout_of(&["status"]);
        assert!(status.contains("acme/evals") && !status.contains("acme/agents"));
        assert!(stdout_of(&["status", "--all"]).contains("acme/agents"));
        let exported = sandbox.lease_of(command_in(&sandbox, directory, &["export-env"]));
        exported.ok().prints("\nexport OPENAI_API_KEY=");
    }
    let report = entail_in(&sandbox, "code/src", &["use", "--json"])
        .ok()
        .json();
    assert_eq!(report["scope"], "acme/evals");
    assert_eq!(report["source"], "file");
    assert_eq!(report["allowed"], true);
}

#[test]
fn everyone_can_read_the_scope_file_and_its_record_is_private() {
    let (sandbox, _) = Sandbox::with_acme();
    let script = format!(
        "umask 022; exec {} use acme/evals",
        env!("CARGO_BIN_EXE_entail")
    );
    let mut command = command_in(&sandbox, "code", &[]);
    let home = sandbox.home();
    command = {
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("ENTAIL_HOME", home);
        shell.current_dir(command.get_current_dir().unwrap());
        shell
    };
    sandbox.run(command, "").ok();
    let file = sandbox.path("code/.entail.toml");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .ends_with("scope = \"acme/evals\"\n")
    );
    assert_eq!(mode(&file), 0o644);
    assert_eq!(mode(&record(&sandbox)), 0o600);
    assert_eq!(mode(record(&sandbox).parent().unwrap()), 0o700);
    // The directory contains no other file.
    assert_eq!(std::fs::read_dir(sandbox.path("code")).unwrap().count(), 1);
}

#[test]
fn a_file_from_a_repository_is_used_only_after_it_is_allowed() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.file("code/.entail.toml", "scope = \"acme/evals\"\n");
    for arguments in [
        &["run", "--", "true"][..],
        &["explain", "openai"],
        &["resolve", "openai"],
        &["export-env"],
        &["status"],
    ] {
        entail_in(&sandbox, "code", arguments)
            .fails(19)
            .prints("code/.entail.toml")
            .prints("acme/evals")
            .prints("entail use --allow");
    }
    entail_in(&sandbox, "code", &["use"])
        .ok()
        .prints("is not allowed");
    // A scope on the command line needs no file.
    entail_in(&sandbox, "code", &["run", "acme/evals", "--", "true"]).ok();
    entail_in(&sandbox, "code", &["use", "--allow"]).ok();
    entail_in(&sandbox, "code", &["run", "--", "true"]).ok();
    entail_in(&sandbox, "code", &["use", "--revoke"]).ok();
    entail_in(&sandbox, "code", &["run", "--", "true"]).fails(19);
    entail_in(&sandbox, "code", &["use", "--revoke"]).fails(19);
}

#[test]
fn a_changed_or_moved_file_must_be_allowed_again() {
    let (sandbox, _) = Sandbox::with_acme();
    entail_in(&sandbox, "code", &["use", "acme/evals"]).ok();
    let before = std::fs::read(sandbox.path("code/.entail.toml")).unwrap();
    sandbox.file("code/.entail.toml", "scope = \"acme\"\n");
    entail_in(&sandbox, "code", &["run", "--", "true"])
        .fails(19)
        .prints("sets the scope acme,")
        .prints("entail use --allow");
    sandbox.file("elsewhere/.entail.toml", &before);
    entail_in(&sandbox, "elsewhere", &["run", "--", "true"]).fails(19);
    // With its original contents, the file is allowed again.
    sandbox.file("code/.entail.toml", &before);
    entail_in(&sandbox, "code", &["run", "--", "true"]).ok();
    // A file that is no longer valid can be revoked.
    sandbox.file("code/.entail.toml", "scope = 1\n");
    entail_in(&sandbox, "code", &["use", "--allow"]).fails(19);
    entail_in(&sandbox, "code", &["use", "--revoke"]).ok();
    sandbox.file("code/.entail.toml", &before);
    entail_in(&sandbox, "code", &["run", "--", "true"]).fails(19);
    entail_in(&sandbox, "code", &["use", "--allow"]).ok();
    // A damaged record allows nothing.
    std::fs::write(record(&sandbox), "{").unwrap();
    entail_in(&sandbox, "code", &["run", "--", "true"]).fails(19);
}

#[test]
fn the_variable_overrides_the_nearest_file() {
    let (sandbox, _) = Sandbox::with_acme();
    entail_in(&sandbox, "code", &["use", "acme/evals"]).ok();
    entail_in(&sandbox, "code/inner", &["use", "acme"]).ok();
    entail_in(&sandbox, "code/inner/deep", &["explain", "openai"])
        .ok()
        .prints("acme openai\n");
    let with = |variable: &str, arguments: &[&str]| {
        let mut command = command_in(&sandbox, "code", arguments);
        command.env("ENTAIL_SCOPE", variable);
        sandbox.run(command, "")
    };
    with("acme/agents", &["explain", "openai"])
        .ok()
        .prints("acme/agents openai\n");
    with("acme/agents", &["use"])
        .ok()
        .prints("acme/agents, from the variable ENTAIL_SCOPE");
    with("", &["explain", "openai"])
        .ok()
        .prints("acme/evals openai\n");
    with("Acme", &["explain", "openai"])
        .fails(19)
        .prints("ENTAIL_SCOPE");
    with("acme/nowhere", &["run", "--", "true"])
        .fails(18)
        .prints("acme/nowhere");
}

#[test]
fn the_first_argument_is_the_scope_unless_it_can_only_be_a_provider() {
    let (sandbox, _) = Sandbox::with_acme();
    entail_in(&sandbox, "code", &["use", "acme/evals"]).ok();
    let explained = |arguments: &[&str]| entail_in(&sandbox, "code", arguments);
    explained(&["explain", "openai"])
        .ok()
        .prints("acme/evals openai\n");
    explained(&["explain", "acme", "openai"])
        .ok()
        .prints("acme openai\n");
    explained(&["explain", "acme"])
        .fails(2)
        .prints("no provider is given for the scope acme")
        .prints("entail explain acme PROVIDER");
    explained(&["explain", "opnai"])
        .fails(2)
        .prints("opnai is not a provider or a scope");
    explained(&["explain"])
        .fails(2)
        .prints("try: entail explain PROVIDER");
    // An organization with this name takes precedence.
    sandbox.entail(&["init", "openai"]).ok();
    explained(&["explain", "openai"])
        .fails(2)
        .prints("no provider is given for the scope openai");
    explained(&["run", "openai", "--", "true"])
        .fails(10)
        .prints("openai gets no credential");
}

#[test]
fn a_provider_without_a_scope_lists_the_existing_scopes() {
    let (sandbox, _) = Sandbox::with_acme();
    let ran = entail_in(
        &sandbox,
        "code",
        &["run", "openai", "--model", "gpt-5", "--", "pytest", "-x"],
    );
    let stderr = ran.fails(2).stderr;
    for line in [
        "error: openai is a provider, and the scope comes first",
        "try: entail run acme/agents --provider openai --model gpt-5 -- pytest -x",
        "try: entail run acme/evals --provider openai --model gpt-5 -- pytest -x",
        "try: entail run acme --provider openai --model gpt-5 -- pytest -x",
        "entail use SCOPE",
    ] {
        assert!(stderr.contains(line), "{line} is not in:\n{stderr}");
    }
    entail_in(
        &sandbox,
        "code",
        &[
            "resolve",
            "openai",
            "--attribute",
            "session=a b",
            "--name",
            "x",
            "--reveal",
            "--format",
            "env",
        ],
    )
    .fails(2)
    .prints("try: entail resolve acme/evals openai --name x --attribute 'session=a b' --reveal --format env");
    entail_in(&sandbox, "code", &["run", "--", "true"])
        .fails(2)
        .prints("no scope is given")
        .prints("entail run acme/evals -- true");
    sandbox.entail(&["project", "add", "acme/openai"]).ok();
    entail_in(&sandbox, "code", &["export-env", "openai"])
        .fails(2)
        .prints("did you mean the scope acme/openai?");
}

#[test]
fn a_suggestion_repeats_nothing_that_may_be_a_key() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    entail_in(&sandbox, "code", &["run", "openai", "--", "curl", &key])
        .fails(2)
        .prints("-- COMMAND");
    entail_in(
        &sandbox,
        "code",
        &["resolve", "openai", "--attribute", &key],
    )
    .fails(2);
}

#[test]
fn a_missing_scope_is_not_written() {
    let (sandbox, _) = Sandbox::with_acme();
    entail_in(&sandbox, "code", &["use", "acme/evls"])
        .fails(18)
        .prints("acme/evls");
    assert!(!sandbox.path("code/.entail.toml").exists());
    entail_in(&sandbox, "code", &["use"])
        .ok()
        .prints("no scope is set");
    entail_in(&sandbox, "code", &["use", "--allow"]).fails(18);
}

#[test]
fn anything_but_a_small_regular_file_is_an_error_and_does_not_block() {
    let (sandbox, _) = Sandbox::with_acme();
    let refused = |directory: &str, problem: &str| {
        entail_in(&sandbox, directory, &["run", "--", "true"])
            .fails(19)
            .prints(".entail.toml")
            .prints(problem);
    };
    std::fs::create_dir_all(sandbox.path("pipe")).unwrap();
    let status = Command::new("mkfifo")
        .arg(sandbox.path("pipe/.entail.toml"))
        .status();
    assert!(status.unwrap().success());
    refused("pipe", "a named pipe");
    std::fs::create_dir_all(sandbox.path("directory/.entail.toml")).unwrap();
    refused("directory", "a directory");
    entail_in(&sandbox, "directory", &["use", "acme"])
        .fails(19)
        .prints("not a regular file");
    sandbox.file("large/.entail.toml", "#".repeat(5000));
    refused("large", "larger than 4096 bytes");
    for (name, content) in [
        ("unknown", "scope = \"acme\"\nexec = \"x\"\n"),
        ("none", ""),
        ("name", "scope = \"../acme\"\n"),
        ("twice", "scope = \"acme\"\nscope = \"acme/evals\"\n"),
    ] {
        sandbox.file(&format!("{name}/.entail.toml"), content);
        refused(name, "entail use SCOPE");
    }
}

#[test]
fn a_path_that_is_not_utf8_works_and_is_represented_in_json() {
    use std::os::unix::ffi::OsStrExt as _;

    let (sandbox, _) = Sandbox::with_acme();
    let directory = sandbox
        .path("")
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&directory).unwrap();
    let inside = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.current_dir(&directory);
        sandbox.run(command, "").ok()
    };
    inside(&["use", "acme/evals"]);
    assert_eq!(inside(&["use", "--json"]).json()["allowed"], true);
    inside(&["run", "--", "true"]);
}
