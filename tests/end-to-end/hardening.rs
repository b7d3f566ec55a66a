//! Hardening: no trace of a secret in core dumps or readable memory, and no use of files or
//! directories that other users can change.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::components::Scripted;
use crate::sandbox::Sandbox;

/// Starts the program, which blocks with an opened secret because its output is a full pipe.
fn holding_a_secret(sandbox: &Sandbox) -> (Child, File) {
    let pipe = sandbox.path("pipe");
    let status = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(status.success());
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
    // Waits until it blocks on the pipe.
    for _ in 0..500 {
        if state().is_ok_and(|state| state.contains("pipe")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (child, both_ends)
}

/// `O_NONBLOCK` on Linux.
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
fn the_command_inherits_the_callers_limits_and_umask() {
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
    sandbox.run(shell, "").ok().prints("0027\nunlimited");
}

#[test]
fn the_memory_of_a_secret_is_unreadable_locked_and_excluded_from_dumps() {
    let (sandbox, _) = Sandbox::with_acme();
    let (mut child, _pipe) = holding_a_secret(&sandbox);
    // Other processes of the same user cannot read files that belong to root.
    let memory = std::fs::metadata(format!("/proc/{}/mem", child.id())).unwrap();
    assert_eq!(memory.uid(), 0);
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    let maps = match maps {
        // Only root can read the flags of the memory.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        maps => maps.unwrap(),
    };
    let guarded = maps
        .lines()
        .filter(|line| line.starts_with("VmFlags:") && line.contains(" dd") && line.contains(" lo"))
        .count();
    assert!(guarded > 0, "{maps}");
}

/// Checks that only the owner can use the path and everything below it.
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
fn every_file_is_private_under_any_umask() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_entail");
    let script = format!(
        "umask 000; {program} init acme && {program} project add acme/evals && {program} status && \
         {program} key rotate identity && {program} key rotate signer && {program} backup {0}/copy && \
         {program} key add-recipient --recovery {0}/recovery && \
         {program} key add-recipient --recovery {0}/shared --shares 2 --threshold 2",
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
    for name in ["recovery", "shared.1", "shared.2"] {
        is_private(&sandbox.path(name));
    }
}

#[test]
fn files_that_others_can_write_are_refused() {
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
        ("principals.jsonl", 0o600, 0o640),
        ("keys/signer.pem", 0o600, 0o640),
        ("keys/owner.pem", 0o600, 0o604),
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
    // A parent directory in which others could replace the home.
    let above = sandbox.path("");
    let before = std::fs::metadata(&above).unwrap().permissions().mode();
    set(&above, 0o777);
    sandbox
        .entail(&["resolve", "acme/evals", "openai"])
        .fails(14)
        .prints("chmod go-w");
    set(&above, before);
    sandbox.entail(&["resolve", "acme/evals", "openai"]).ok();
}

#[test]
fn without_locked_memory_it_works_and_doctor_reports_it() {
    let (sandbox, _) = Sandbox::with_acme();
    let limited = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_entail");
        // Root can lock memory regardless of the limit.
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
    limited("resolve acme/evals openai").ok().prints("granted");
    limited("doctor").fails(1).prints("ulimit -l");
}

/// Creates a symbolic link to a home.
fn through(link: &Path, home: &Path) {
    let _ = std::fs::remove_file(link);
    symlink(home, link).unwrap();
}

#[test]
fn a_home_is_not_used_through_a_link_that_others_could_change() {
    let (sandbox, _) = Sandbox::with_acme();
    let directory = |name: &str, mode| {
        let path = sandbox.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let resolve = ["resolve", "acme/evals", "openai"];
    let commands = |home: &Path| {
        let mut by_variable = sandbox.command(&resolve);
        by_variable.env("ENTAIL_HOME", home);
        let by_option =
            sandbox.command(&[&["--home", home.to_str().unwrap()], &resolve[..]].concat());
        [by_variable, by_option]
    };

    // The link, or one that it points to, is in a directory that everyone can write.
    let shared = directory("shared", 0o777);
    let own = directory("own", 0o755);
    through(&shared.join("home"), &sandbox.home());
    through(&own.join("home"), &shared.join("home"));
    for home in [shared.join("home"), own.join("home")] {
        for command in commands(&home) {
            sandbox
                .run(command, "")
                .fails(14)
                .prints(&format!("chmod go-w {}", shared.display()));
        }
    }
    // The same applies to the user's data directory.
    through(&shared.join("entail"), &sandbox.home());
    let mut command = sandbox.command(&resolve);
    command
        .env_remove("ENTAIL_HOME")
        .env("XDG_DATA_HOME", &shared);
    sandbox.run(command, "").fails(14).prints("chmod go-w");
    // Nothing is created there either.
    through(&shared.join("new"), &directory("empty", 0o700));
    for home in [shared.join("new/home"), shared.join("home2")] {
        let mut command = sandbox.command(&["init", "acme"]);
        command.env("ENTAIL_HOME", &home);
        sandbox.run(command, "").fails(14).prints("chmod go-w");
        assert!(!home.exists());
    }

    // In a sticky directory, the link must belong to the user or to root.
    let sticky = directory("sticky", 0o1777);
    let link = sticky.join("home");
    through(&link, &sandbox.home());
    for command in commands(&link) {
        sandbox.run(command, "").ok();
    }
    if std::os::unix::fs::lchown(&link, Some(65534), Some(65534)).is_ok() {
        for command in commands(&link) {
            sandbox
                .run(command, "")
                .fails(14)
                .prints(&format!("{} belongs to another user", link.display()));
        }
    } else {
        println!("skipped: only root can give a link away");
    }
    // A link that no other user can change is permitted.
    through(&own.join("home"), &sandbox.home());
    for command in commands(&own.join("home")) {
        sandbox.run(command, "").ok();
    }
}

#[test]
fn a_log_may_link_to_a_missing_file_but_not_where_others_can_write() {
    let (sandbox, _) = Sandbox::with_acme();
    let log = sandbox.home().join("decisions.jsonl");
    let logs = sandbox.path("logs");
    std::fs::create_dir(&logs).unwrap();
    through(&log, &logs.join("decisions.jsonl"));
    let resolve = ["resolve", "acme/evals", "openai"];
    sandbox.entail(&resolve).ok();
    assert!(logs.join("decisions.jsonl").is_file());
    std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.entail(&resolve).fails(14).prints("chmod go-w");
    std::fs::remove_file(logs.join("decisions.jsonl")).unwrap();
    sandbox.entail(&resolve).fails(14).prints("chmod go-w");
    // The sandbox searches all files in a home for canaries.
    std::fs::remove_file(log).unwrap();
}

#[test]
fn code_is_not_compiled_where_others_can_write() {
    let (sandbox, _) = Sandbox::with_acme();
    let place = sandbox.path("temporary");
    std::fs::create_dir(&place).unwrap();
    let is_used = |mode| {
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
        let before = modified(&place);
        // A policy that is compiled for the first time.
        let policy = Scripted::refusing(&format!("closed-{mode:o}"), "");
        let component = sandbox.file(&format!("{mode:o}.wasm"), policy.component());
        let mut command = sandbox.command(&["policy", "check", &component]);
        // Without a home or a cache directory, the code is in the temporary directory.
        command
            .env("TMPDIR", &place)
            .env("ENTAIL_HOME", sandbox.path("nobody"))
            .env("XDG_CACHE_HOME", "/dev/null");
        sandbox.run(command, "").ok();
        modified(&place) != before
    };
    assert!(is_used(0o700), "one's own is used");
    assert!(!is_used(0o777), "one that others write is passed over");
}

/// When an entry of a directory was last created or removed.
fn modified(directory: &Path) -> (i64, i64) {
    let metadata = std::fs::metadata(directory).unwrap();
    (metadata.mtime(), metadata.mtime_nsec())
}

#[test]
fn a_systemd_identity_is_not_read_from_where_others_can_write() {
    let (sandbox, _) = Sandbox::with_acme();
    let credentials = sandbox.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(
        sandbox.home().join("keys/identity.txt"),
        credentials.join("entail-identity"),
    )
    .unwrap();
    let resolve = || {
        let mut command = sandbox.command(&["resolve", "acme/evals", "openai"]);
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        sandbox.run(command, "")
    };
    resolve().ok();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o777)).unwrap();
    resolve().fails(16).prints("chmod go-w");
}

#[test]
fn a_home_file_may_be_a_link_that_only_the_owner_can_change() {
    let (sandbox, _) = Sandbox::with_acme();
    let home = sandbox.home();
    // Kubernetes mounts a secret in this way.
    let mount = sandbox.path("mount");
    let version = mount.join("..2026_11_27");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::set_permissions(&mount, std::fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("..2026_11_27", mount.join("..data")).unwrap();
    let resolve = ["resolve", "acme/evals", "openai"];
    std::fs::write(home.join("settings.toml"), "").unwrap();
    std::fs::write(home.join("providers.toml"), "").unwrap();
    std::fs::set_permissions(
        home.join("settings.toml"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    for name in [
        "keys/identity.txt",
        "keys/keyring.jsonl",
        "settings.toml",
        "providers.toml",
    ] {
        let (file, base) = (home.join(name), name.rsplit('/').next().unwrap());
        std::fs::rename(&file, version.join(base)).unwrap();
        symlink(Path::new("..data").join(base), mount.join(base)).unwrap();
        symlink(mount.join(base), &file).unwrap();
        sandbox.entail(&resolve).ok();
        // A dangling link is not treated as a missing file.
        std::fs::rename(mount.join("..data"), mount.join("..none")).unwrap();
        let ran = sandbox.entail(&resolve);
        assert!(
            matches!(ran.code, Some(14 | 16)) && ran.stderr.contains("No such file"),
            "{name}: {}",
            ran.stderr
        );
        std::fs::rename(mount.join("..none"), mount.join("..data")).unwrap();
        // Other users could change the link.
        std::fs::set_permissions(&mount, std::fs::Permissions::from_mode(0o777)).unwrap();
        let ran = sandbox.entail(&resolve);
        assert!(
            matches!(ran.code, Some(14 | 16)) && ran.stderr.contains("chmod go-w"),
            "{name}: {}",
            ran.stderr
        );
        std::fs::set_permissions(&mount, std::fs::Permissions::from_mode(0o1777)).unwrap();
        sandbox.entail(&resolve).ok();
    }
}
