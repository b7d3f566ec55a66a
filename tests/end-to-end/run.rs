//! `entail run`: what the command receives, and how it exits.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{RunOutput, Sandbox};

const ACCOUNT: &str = r#"{"type": "service_account", "project_id": "p1", "client_email": "a@p1.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----\ncanaryofarunningkey0123456789ABCDEF\n-----END PRIVATE KEY-----\n"}"#;

pub fn with_account() -> Sandbox {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox.watch_for("canaryofarunningkey0123456789ABCDEF");
    sandbox
        .entail_with(&["credential", "set", "acme", "vertex-ai"], ACCOUNT)
        .ok();
    sandbox.entail(&["inherit", "acme/evals", "vertex-ai"]).ok();
    sandbox
}

#[test]
fn the_command_gets_the_granted_key_and_no_other_key() {
    let (sandbox, key) = Sandbox::with_acme();
    let stray = sandbox.canary();
    let mut command = sandbox.command(&["run", "acme/evals", "--", "env"]);
    command
        .env("OPENAI_API_KEY", &stray)
        .env("OPENAI_BASE_URL", "https://evil.example")
        .env("OPENAI_API_BASE", "https://evil.example")
        .env("ANTHROPIC_API_KEY", &stray)
        .env("ANTHROPIC_AUTH_TOKEN", &stray)
        .env("AWS_SECRET_ACCESS_KEY", &stray)
        .env("MINE", "kept");
    let output = sandbox_output(command);
    assert!(
        output.contains(&format!("OPENAI_API_KEY={key}\n")),
        "{output}"
    );
    assert!(output.contains("MINE=kept\n"));
    assert!(
        !output.contains(&stray) && !output.contains("evil.example"),
        "{output}"
    );
}

#[test]
fn a_pristine_command_gets_only_the_granted_variables() {
    let (sandbox, key) = Sandbox::with_acme();
    let output = sandbox
        .lease(&["run", "acme/evals", "--pristine", "--", "env"])
        .ok()
        .stdout;
    let mut lines: Vec<&str> = output.lines().collect();
    lines.retain(|line| {
        let (name, _) = line.split_once('=').unwrap();
        !LOOKUP_BLOCKERS.contains(&name)
    });
    assert_eq!(lines, [format!("OPENAI_API_KEY={key}")]);
}

/// Variables that stop clients from searching files and metadata services for credentials.
const LOOKUP_BLOCKERS: [&str; 11] = [
    "ANTHROPIC_CONFIG_DIR",
    "AWS_CONFIG_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BOTO_CONFIG",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "LITELLM_MODE",
    "METADATA_SERVER_DETECTION",
    "NO_GCE_CHECK",
];

#[test]
fn run_exits_with_the_status_of_the_command() {
    for sandbox in [Sandbox::with_acme().0, with_account()] {
        let run = |script: &str| sandbox.entail(&["run", "acme/evals", "--", "sh", "-c", script]);
        run("exit 0").fails(0);
        run("exit 42").fails(42);
        assert_eq!(run("kill -KILL $$").code, None);
        sandbox
            .entail(&["run", "acme/evals", "--", "no-such-program"])
            .fails(127);
        sandbox
            .entail(&["run", "acme/evals", "--", "/dev/null"])
            .fails(126);
    }
}

#[test]
fn standard_input_goes_to_the_command() {
    let sandbox = with_account();
    sandbox
        .entail_with(&["run", "acme/evals", "--", "cat"], "through")
        .ok()
        .prints("through");
}

#[test]
fn a_file_valued_variable_names_a_private_file_that_is_removed_afterwards() {
    let sandbox = with_account();
    let script = "printf '%s\\n' \"$GOOGLE_APPLICATION_CREDENTIALS\"; stat -c %a \"$GOOGLE_APPLICATION_CREDENTIALS\"; cat \"$GOOGLE_APPLICATION_CREDENTIALS\"";
    let output = sandbox
        .lease(&["run", "acme/evals", "--", "sh", "-c", script])
        .ok()
        .stdout;
    let mut lines = output.splitn(3, '\n');
    let path = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), Some("600"));
    assert_eq!(lines.next(), Some(ACCOUNT));
    assert!(!Path::new(&path).exists());
    assert!(!Path::new(&path).parent().unwrap().exists());
}

/// Runs a script that gets the private file, with this `XDG_RUNTIME_DIR`.
fn run_with_file(sandbox: &Sandbox, runtime: Option<&Path>, script: &str) -> RunOutput {
    let mut command = sandbox.command(&["run", "acme/evals", "--", "sh", "-c", script]);
    if let Some(runtime) = runtime {
        command.env("XDG_RUNTIME_DIR", runtime);
    }
    sandbox.run(command, "")
}

/// Creates a directory with this mode.
fn directory(sandbox: &Sandbox, name: &str, mode: u32) -> PathBuf {
    let path = sandbox.path(name);
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_file_that_replaces_the_private_file_is_neither_written_nor_read() {
    let sandbox = with_account();
    let target = sandbox.path("target");
    std::fs::write(&target, "not to be touched").unwrap();
    let runtime = directory(&sandbox, "runtime", 0o700);
    let replace = [
        format!("rm $F; ln -s {} $F", target.display()),
        format!("rm $F; ln {} $F", target.display()),
        "rm $F; truncate -s 1T $F".to_owned(),
        "truncate -s 1T $F".to_owned(),
        "rm $F; mkfifo $F".to_owned(),
        "rm $F; ln -s /dev/full $F".to_owned(),
        "rm $F".to_owned(),
    ];
    for replace in replace {
        let script = format!("F=$GOOGLE_APPLICATION_CREDENTIALS; {replace}; echo went on");
        let started = Instant::now();
        run_with_file(&sandbox, Some(&runtime), &script)
            .ok()
            .prints("went on");
        assert!(started.elapsed() < Duration::from_secs(20), "{replace}");
        assert_eq!(
            std::fs::read_to_string(&target).unwrap(),
            "not to be touched",
            "{replace}"
        );
        let entries = std::fs::read_dir(&runtime).unwrap().count();
        assert_eq!(entries, 0, "{replace}");
    }
}

#[test]
fn a_moved_private_file_is_overwritten_and_other_files_are_kept() {
    let sandbox = with_account();
    let runtime = directory(&sandbox, "runtime", 0o700);
    let moved = sandbox.path("moved");
    let script = format!(
        "F=$GOOGLE_APPLICATION_CREDENTIALS; ln $F {}; echo mine > $(dirname $F)/result",
        moved.display()
    );
    run_with_file(&sandbox, Some(&runtime), &script)
        .ok()
        .prints("is not removed, because the command put files into it");
    let moved = std::fs::read(moved).unwrap();
    assert_eq!(moved, vec![0; ACCOUNT.len()]);
    let entry = std::fs::read_dir(&runtime).unwrap().next().unwrap();
    let result = entry.unwrap().path().join("result");
    assert_eq!(std::fs::read_to_string(result).unwrap(), "mine\n");
}

#[test]
fn a_runtime_directory_of_another_user_is_skipped() {
    let sandbox = with_account();
    let script = "printf %s \"$GOOGLE_APPLICATION_CREDENTIALS\"";
    let location = |runtime: Option<&Path>| {
        let path = run_with_file(&sandbox, runtime, script).ok().stdout;
        Path::new(&path)
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .to_owned()
    };
    let own = directory(&sandbox, "own", 0o700);
    assert_eq!(location(Some(&own)), own);
    let fallback = location(None);
    assert_eq!(fallback, Path::new("/dev/shm"));

    let open = directory(&sandbox, "open", 0o777);
    let linked = open.join("linked");
    symlink(&own, &linked).unwrap();
    let file = sandbox.path("file");
    std::fs::write(&file, "").unwrap();
    for foreign in [&open, &linked, &file, &sandbox.path("nothing")] {
        assert_eq!(location(Some(foreign)), fallback, "{}", foreign.display());
    }
    let theirs = directory(&sandbox, "theirs", 0o700);
    if chown(&theirs, Some(65534), Some(65534)).is_ok() {
        assert_eq!(location(Some(&theirs)), fallback);
        assert_eq!(std::fs::read_dir(&theirs).unwrap().count(), 0);
    } else {
        println!("skipped: only root can give a directory away");
    }
}

#[test]
fn the_command_and_its_children_can_read_the_private_file_repeatedly() {
    let sandbox = with_account();
    // Google's client for Node.js resolves the path first, and requires a regular file that
    // is not a link. A child process that inherits no descriptor can read it, too.
    let script = "import os, subprocess, sys
name = os.environ['GOOGLE_APPLICATION_CREDENTIALS']
assert os.path.realpath(name) == name, name
assert os.path.isfile(name) and not os.path.islink(name)
assert open(name).read() == open(name).read()
sys.stdout.write(subprocess.run(['cat', name], capture_output=True, text=True).stdout)";
    let output = sandbox
        .lease(&["run", "acme/evals", "--", "python3", "-c", script])
        .ok()
        .stdout;
    assert_eq!(output, ACCOUNT);
}

#[test]
fn the_private_file_does_not_outlive_the_command_if_run_is_killed() {
    let sandbox = with_account();
    let report = sandbox.path("report");
    let script = format!(
        "printf '%s %s' $$ \"$GOOGLE_APPLICATION_CREDENTIALS\" > {report}.part; mv {report}.part {report}; exec sleep 60",
        report = report.display()
    );
    let mut child = sandbox
        .command(&["run", "acme/evals", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the command runs", || report.exists());
    let text = std::fs::read_to_string(&report).unwrap();
    let (process, path) = text.split_once(' ').unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The command still runs, so its file must still exist.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_to_string(path).unwrap(), ACCOUNT);
    let killed = Command::new("kill").arg(process).status().unwrap();
    assert!(killed.success());
    until("the file is gone", || !Path::new(path).exists());
    until("its directory is gone", || {
        !Path::new(path).parent().unwrap().exists()
    });
}

pub fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "timed out: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same command with the default action for every signal. The process that runs the
/// tests may ignore signals, as a shell does for background jobs.
pub fn with_default_signals(command: &Command) -> Command {
    let script = "import os, signal, sys
for number in set(range(1, 65)) - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut wrapped = Command::new("python3");
    wrapped
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    wrapped.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    wrapped
}

#[test]
fn a_terminated_run_terminates_the_command_and_removes_the_file() {
    let sandbox = with_account();
    let report = sandbox.path("report");
    let script = format!(
        "printf %s \"$GOOGLE_APPLICATION_CREDENTIALS\" > {report}.part; mv {report}.part {report}; exec sleep 60",
        report = report.display()
    );
    for signal in ["TERM", "HUP", "INT", "ALRM"] {
        let _ = std::fs::remove_file(&report);
        let mut child = with_default_signals(&sandbox.command(&[
            "run",
            "acme/evals",
            "--",
            "sh",
            "-c",
            &script,
        ]))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
        let started = Instant::now();
        while !report.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the command did not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let path = std::fs::read_to_string(&report).unwrap();
        assert!(Path::new(&path).exists());
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert!(
            std::os::unix::process::ExitStatusExt::signal(&status).is_some(),
            "{signal}: {status}"
        );
        assert!(!Path::new(&path).exists(), "{signal}");
    }
}

#[test]
fn signals_ignored_by_the_caller_stay_ignored() {
    for sandbox in [Sandbox::with_acme().0, with_account()] {
        let script = format!(
            "trap '' HUP; exec {} run acme/evals -- sh -c 'kill -HUP $$; echo survived'",
            env!("CARGO_BIN_EXE_entail")
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env("ENTAIL_HOME", sandbox.home());
        sandbox.run(command, "").ok().prints("survived");
    }
}

/// A home in which `acme` has an AWS role.
fn with_role() -> Sandbox {
    let (sandbox, _) = Sandbox::with_acme();
    let role = [
        "--mode",
        "role",
        "--param",
        "role_arn=arn:aws:iam::1:role/x",
        "--param",
        "external_id=acme-7",
        "--param",
        "region=us-east-1",
    ];
    sandbox
        .entail(&[&["credential", "set", "acme", "bedrock"], &role[..]].concat())
        .ok();
    sandbox
}

const RUN_SHELL: [&str; 5] = ["run", "acme", "--", "sh", "-c"];

#[test]
fn a_role_is_assumed_by_a_private_configuration_with_the_callers_own_identity() {
    let sandbox = with_role();
    let stray = sandbox.canary();
    let show = [&RUN_SHELL[..], &["env; cat \"$AWS_CONFIG_FILE\""]].concat();
    let mut command = sandbox.command(&show);
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAMINE")
        .env("AWS_SECRET_ACCESS_KEY", "my-own-secret")
        .env("AWS_BEARER_TOKEN_BEDROCK", &stray)
        .env("AWS_ENDPOINT_URL", "https://evil.example")
        .env("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z");
    let output = sandbox_output(command);
    for line in [
        "AWS_REGION=us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
        "role_arn = arn:aws:iam::1:role/x",
        "external_id = acme-7",
        "aws_secret_access_key = my-own-secret",
    ] {
        assert!(
            output.lines().any(|printed| printed == line),
            "{line}: {output}"
        );
    }
    assert!(output.contains("AWS_PROFILE=entail-role-"), "{output}");
    assert!(
        output.contains("source_profile = entail-source-"),
        "{output}"
    );
    // If these were set too, clients would use them instead of the role.
    for gone in [
        &*stray,
        "evil",
        "AWS_ACCESS_KEY_ID",
        "AWS_CREDENTIAL_EXPIRATION",
    ] {
        assert!(!output.contains(gone), "{gone}: {output}");
    }
}

#[test]
fn keep_is_refused_for_the_variables_of_a_granted_role() {
    let sandbox = with_role();
    let mut command = sandbox.command(&["run", "acme", "--keep", "AWS_PROFILE", "--", "true"]);
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAMINE")
        .env("AWS_SECRET_ACCESS_KEY", "my-own-secret");
    sandbox
        .run(command, "")
        .fails(19)
        .prints("AWS_PROFILE is set for the role that is granted");
}

#[test]
fn a_role_is_refused_without_an_identity_that_can_assume_it() {
    let sandbox = with_role();
    let mut command = sandbox.command(&["run", "acme", "--", "true"]);
    command.env("HOME", sandbox.path("nobody"));
    sandbox
        .run(command, "")
        .fails(16)
        .prints("no AWS identity was found to assume the role arn:aws:iam::1:role/x with");
}

#[test]
fn a_granted_key_that_assumes_a_role_is_not_in_the_environment() {
    let (sandbox, _) = Sandbox::with_acme();
    let key = sandbox.canary();
    let set = [
        "credential",
        "set",
        "acme",
        "bedrock",
        "--param",
        "access_key_id=AKIAGRANTED",
        "--param",
        "role_arn=arn:aws:iam::1:role/x",
        "--param",
        "region=us-east-1",
    ];
    sandbox.entail_with(&set, &key).ok();
    let show = [&RUN_SHELL[..], &["env; echo --; cat \"$AWS_CONFIG_FILE\""]].concat();
    let mut command = sandbox.command(&show);
    command.env("AWS_ACCESS_KEY_ID", "AKIAMINE");
    let output = sandbox_output(command);
    let (environment, configuration) = output.split_once("--\n").unwrap();
    assert!(!environment.contains(&key), "{environment}");
    assert!(!output.contains("AKIAMINE"), "{output}");
    let line = format!("aws_secret_access_key = {key}\n");
    assert!(configuration.contains(&line), "{configuration}");
}

fn sandbox_output(mut command: Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn run_takes_a_model() {
    let (sandbox, _) = Sandbox::with_acme();
    sandbox
        .entail(&[
            "credential",
            "set",
            "acme",
            "openai",
            "--keep-secret",
            "--models",
            "gpt-*",
        ])
        .ok();
    sandbox
        .entail(&["run", "acme/evals", "--", "true"])
        .fails(10);
    sandbox
        .entail(&["run", "acme/evals", "--model", "gpt-5", "--", "true"])
        .ok();
}

#[test]
fn a_named_provider_that_is_refused_stops_the_run() {
    let (sandbox, _) = Sandbox::with_acme();
    let marker = sandbox.path("marker");
    let script = format!("touch {}", marker.display());
    let refused = [
        "run",
        "acme/evals",
        "--provider",
        "openai",
        "--provider",
        "xai",
        "--",
        "sh",
        "-c",
        &script,
    ];
    sandbox
        .entail(&refused)
        .fails(10)
        .prints("entail credential set acme/evals xai");
    assert!(!marker.exists());
}

#[test]
fn a_disabled_own_key_is_reported_even_if_other_keys_are_granted() {
    let (sandbox, _) = Sandbox::with_acme();
    let own = sandbox.canary();
    sandbox
        .entail_with(&["credential", "set", "acme/evals", "xai"], &own)
        .ok();
    sandbox
        .entail(&["credential", "disable", "acme/evals", "xai"])
        .ok();
    sandbox
        .entail(&["run", "acme/evals", "--", "true"])
        .ok()
        .prints("xai is refused: disabled");
}
