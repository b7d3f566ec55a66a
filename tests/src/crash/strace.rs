//! Runs programs under strace.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Calls that are not traced: they change neither files nor file positions. All others are
/// traced, so that a new call is not missed.
const LEFT_OUT: [&str; 34] = [
    "access",
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_wait",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fstat",
    "fstatfs",
    "futex",
    "getdents64",
    "getpid",
    "getrandom",
    "gettid",
    "lstat",
    "madvise",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "readlink",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_yield",
    "stat",
    "statfs",
    "statx",
];

/// Longer than any write of a test, because a string that strace truncates is an error.
const LONGEST_STRING: &str = "67108864";

/// strace's output file, removed on drop.
#[derive(Debug)]
pub(super) struct Log(PathBuf);

impl Log {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("entail-strace-{}-{count}", std::process::id());
        Log(std::env::temp_dir().join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A leftover file does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Fails if strace is not installed.
pub(super) fn check() -> io::Result<()> {
    match Command::new("strace").arg("-V").output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::new(
            error.kind(),
            "strace is needed (apt-get install strace)",
        )),
        Err(error) => Err(error),
    }
}

/// Builds a command that runs `command` under strace and records its calls.
pub(super) fn recording(command: &Command, log: &Path) -> Command {
    let left_out: Vec<String> = LEFT_OUT.iter().map(|call| format!("?{call}")).collect();
    let mut traced = Command::new("strace");
    traced
        .args([
            "-f",
            "-q",
            "-y",
            "-xx",
            "-s",
            LONGEST_STRING,
            "--seccomp-bpf",
        ])
        .arg("-e")
        .arg(format!("trace=!{}", left_out.join(",")))
        // Only the length of a read matters.
        .args(["-e", "raw=read,readv"])
        .arg("-o")
        .arg(log)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    copy_environment(&mut traced, command);
    traced
}

/// Copies the environment and working directory of one command to another.
pub(super) fn copy_environment(traced: &mut Command, command: &Command) {
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
}
