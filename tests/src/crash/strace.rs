//! Runs programs under strace.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Calls that are not worth writing down: they change neither files nor the
/// position in one. All others are, so that none is missed for being new.
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

/// Longer than any write of a test: what strace cuts short is an error.
const LONGEST_STRING: &str = "67108864";

/// The file that strace writes to, for as long as this lives.
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
        // What cannot be removed is only left over.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether there is a strace.
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

/// The command under strace, with everything that it does written down.
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
        // Only how much was read matters, not what.
        .args(["-e", "raw=read,readv"])
        .arg("-o")
        .arg(log)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    surround(&mut traced, command);
    traced
}

/// Gives one command the environment and the current folder of another.
pub(super) fn surround(traced: &mut Command, command: &Command) {
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
}
