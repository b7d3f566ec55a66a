//! A process that removes the private files of a command whose wrapper was killed.
//!
//! [`crate::secret_files`] are removed by the process that made them. One that is ended by
//! a signal that cannot be caught removes nothing; then its keeper does, as soon as the
//! command has ended. It knows no secret: it is this program, started with [`ARGUMENT`] and
//! the path of the directory, without a terminal, and it waits for what comes by its
//! standard input:
//!
//! | what comes | what it means |
//! |---|---|
//! | four bytes | the process id of the command |
//! | one byte more | all is removed; the keeper ends |
//! | the end | the process that made the files is gone: wait for the command, then remove them |
//!
//! It removes names, and does not overwrite: it has no descriptor of the files, and what
//! has their names may be something else. If keeper and wrapper are killed both, the files
//! stay.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::secret_files;

/// What the program is started with to be a keeper, before the path of the directory.
const ARGUMENT: &str = "remove-files-of-run";

/// Between two looks whether the command still runs, where the system has no better way.
const PAUSE: Duration = Duration::from_millis(100);

/// The keeper of a directory of private files; told that it is not needed when dropped.
pub struct Keeper {
    input: Option<ChildStdin>,
}

impl Keeper {
    /// Starts it, for files that are yet to be made in `directory`.
    ///
    /// # Errors
    ///
    /// When the system starts no process.
    pub fn start(directory: &Path) -> std::io::Result<Self> {
        // A name that holds also when the file of the program was replaced.
        let own = Path::new("/proc/self/exe");
        let program = match own.exists() {
            true => own.to_owned(),
            false => std::env::current_exe()?,
        };
        let mut keeper = Command::new(program)
            .arg(ARGUMENT)
            .arg(directory)
            .env_clear()
            .current_dir("/")
            // What is typed at the terminal is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Keeper {
            input: keeper.stdin.take(),
        })
    }

    /// Tells it which process needs the files.
    pub fn watch(&mut self, command: &Child) {
        if let Some(input) = &mut self.input {
            // One that is gone removes nothing, and there is nobody to tell.
            let _ = input.write_all(&command.id().to_ne_bytes());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(b".");
        }
    }
}

/// If this process was started to be a keeper, is one, and returns how to end.
pub fn keep() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    let directory = PathBuf::from(arguments.next()?);
    // Without the lock a sweep may come too early, but only after this process is killed.
    let held = secret_files::hold(&directory);
    // They are meant for the command, which ends by itself; the keeper ends after it.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    if !wait() {
        secret_files::remove(&directory);
    }
    drop(held);
    Some(ExitCode::SUCCESS)
}

/// Waits until the files are not needed any more, and returns whether they were removed.
fn wait() -> bool {
    let mut input = std::io::stdin().lock();
    let mut process = [0; 4];
    if input.read_exact(&mut process).is_err() {
        return false;
    }
    let process = Pid::from_raw(i32::from_ne_bytes(process));
    let ended = process.map(|process| (process, pidfd_open(process, PidfdFlags::empty())));
    if input.read_exact(&mut [0]).is_ok() {
        return true;
    }
    match ended {
        Some((_, Ok(process))) => {
            while poll(&mut [PollFd::new(&process, PollFlags::IN)], None)
                == Err(rustix::io::Errno::INTR)
            {}
        }
        Some((process, Err(_))) => {
            while test_kill_process(process).is_ok() {
                std::thread::sleep(PAUSE);
            }
        }
        None => {}
    }
    false
}
