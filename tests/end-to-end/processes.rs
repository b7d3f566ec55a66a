//! `entail run` as a process: signals, job control, containers, and the leftovers of killed
//! processes.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::run::{until, with_account, with_default_signals};
use crate::sandbox::Sandbox;

/// Starts a Python script under `run`, as a child that gets a private file. Returns the child
/// once the script has created the file `ready`.
fn started(sandbox: &Sandbox, script: &str) -> Child {
    let ready = sandbox.path("ready");
    let _ = std::fs::remove_file(&ready);
    let command = sandbox.command(&["run", "acme/evals", "--", "python3", "-c", script]);
    let child = with_default_signals(&command)
        // The kernel does not stop the processes of an orphaned process group.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the command runs", || ready.exists());
    child
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "{signal}");
}

fn children(process: u32) -> Vec<u32> {
    let file = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

/// The state of a process as in proc(5): `T` is stopped.
fn state(process: u32) -> char {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after) = line.rsplit_once(") ").unwrap();
    after.chars().next().unwrap()
}

/// The child of `run` that is the command. The other child is the keeper of its files.
fn command_of(run: u32, program: &str) -> u32 {
    let is_command = |process: &u32| {
        let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line.starts_with(program.as_bytes())
    };
    children(run).into_iter().find(is_command).unwrap()
}

#[test]
fn the_command_gets_every_signal_that_can_be_caught() {
    let sandbox = with_account();
    let (ready, report) = (sandbox.path("ready"), sandbox.path("report"));
    let script = format!(
        "import signal, time
received = []
def note(number, frame):
    received.append(number)
    open({report:?}, 'w').write(' '.join(map(str, received)))
for number in set(range(1, 65)) - {{4, 5, 7, 8, 9, 11, 17, 19, 32, 33}}:
    signal.signal(number, note)
open({ready:?}, 'w').close()
while signal.SIGRTMAX not in received:
    time.sleep(0.01)"
    );
    let mut run = started(&sandbox, &script);
    let not_sent = [4, 5, 7, 8, 9, 11, 17, 19, 32, 33, 64];
    let expected: Vec<u32> = (1..=64).filter(|n| !not_sent.contains(n)).collect();
    for number in &expected {
        send(&number.to_string(), run.id());
        until(&format!("signal {number} arrives"), || {
            let received = std::fs::read_to_string(&report).unwrap_or_default();
            received.split(' ').any(|one| one == number.to_string())
        });
    }
    send("64", run.id());
    assert!(run.wait().unwrap().success());
}

#[test]
fn the_run_stops_and_continues_with_the_command() {
    let sandbox = with_account();
    let ready = sandbox.path("ready");
    let script = format!("import time; open({ready:?}, 'w').close(); time.sleep(60)");
    for signal in ["TSTP", "TTIN", "TTOU"] {
        let mut run = started(&sandbox, &script);
        let command = command_of(run.id(), "python3");
        send(signal, run.id());
        until("both have stopped", || {
            state(command) == 'T' && state(run.id()) == 'T'
        });
        send("CONT", run.id());
        until("both go on", || {
            state(command) != 'T' && state(run.id()) != 'T'
        });
        send("TERM", run.id());
        assert_eq!(run.wait().unwrap().signal(), Some(15), "{signal}");
    }
}

/// Wraps a command so that it runs as the first process of a new PID namespace.
fn in_container(command: &Command) -> Command {
    let mut contained = Command::new("unshare");
    contained
        .args([
            "--user",
            "--map-current-user",
            "--pid",
            "--fork",
            "--mount-proc",
        ])
        .args(["--kill-child"]);
    started_by(contained, command)
}

/// Appends a command to the arguments of `outer`, which gets the environment of the command.
fn started_by(mut outer: Command, command: &Command) -> Command {
    outer
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    outer.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    outer
}

fn has_containers() -> bool {
    let tried = in_container(&Command::new("true")).output();
    let has = tried.is_ok_and(|tried| tried.status.success());
    if !has {
        println!("skipped: PID namespaces are not available here");
    }
    has
}

#[test]
fn as_the_first_process_of_a_container_run_exits_with_the_code_of_the_signal() {
    if !has_containers() {
        return;
    }
    let sandbox = with_account();
    let ready = sandbox.path("ready");
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let _ = std::fs::remove_file(&ready);
        let script = format!("touch {}; exec sleep 60", ready.display());
        let command = sandbox.command(&["run", "acme/evals", "--", "sh", "-c", &script]);
        let mut outside = in_container(&with_default_signals(&command))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the command runs", || ready.exists());
        let [run] = children(outside.id())[..] else {
            panic!("one process is the first of the container");
        };
        send(signal, run);
        let status = outside.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{signal}: {status}");
    }
}

#[test]
fn as_the_first_process_of_a_container_run_reaps_orphans() {
    if !has_containers() {
        return;
    }
    let sandbox = with_account();
    let script = "(sleep 0.05 &); (sleep 0.05 &); sleep 0.5
        cat /proc/[0-9]*/stat | grep -c ') Z ' || true";
    let command = sandbox.command(&["run", "acme/evals", "--", "sh", "-c", script]);
    let ran = sandbox.run(in_container(&command), "");
    assert_eq!(ran.ok().stdout, "0\n");
}

/// Kills `run` and the keeper of its files, then the command. Returns the directory that they
/// leave behind.
fn left_behind(sandbox: &Sandbox) -> PathBuf {
    let (ready, report) = (sandbox.path("ready"), sandbox.path("report"));
    let (ready, report) = (ready.to_str().unwrap(), report.to_str().unwrap());
    let script = format!(
        "import os, time
open({report:?}, 'w').write(os.environ['GOOGLE_APPLICATION_CREDENTIALS'])
open({ready:?}, 'w').close()
time.sleep(60)"
    );
    let mut run = started(sandbox, &script);
    let file = std::fs::read_to_string(report).unwrap();
    let directory = Path::new(&file).parent().unwrap().to_owned();
    let command = command_of(run.id(), "python3");
    let keeper = children(run.id())
        .into_iter()
        .find(|c| *c != command)
        .unwrap();
    send("KILL", keeper);
    run.kill().unwrap();
    run.wait().unwrap();
    make_older(&directory);
    // The command still runs and needs its file.
    sandbox.entail(&["run", "acme/evals", "--", "true"]).ok();
    assert!(Path::new(&file).exists());
    send("KILL", command);
    until("the command is gone", || {
        !Path::new(&format!("/proc/{command}")).exists() || state(command) == 'Z'
    });
    directory
}

fn make_older(directory: &Path) {
    let touched = Command::new("touch")
        .args(["-d", "1 minute ago"])
        .arg(directory)
        .status()
        .unwrap();
    assert!(touched.success());
}

#[test]
fn leftovers_of_killed_processes_are_reported_by_doctor_and_removed_by_the_next_run() {
    let sandbox = with_account();
    let directory = left_behind(&sandbox);
    make_older(&directory);
    sandbox
        .entail(&["doctor"])
        .fails(1)
        .prints(directory.to_str().unwrap());
    sandbox.entail(&["run", "acme/evals", "--", "true"]).ok();
    assert!(!directory.exists());
    sandbox.entail(&["doctor"]).ok();
}

#[test]
fn files_that_only_look_like_leftovers_are_neither_read_nor_removed() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = with_account();
    let runtime = sandbox.path("runtime");
    let with_mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let directories = [
        // Mode, name, and a file in it.
        (0o755, "entail-run-abcdef", "command"),
        (0o700, "entail-run-ghijkl", "results.csv"),
        (0o700, "entail-run-of-mine", "credential-0.json"),
    ];
    for (mode, name, file) in directories {
        let file = runtime.join(name).join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "mine").unwrap();
        with_mode(&file, 0o600);
        with_mode(file.parent().unwrap(), mode);
    }
    // Opening this pipe would block.
    let piped = runtime.join("entail-run-mnopqr");
    std::fs::create_dir(&piped).unwrap();
    let status = Command::new("mkfifo").arg(piped.join("command")).status();
    assert!(status.unwrap().success());
    with_mode(&piped, 0o700);
    with_mode(&runtime, 0o700);
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("XDG_RUNTIME_DIR", &runtime);
        sandbox.run(command, "")
    };
    for entry in std::fs::read_dir(&runtime).unwrap() {
        make_older(&entry.unwrap().path());
    }
    run(&["doctor"]).ok();
    run(&["run", "acme/evals", "--", "true"]).ok();
    for (_, name, file) in directories {
        let contents = std::fs::read_to_string(runtime.join(name).join(file)).unwrap();
        assert_eq!(contents, "mine", "{name}");
    }
    assert!(piped.join("command").exists());
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    for sandbox in [Sandbox::with_acme().0, with_account()] {
        let script = sandbox.file("bin/greet", "echo \"hello, $1\"\n");
        let executable = Command::new("chmod").args(["+x", &script]).status();
        assert!(executable.unwrap().success());
        sandbox
            .entail(&["run", "acme/evals", "--", &script, "you"])
            .ok()
            .prints("hello, you");
    }
}

/// Runs a line of Python, then the program in the same process.
fn after(sandbox: &Sandbox, prelude: &str, arguments: &[&str]) -> crate::sandbox::RunOutput {
    let command = sandbox.command(arguments);
    let script = format!("import ctypes, os, sys\n{prelude}\nos.execv(sys.argv[1], sys.argv[1:])");
    let mut changed = Command::new("python3");
    changed.args(["-c", &script]);
    sandbox.run(started_by(changed, &command), "")
}

#[test]
fn a_ban_on_executable_memory_is_reported() {
    let (sandbox, _) = Sandbox::with_acme();
    // PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, as systemd's MemoryDenyWriteExecute does.
    let prelude = "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(99)";
    let ran = after(&sandbox, prelude, &["run", "acme/evals", "--", "true"]);
    if ran.code == Some(99) {
        println!("skipped: this kernel has no PR_SET_MDWE");
        return;
    }
    ran.fails(12).prints("MemoryDenyWriteExecute=no");
}

#[test]
fn a_home_on_a_read_only_file_system_is_reported_with_a_remedy() {
    let (sandbox, _) = Sandbox::with_acme();
    let home = sandbox.home();
    let command = sandbox.command(&["run", "acme/evals", "--", "true"]);
    let script =
        "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" || exit 99; exec \"$@\"";
    let mut contained = Command::new("unshare");
    contained
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(&home);
    let ran = sandbox.run(started_by(contained, &command), "");
    if ran.code == Some(99) || ran.stderr.starts_with("unshare") {
        println!("skipped: mount namespaces are not available here");
        return;
    }
    ran.fails(14)
        .prints("cannot be written (Read-only file system")
        .prints("mount it for reading and writing");
}

#[test]
fn without_proc_a_command_still_runs() {
    if !has_containers() {
        return;
    }
    let sandbox = with_account();
    let command = sandbox.command(&["run", "acme/evals", "--", "echo", "ran"]);
    let mut contained = Command::new("unshare");
    contained
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /proc || exit 99; exec \"$0\" \"$@\"");
    let ran = sandbox.run(started_by(contained, &command), "");
    if ran.code == Some(99) {
        println!("skipped: mounting is not permitted here");
        return;
    }
    ran.ok().prints("ran");
}

#[test]
fn a_home_with_group_permissions_from_kubernetes_is_refused_with_a_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let (sandbox, _) = Sandbox::with_acme();
    let mode = std::fs::Permissions::from_mode(0o2770);
    std::fs::set_permissions(sandbox.home(), mode).unwrap();
    sandbox.entail(&["status"]).fails(14).prints("fsGroup");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(sandbox.home(), mode).unwrap();
    sandbox.entail(&["status"]).ok();
}
