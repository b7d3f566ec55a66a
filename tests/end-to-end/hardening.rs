//! What the system keeps of a process that holds secrets: nothing.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::sandbox::Sandbox;

/// The program, stuck with an opened secret: it prints into a pipe that is full.
fn holding_a_secret(sandbox: &Sandbox) -> (Child, File) {
    let pipe = sandbox.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut both_ends = File::options()
        .read(true)
        .write(true)
        .custom_flags(NONBLOCK)
        .open(&pipe)
        .unwrap();
    while both_ends.write(&[b'.'; 4096]).is_ok() {}
    while both_ends.write(b".").is_ok() {}
    let script = "ulimit -c unlimited; exec \"$0\" \"$@\"";
    let resolve = sandbox.command(&["resolve", "acme/evals", "openai", "--reveal"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .arg(resolve.get_program())
        .args(resolve.get_args())
        .env_clear()
        .envs(
            resolve
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(sandbox.path(""))
        .stdout(File::options().write(true).open(&pipe).unwrap());
    let child = shell.spawn().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/wchan", child.id()));
    // Until it waits for somebody to read.
    for _ in 0..500 {
        if state().is_ok_and(|state| state.contains("pipe")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (child, both_ends)
}

/// `O_NONBLOCK`, as Linux has it.
const NONBLOCK: i32 = 0o4000;

#[test]
fn a_crash_leaves_no_core_behind() {
    let (sandbox, _) = Sandbox::with_acme();
    let (mut child, _pipe) = holding_a_secret(&sandbox);
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-ABRT", &pid]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    assert!(!status.core_dumped());
    for entry in std::fs::read_dir(sandbox.path("")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with("core"), "{name:?}");
    }
}

#[test]
fn the_command_that_is_run_has_the_limits_and_the_mask_of_the_caller() {
    let (sandbox, _) = Sandbox::with_acme();
    let program = env!("CARGO_BIN_EXE_entail");
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "umask 027; ulimit -c unlimited; \"$0\" \"$@\"",
            program,
        ])
        .args(["run", "acme/evals", "--", "sh", "-c", "umask; ulimit -c"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ENTAIL_HOME", sandbox.home());
    sandbox.run(shell, "").ok().says("0027\nunlimited");
}

#[test]
fn the_memory_of_a_secret_is_closed_to_others_locked_and_left_out_of_dumps() {
    let (sandbox, _) = Sandbox::with_acme();
    let (mut child, _pipe) = holding_a_secret(&sandbox);
    // What belongs to the system's user, no other process of this one can read.
    let memory = std::fs::metadata(format!("/proc/{}/mem", child.id())).unwrap();
    assert_eq!(memory.uid(), 0);
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    let maps = match maps {
        // Only root is let in to see how it is kept.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        maps => maps.unwrap(),
    };
    let guarded = maps
        .lines()
        .filter(|line| line.starts_with("VmFlags:") && line.contains(" dd") && line.contains(" lo"))
        .count();
    assert!(guarded > 0, "{maps}");
}

/// Nobody but the owner can use it, or anything below.
fn is_private(path: &Path) {
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{}", path.display());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            is_private(&entry.unwrap().path());
        }
    }
}

#[test]
fn every_file_is_the_owners_alone_whatever_the_mask() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_entail");
    let script = format!(
        "umask 000; {program} init acme && {program} project add acme/evals && {program} status && \
         {program} key rotate identity && {program} key rotate signer && {program} backup {0}/copy && \
         {program} key add-recipient --recovery {0}/recovery",
        sandbox.path("").display()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ENTAIL_HOME", sandbox.home());
    sandbox.run(shell, "").ok();
    is_private(&sandbox.home());
    is_private(&sandbox.path("copy"));
    is_private(&sandbox.path("recovery"));
}

#[test]
fn what_others_could_write_is_refused() {
    let (sandbox, _) = Sandbox::with_acme();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (file, good, bad) in [
        ("", 0o700, 0o770),
        ("keys", 0o700, 0o701),
        ("entail.db", 0o600, 0o606),
        ("anchor.json", 0o600, 0o622),
        ("decisions.jsonl", 0o600, 0o660),
        ("keys/signer.pem", 0o600, 0o640),
    ] {
        let path = sandbox.home().join(file);
        sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
        set(&path, bad);
        let ran = sandbox.entail(&["resolve", "acme/evals", "openai"]);
        assert!(
            matches!(ran.code, Some(14 | 16 | 17)) && ran.stderr.contains("chmod"),
            "{file}: {}",
            ran.stderr
        );
        set(&path, good);
    }
    // A folder above, in which others could put another home in its place.
    let above = sandbox.path("");
    let before = std::fs::metadata(&above).unwrap().permissions().mode();
    set(&above, 0o777);
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(14)
        .says("chmod go-w");
    set(&above, before);
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn without_locked_memory_it_works_and_doctor_says_so() {
    let (sandbox, _) = Sandbox::with_acme();
    let limited = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_entail");
        // Root may lock memory whatever the limit.
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut shell = match is_root {
            true => {
                let mut without = Command::new("setpriv");
                without.args(["--bounding-set", "-all", "--inh-caps", "-all", "sh"]);
                without
            }
            false => Command::new("sh"),
        };
        shell
            .arg("-c")
            .arg(format!("ulimit -l 0; {program} {arguments}"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ENTAIL_HOME", sandbox.home());
        sandbox.run(shell, "")
    };
    limited("resolve acme/evals openai").ok().says("granted");
    limited("doctor").fails(1).says("ulimit -l");
}
