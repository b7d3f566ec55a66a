//! `entail run`: what the command sees, and how it ends.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Ran, Sandbox};

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
fn the_command_sees_what_was_granted_and_no_other_key() {
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
    let seen = sandbox_output(command);
    assert!(seen.contains(&format!("OPENAI_API_KEY={key}\n")), "{seen}");
    assert!(seen.contains("MINE=kept\n"));
    assert!(
        !seen.contains(&stray) && !seen.contains("evil.example"),
        "{seen}"
    );
}

#[test]
fn a_pristine_command_sees_nothing_else_at_all() {
    let (sandbox, key) = Sandbox::with_acme();
    let seen = sandbox
        .lease(&["run", "acme/evals", "--pristine", "--", "env"])
        .ok()
        .stdout;
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.retain(|line| {
        let (name, _) = line.split_once('=').unwrap();
        !SHIELDS.contains(&name)
    });
    assert_eq!(lines, [format!("OPENAI_API_KEY={key}")]);
}

/// What keeps clients from files and look-ups that they would turn to unasked.
const SHIELDS: [&str; 11] = [
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
fn run_exits_as_the_command_does() {
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
fn a_file_valued_variable_names_a_private_file_that_is_gone_afterwards() {
    let sandbox = with_account();
    let script = "printf '%s\\n' \"$GOOGLE_APPLICATION_CREDENTIALS\"; stat -c %a \"$GOOGLE_APPLICATION_CREDENTIALS\"; cat \"$GOOGLE_APPLICATION_CREDENTIALS\"";
    let seen = sandbox
        .lease(&["run", "acme/evals", "--", "sh", "-c", script])
        .ok()
        .stdout;
    let mut lines = seen.splitn(3, '\n');
    let path = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), Some("600"));
    assert_eq!(lines.next(), Some(ACCOUNT));
    assert!(!Path::new(&path).exists());
    assert!(!Path::new(&path).parent().unwrap().exists());
}

/// Runs a script that gets the private file, with `XDG_RUNTIME_DIR` as given.
fn run_with_file(sandbox: &Sandbox, runtime: Option<&Path>, script: &str) -> Ran {
    let mut command = sandbox.command(&["run", "acme/evals", "--", "sh", "-c", script]);
    if let Some(runtime) = runtime {
        command.env("XDG_RUNTIME_DIR", runtime);
    }
    sandbox.run(command, "")
}

/// A directory with a mode.
fn directory(sandbox: &Sandbox, name: &str, mode: u32) -> PathBuf {
    let made = sandbox.path(name);
    std::fs::create_dir(&made).unwrap();
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode)).unwrap();
    made
}

#[test]
fn a_file_that_replaces_the_private_file_is_neither_written_nor_read() {
    let sandbox = with_account();
    let kept = sandbox.path("kept");
    std::fs::write(&kept, "not to be touched").unwrap();
    let runtime = directory(&sandbox, "runtime", 0o700);
    let replace = [
        format!("rm $F; ln -s {} $F", kept.display()),
        format!("rm $F; ln {} $F", kept.display()),
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
            std::fs::read_to_string(&kept).unwrap(),
            "not to be touched",
            "{replace}"
        );
        let left = std::fs::read_dir(&runtime).unwrap().count();
        assert_eq!(left, 0, "{replace}");
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
    let left = std::fs::read_dir(&runtime).unwrap().next().unwrap();
    let result = left.unwrap().path().join("result");
    assert_eq!(std::fs::read_to_string(result).unwrap(), "mine\n");
}

#[test]
fn a_runtime_directory_of_another_user_is_skipped() {
    let sandbox = with_account();
    let script = "printf %s \"$GOOGLE_APPLICATION_CREDENTIALS\"";
    let place = |runtime: Option<&Path>| {
        let path = run_with_file(&sandbox, runtime, script).ok().stdout;
        Path::new(&path)
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .to_owned()
    };
    let own = directory(&sandbox, "own", 0o700);
    assert_eq!(place(Some(&own)), own);
    let elsewhere = place(None);
    assert_eq!(elsewhere, Path::new("/dev/shm"));

    let open = directory(&sandbox, "open", 0o777);
    let linked = open.join("linked");
    symlink(&own, &linked).unwrap();
    let file = sandbox.path("file");
    std::fs::write(&file, "").unwrap();
    for foreign in [&open, &linked, &file, &sandbox.path("nothing")] {
        assert_eq!(place(Some(foreign)), elsewhere, "{}", foreign.display());
    }
    let theirs = directory(&sandbox, "theirs", 0o700);
    if chown(&theirs, Some(65534), Some(65534)).is_ok() {
        assert_eq!(place(Some(&theirs)), elsewhere);
        assert_eq!(std::fs::read_dir(&theirs).unwrap().count(), 0);
    } else {
        println!("skipped: only root can give a directory away");
    }
}

#[test]
fn the_private_file_is_read_by_name_again_and_again_by_the_command_and_its_children() {
    let sandbox = with_account();
    // As Google's client for Node does it: resolved first, then a file and no link. And
    // from a child that inherits no descriptor.
    let script = "import os, subprocess, sys
name = os.environ['GOOGLE_APPLICATION_CREDENTIALS']
assert os.path.realpath(name) == name, name
assert os.path.isfile(name) and not os.path.islink(name)
assert open(name).read() == open(name).read()
sys.stdout.write(subprocess.run(['cat', name], capture_output=True, text=True).stdout)";
    let seen = sandbox
        .lease(&["run", "acme/evals", "--", "python3", "-c", script])
        .ok()
        .stdout;
    assert_eq!(seen, ACCOUNT);
}

#[test]
fn the_private_file_does_not_outlive_the_command_where_the_run_is_killed() {
    let sandbox = with_account();
    let told = sandbox.path("told");
    let script = format!(
        "printf '%s %s' $$ \"$GOOGLE_APPLICATION_CREDENTIALS\" > {told}.part; mv {told}.part {told}; exec sleep 60",
        told = told.display()
    );
    let mut child = sandbox
        .command(&["run", "acme/evals", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the command runs", || told.exists());
    let text = std::fs::read_to_string(&told).unwrap();
    let (process, path) = text.split_once(' ').unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // The command goes on, and so must what it needs.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read_to_string(path).unwrap(), ACCOUNT);
    let killed = Command::new("kill").arg(process).status().unwrap();
    assert!(killed.success());
    until("the file is gone", || !Path::new(path).exists());
    until("its directory is gone", || {
        !Path::new(path).parent().unwrap().exists()
    });
}

pub fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{what}: not so"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same command, but without the signals that whoever runs the tests may
/// ignore: a shell does so for what it runs in the background.
pub fn heeding_signals(command: &Command) -> Command {
    let script = "import os, signal, sys
for number in set(range(1, 65)) - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut heeding = Command::new("python3");
    heeding
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    heeding.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    heeding
}

#[test]
fn a_terminated_run_terminates_the_command_and_removes_the_file() {
    let sandbox = with_account();
    let told = sandbox.path("told");
    let script = format!(
        "printf %s \"$GOOGLE_APPLICATION_CREDENTIALS\" > {told}.part; mv {told}.part {told}; exec sleep 60",
        told = told.display()
    );
    for signal in ["TERM", "HUP", "INT", "ALRM"] {
        let _ = std::fs::remove_file(&told);
        let mut child =
            heeding_signals(&sandbox.command(&["run", "acme/evals", "--", "sh", "-c", &script]))
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
        let started = Instant::now();
        while !told.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the command did not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let path = std::fs::read_to_string(&told).unwrap();
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

/// One in which `acme` holds a role of AWS, and a script that prints the configuration.
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

const SHOW_ROLE: [&str; 5] = ["run", "acme", "--", "sh", "-c"];

#[test]
fn a_role_is_assumed_by_a_private_configuration_with_the_callers_own_identity() {
    let sandbox = with_role();
    let stray = sandbox.canary();
    let show = [&SHOW_ROLE[..], &["env; cat \"$AWS_CONFIG_FILE\""]].concat();
    let mut command = sandbox.command(&show);
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAMINE")
        .env("AWS_SECRET_ACCESS_KEY", "my-own-secret")
        .env("AWS_BEARER_TOKEN_BEDROCK", &stray)
        .env("AWS_ENDPOINT_URL", "https://evil.example")
        .env("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z");
    let seen = sandbox_output(command);
    for line in [
        "AWS_REGION=us-east-1",
        "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
        "role_arn = arn:aws:iam::1:role/x",
        "external_id = acme-7",
        "aws_secret_access_key = my-own-secret",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line}: {seen}");
    }
    assert!(seen.contains("AWS_PROFILE=entail-role-"), "{seen}");
    assert!(seen.contains("source_profile = entail-source-"), "{seen}");
    // The identity alone, beside the role, would be used instead of it.
    for gone in [
        &*stray,
        "evil",
        "AWS_ACCESS_KEY_ID",
        "AWS_CREDENTIAL_EXPIRATION",
    ] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
}

#[test]
fn the_variables_of_a_role_cannot_be_kept_from_the_caller() {
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
fn a_role_without_an_identity_to_assume_it_with_is_refused() {
    let sandbox = with_role();
    let mut command = sandbox.command(&["run", "acme", "--", "true"]);
    command.env("HOME", sandbox.path("nobody"));
    sandbox
        .run(command, "")
        .fails(16)
        .prints("no AWS identity was found to assume the role arn:aws:iam::1:role/x with");
}

#[test]
fn a_granted_key_assumes_its_role_and_is_in_no_variable() {
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
    let show = [&SHOW_ROLE[..], &["env; echo --; cat \"$AWS_CONFIG_FILE\""]].concat();
    let mut command = sandbox.command(&show);
    command.env("AWS_ACCESS_KEY_ID", "AKIAMINE");
    let seen = sandbox_output(command);
    let (environment, configuration) = seen.split_once("--\n").unwrap();
    assert!(!environment.contains(&key), "{environment}");
    assert!(!seen.contains("AKIAMINE"), "{seen}");
    let line = format!("aws_secret_access_key = {key}\n");
    assert!(configuration.contains(&line), "{configuration}");
}

fn sandbox_output(mut command: Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_model_can_be_named_for_a_run() {
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
    let touched = sandbox.path("touched");
    let script = format!("touch {}", touched.display());
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
    assert!(!touched.exists());
}

#[test]
fn a_broken_own_key_is_noted_even_where_others_are_granted() {
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
