//! Runs a program while a system call fails.
//!
//! strace fails calls on given paths, each given in full, as an argument or as the path of
//! a descriptor. A directory's path does not include the files below it, so all names are
//! taken from a recording.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::file_names::FileNames;
use super::strace::{self, Log};

/// Calls to fail. Calls that a system does not have are never hit.
pub const CALLS: [&str; 21] = [
    "open",
    "openat",
    "pread64",
    "read",
    "lseek",
    "write",
    "writev",
    "pwrite64",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mmap",
];

/// A call to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the call; see [`CALLS`].
    pub call: &'static str,
    /// The number of the call, from 1, counted per thread.
    pub nth: u32,
    /// Whether all later calls fail as well.
    pub forever: bool,
    /// The name of the error, such as `EIO` or `ENOSPC`.
    pub error: &'static str,
}

/// The result of a run with an injected fault.
#[derive(Debug)]
pub struct Faulted {
    /// Whether the fault occurred: whether there were enough calls.
    pub injected: bool,
    /// The calls that were failed, as strace shows them.
    pub hits: Vec<String>,
    /// The lines on standard output.
    pub lines: Vec<String>,
    /// The exit status.
    pub status: ExitStatus,
    /// The standard error output.
    pub stderr: String,
}

/// Runs `command` under strace so that the nth call on a file in `directory` fails, once or
/// from then on.
///
/// The files are those in `directory` now and those of `names`, which come from a recording
/// of the same command on a similar directory. The process id in a name is recognized. The
/// command must use absolute paths, since strace compares arguments literally. Other files,
/// such as libraries and the standard output, are not affected.
///
/// # Errors
///
/// If strace is missing or rejects the fault, or any error of the system. A failure of the
/// command is not an error.
pub fn run_with_fault(
    command: &Command,
    directory: &Path,
    names: &FileNames,
    fault: &Fault,
) -> io::Result<Faulted> {
    strace::check()?;
    let log = Log::new();
    let mut options = options(fault, log.path())?;
    for root in [directory.to_owned(), fs::canonicalize(directory)?] {
        for path in paths(directory, names)? {
            options.push(format!("-P {}", word_below(&root, &path, names.process)?));
        }
    }
    let mut faulted = shell(command, &options.join(" "));
    let output = faulted.stdin(Stdio::null()).output()?;
    let log = fs::read_to_string(log.path()).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    // strace reports at least the end of every process.
    if log.is_empty() {
        return Err(io::Error::other(format!("strace does not work: {stderr}")));
    }
    let hits: Vec<String> = log
        .lines()
        .filter(|line| line.contains("(INJECTED)"))
        .map(str::to_owned)
        .collect();
    Ok(Faulted {
        injected: !hits.is_empty(),
        hits,
        lines: String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect(),
        status: output.status,
        stderr,
    })
}

/// The options for strace, quoted for a shell.
fn options(fault: &Fault, log: &Path) -> io::Result<Vec<String>> {
    let Fault {
        call, nth, error, ..
    } = fault;
    let and_later = if fault.forever { "+" } else { "" };
    Ok(vec![
        "-f -y --quiet=attach,personality,path-resolution".to_owned(),
        format!("-e 'trace=?{call}'"),
        format!("-e 'inject=?{call}:error={error}:when={nth}{and_later}'"),
        format!("-o {}", word(log)?),
    ])
}

/// The paths to fail at, relative to the directory.
fn paths(directory: &Path, names: &FileNames) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = names.relative.iter().cloned().collect();
    paths.extend(super::image::read(directory)?.entries.into_keys());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Builds a shell command that runs the program as the parent of strace rather than as its
/// child (`-D`). So the shell knows the process id beforehand, and `$$` in an option is
/// that id.
fn shell(command: &Command, options: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("exec strace -D {options} -- \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    strace::copy_environment(&mut shell, command);
    shell
}

/// A path below a root, quoted for a shell, with `$$` in place of the process id.
fn word_below(root: &Path, path: &Path, process: u32) -> io::Result<String> {
    let root = word(root)?;
    if path.as_os_str().is_empty() {
        return Ok(root);
    }
    Ok(format!("{root}/{}", with_process(&word(path)?, process)))
}

/// A path, quoted for a shell.
fn word(path: &Path) -> io::Result<String> {
    let path = path
        .to_str()
        .ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
    Ok(format!("'{}'", path.replace('\'', r"'\''")))
}

fn with_process(quoted: &str, process: u32) -> String {
    let is_digit = |character: char| character.is_ascii_digit();
    let digits = process.to_string();
    let mut word = String::new();
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once(&digits) {
        word.push_str(before);
        // As part of a longer number it is not the process id.
        if word.ends_with(is_digit) || after.starts_with(is_digit) {
            word.push_str(&digits);
        } else {
            word.push_str("'$$'");
        }
        rest = after;
    }
    word + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_in_a_name_is_replaced_by_that_of_the_next_process() {
        let word = |path: &str| word_below(Path::new("/f 77"), Path::new(path), 77).unwrap();
        assert_eq!(word("keys.new-77/a'b"), r"'/f 77'/'keys.new-'$$'/a'\''b'");
        assert_eq!(word("177-771"), "'/f 77'/'177-771'");
        assert_eq!(word(""), "'/f 77'");
    }
}
