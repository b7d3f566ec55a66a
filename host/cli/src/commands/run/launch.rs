//! Finds and starts a command.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;

use super::environment::EnvironmentChanges;
use crate::error::{CliError, ErrorCode};
use crate::hardening::with_callers_settings;

/// Runs a script without a `#!` line.
const SHELL: &str = "/bin/sh";

/// Starts a command, found in the caller's path, because the command's own may be empty. A
/// script without a `#!` line is run by the shell, as execvp(3) does.
///
/// # Errors
///
/// Fails if the command is not found, or cannot be started.
pub fn launch<T>(
    words: &[OsString],
    changes: &EnvironmentChanges,
    mut start: impl FnMut(&mut Command) -> std::io::Result<T>,
) -> Result<T, CliError> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| CliError::usage("no command is given"))?;
    let file = find(program).unwrap_or_else(|| program.clone());
    let mut start = |mut command: Command| {
        command.args(arguments);
        changes.apply(&mut command);
        with_callers_settings(|| start(&mut command))
    };
    let mut command = Command::new(&file);
    command.arg0(program);
    let started = match start(command) {
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            let mut shell = Command::new(SHELL);
            shell.arg(&file);
            start(shell)
        }
        started => started,
    };
    started.map_err(|error| not_started(program, &error))
}

/// The file of a program in the caller's path; `None` if the program is a path itself, or is
/// not found.
fn find(program: &OsStr) -> Option<OsString> {
    if Path::new(program).components().count() > 1 {
        return None;
    }
    let is_executable = |file: &PathBuf| {
        std::fs::metadata(file)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(is_executable)
        .map(PathBuf::into_os_string)
}

fn not_started(program: &OsStr, error: &std::io::Error) -> CliError {
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        ErrorCode::CommandNotFound
    } else {
        ErrorCode::NotStarted
    };
    CliError::new(code, format!("{}: {error}", program.to_string_lossy()))
}
