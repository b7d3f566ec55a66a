//! The keeper: a process that removes the private files of a command if `entail run` was
//! killed.
//!
//! Usually the process that created the files removes them. If a signal that cannot be caught
//! ends it, its keeper removes them when the command has ended. The keeper has no secret: it
//! is this program, started with [`ARGUMENT`] and the path of the directory, without a
//! terminal, and it reads standard input:
//!
//! | input | meaning |
//! |---|---|
//! | four bytes | the process id of the command |
//! | one more byte | the files are removed; the keeper ends |
//! | end of input | the process that created the files was killed: wait for the command, then remove them |
//!
//! The keeper removes names and does not overwrite: it has no descriptors of the files, and
//! other files may have their names by then. If both the keeper and `entail run` are killed,
//! the files stay.

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

use super::directory;

/// The argument before the path of the directory that makes the program a keeper.
const ARGUMENT: &str = "remove-files-of-run";

/// How often to check whether the command still runs, if the system has no pidfd.
const PAUSE: Duration = Duration::from_millis(100);

/// The keeper of a directory. When this is dropped, the keeper ends without removing
/// anything.
pub struct Keeper {
    input: Option<ChildStdin>,
}

impl Keeper {
    /// Starts a keeper, before files are created in `directory`.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be started.
    pub fn start(directory: &Path) -> std::io::Result<Self> {
        // This path is right even if the file of the program was replaced.
        let own = Path::new("/proc/self/exe");
        let program = if own.exists() {
            own.to_owned()
        } else {
            std::env::current_exe()?
        };
        let mut keeper = Command::new(program)
            .arg(ARGUMENT)
            .arg(directory)
            .env_clear()
            .current_dir("/")
            // The terminal's signals are not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Keeper {
            input: keeper.stdin.take(),
        })
    }

    /// Sends the keeper the process that needs the files.
    pub fn watch(&mut self, command: &Child) {
        if let Some(input) = &mut self.input {
            // If the keeper is gone, nothing else can be done.
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

/// Runs the keeper if this process was started as one. Returns `None` otherwise.
pub fn run_if_requested() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    let directory = PathBuf::from(arguments.next()?);
    // Without the lock, another run may remove the files too early, but only if this process
    // is killed too.
    let locked = directory::lock(&directory);
    // These signals are for the command; the keeper ends after it.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    if !wait() {
        directory::remove(&directory);
    }
    drop(locked);
    Some(ExitCode::SUCCESS)
}

/// Waits until the files are not needed any more. Returns whether they are removed already.
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
