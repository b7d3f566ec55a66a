//! The files in the guides for other tools work unchanged.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{RunOutput, Sandbox};

fn page(name: &str) -> String {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guides");
    std::fs::read_to_string(guides.join(name)).unwrap()
}

/// The block of a page that follows the line `before`.
fn block(page: &str, before: &str) -> String {
    let (_, after) = page
        .split_once(&format!("{before}\n"))
        .unwrap_or_else(|| panic!("{before} is not in the page"));
    let mut lines = after.lines().skip_while(|line| !line.starts_with("```"));
    lines.next().unwrap();
    let block: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    block.join("\n") + "\n"
}

/// A repository whose scope is `acme/evals`, and whose one test fails without its key.
fn repository(sandbox: &Sandbox) -> PathBuf {
    sandbox.file(
        "code/test_key.py",
        "import os, unittest\n\nclass Key(unittest.TestCase):\n    def test_it_is_there(self):\n        self.assertTrue(os.environ[\"OPENAI_API_KEY\"].endswith(\"cdef\"))\n        self.assertNotIn(\"MISTRAL_API_KEY\", os.environ)\n",
    );
    let directory = sandbox.path("code");
    let mut command = sandbox.command(&["use", "acme/evals"]);
    command.current_dir(&directory);
    sandbox.run(command, "").ok();
    directory
}

/// Runs a program that finds `entail` in its path, with stray keys in its environment.
fn run(sandbox: &Sandbox, directory: &Path, program: &str, arguments: &[&str]) -> RunOutput {
    let entail = Path::new(env!("CARGO_BIN_EXE_entail")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", format!("{}:{path}", entail.display()))
        .env("HOME", sandbox.path("user"))
        .env("ENTAIL_HOME", sandbox.home())
        .env("OPENAI_API_KEY", "stray")
        .env("MISTRAL_API_KEY", "stray");
    sandbox.run(command, "")
}

#[test]
fn the_makefile_gives_its_target_the_key() {
    let (sandbox, _) = Sandbox::with_acme();
    let directory = repository(&sandbox);
    sandbox.file("code/Makefile", block(&page("make.md"), "`Makefile`"));
    run(&sandbox, &directory, "make", &["test"])
        .ok()
        .prints("OK");
    run(&sandbox, &directory, "make", &["test", "RUN="]).fails(2);
    sandbox
        .entail(&["inherit", "acme/evals", "openai", "--off"])
        .ok();
    run(&sandbox, &directory, "make", &["test"])
        .fails(2)
        .prints("entail inherit acme/evals openai");
}

#[test]
fn the_envrc_sets_what_is_granted_and_clears_what_is_not() {
    let (sandbox, _) = Sandbox::with_acme();
    let directory = repository(&sandbox);
    sandbox.file("code/.envrc", block(&page("direnv.md"), "`.envrc`"));
    run(&sandbox, &directory, "direnv", &["allow", "."]).ok();
    let test = &["exec", ".", "python3", "-m", "unittest"];
    run(&sandbox, &directory, "direnv", test).ok().prints("OK");
    // Without a grant the command does not run, even with stray keys.
    sandbox.file("code/.entail.toml", "scope = \"acme\"\n");
    run(&sandbox, &directory, "direnv", test)
        .fails(1)
        .prints("entail use --allow");
}

#[test]
fn the_task_of_the_editor_gets_the_key() {
    let (sandbox, _) = Sandbox::with_acme();
    let directory = repository(&sandbox);
    let tasks = block(&page("vscode.md"), "`.vscode/tasks.json`");
    let tasks: serde_json::Value = serde_json::from_str(&tasks).unwrap();
    let task = &tasks["tasks"][0];
    let arguments: Vec<&str> = task["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap())
        .collect();
    let program = task["command"].as_str().unwrap();
    run(&sandbox, &directory, program, &arguments)
        .ok()
        .prints("OK");
    let settings = block(&page("vscode.md"), "`.vscode/settings.json`");
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let profile = &settings["terminal.integrated.profiles.linux"]["entail"];
    assert_eq!(profile["path"], "entail");
    assert_eq!(profile["args"], serde_json::json!(["run", "--", "bash"]));
}

#[test]
fn the_variables_of_the_compose_file_are_those_of_the_provider() {
    let (sandbox, _) = Sandbox::with_acme();
    let file = block(&page("docker-compose.md"), "`compose.yaml`");
    let named: Vec<&str> = file
        .lines()
        .skip_while(|line| line.trim() != "environment:")
        .filter_map(|line| line.trim().strip_prefix("- "))
        .collect();
    let providers = sandbox.entail(&["providers", "openai"]).ok().stdout;
    assert!(!named.is_empty());
    for variable in named {
        assert!(providers.contains(variable), "{variable}");
    }
}

#[test]
fn the_steps_of_the_workflow_restore_a_home_and_run_with_it() {
    let sandbox = Sandbox::new();
    let key = sandbox.canary();
    let directory = repository_of_the_workflow(&sandbox, &key);
    let page = page("github-actions.md");
    let setup = block(
        &page,
        "On your machine, in the repository, with the key in a file `openai.key` outside of it:",
    );
    shell(&sandbox, &directory, &setup, &[]).ok();
    let secret = std::fs::read_to_string(directory.join("ci.key")).unwrap();
    std::fs::remove_file(directory.join("ci.key")).unwrap();
    let workflow = block(&page, "`.github/workflows/evals.yml`");
    let restore = script(&workflow, "Restore the home");
    let tests = script(&workflow, "Run the evaluations");
    let home = sandbox.path("runner/home");
    let variables = [
        ("ENTAIL_HOME", home.to_str().unwrap()),
        ("ENTAIL_SCOPE", "acme/ci"),
        ("ENTAIL_CI_KEY", secret.trim_end()),
        ("RUNNER_TEMP", directory.to_str().unwrap()),
    ];
    shell(&sandbox, &directory, &restore, &variables).ok();
    assert!(!directory.join("ci.key").exists());
    shell(&sandbox, &directory, &tests, &variables)
        .ok()
        .prints("OK");
}

fn repository_of_the_workflow(sandbox: &Sandbox, key: &str) -> PathBuf {
    sandbox.file("openai.key", key);
    sandbox.file(
        "code/test_key.py",
        "import os, unittest\n\nclass Key(unittest.TestCase):\n    def test_it_is_there(self):\n        self.assertTrue(os.environ[\"OPENAI_API_KEY\"].endswith(\"cdef\"))\n",
    );
    sandbox.path("code")
}

/// Runs a script as GitHub does: it stops at the first error.
fn shell(
    sandbox: &Sandbox,
    directory: &Path,
    script: &str,
    variables: &[(&str, &str)],
) -> RunOutput {
    let entail = Path::new(env!("CARGO_BIN_EXE_entail")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-e", "-o", "pipefail", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", format!("{}:{path}", entail.display()))
        .env("HOME", sandbox.path("user"))
        .envs(variables.iter().copied());
    let output = Sandbox::output(command, "");
    // The variables contain secrets, so the command is not recorded.
    let ran = RunOutput {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    };
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("canary") && !text.contains("AGE-SECRET-KEY-1"));
    }
    ran
}

/// The script of a step in a workflow.
fn script(workflow: &str, step: &str) -> String {
    let (_, after) = workflow.split_once(&format!("- name: {step}\n")).unwrap();
    let (_, run) = after.split_once("run: ").unwrap();
    match run.strip_prefix("|\n") {
        None => run.lines().next().unwrap().to_owned(),
        Some(lines) => {
            let indented = lines
                .lines()
                .take_while(|line| line.starts_with("          "));
            indented.map(str::trim_start).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn every_page_is_listed() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guides");
    let index = page("README.md");
    for entry in std::fs::read_dir(&guides).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "{name}"
        );
    }
}
