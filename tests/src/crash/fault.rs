//! What a program does when a system call fails.
//!
//! strace makes calls fail that concern certain paths, each given whole: as an
//! argument, or as what a descriptor stands for. A folder's path does not stand
//! for what is below it, so all names are taken from a recording.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::FileNames;
use super::strace::{self, Log};

/// Calls that are worth failing. A system does not have them all: those that it
/// does not have are never hit.
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

/// A call that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name, such as those of [`CALLS`].
    pub call: &'static str,
    /// Which one, from 1. Each thread counts its own calls.
    pub nth: u32,
    /// Whether all that come after it fail too.
    pub forever: bool,
    /// The name of the error, such as `EIO` or `ENOSPC`.
    pub error: &'static str,
}

/// What one run under an injected fault did.
#[derive(Debug)]
pub struct Faulted {
    /// Whether there were as many calls as it takes.
    pub injected: bool,
    /// The calls that failed for it, as strace shows them.
    pub hits: Vec<String>,
    /// What it wrote on standard output.
    pub lines: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on standard error.
    pub stderr: String,
}

/// Runs `command` under strace so that the nth call on a file below `folder` fails,
/// once or from then on.
///
/// The files are those in `folder` now and those of `names`, which come from a
/// recording of such a command on such a folder, not necessarily this one. A name
/// with the number of the process in it is recognized. The command must use
/// absolute paths: strace compares arguments as they are given. Nothing but these
/// files is concerned; neither are libraries or the standard output.
///
/// # Errors
///
/// When strace is missing or refuses the fault, or whatever the system says.
/// That the command fails is none.
pub fn run_with_fault(
    command: &Command,
    folder: &Path,
    names: &FileNames,
    fault: &Fault,
) -> io::Result<Faulted> {
    strace::check()?;
    let log = Log::new();
    let mut options = options(fault, log.path())?;
    for root in [folder.to_owned(), fs::canonicalize(folder)?] {
        for path in paths(folder, names)? {
            options.push(format!("-P {}", word_below(&root, &path, names.process)?));
        }
    }
    let mut faulted = shell(command, &options.join(" "));
    let output = faulted.stdin(Stdio::null()).output()?;
    let log = fs::read_to_string(log.path()).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    // At least it says of every process that it ended.
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

/// As words of a shell.
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

/// The paths to fail at, from the folder.
fn paths(folder: &Path, names: &FileNames) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = names.relative.iter().cloned().collect();
    paths.extend(super::folder::read(folder)?.entries.into_keys());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The command, as the process that strace looks on rather than as its child: so
/// the shell knows its number beforehand, and `$$` in an option is that number.
fn shell(command: &Command, options: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("exec strace -D {options} -- \"$@\""))
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args());
    strace::surround(&mut shell, command);
    shell
}

/// A path below a root as one word of a shell, with `$$` where it holds the
/// process's number.
fn word_below(root: &Path, path: &Path, process: u32) -> io::Result<String> {
    let root = word(root)?;
    if path.as_os_str().is_empty() {
        return Ok(root);
    }
    Ok(format!("{root}/{}", with_process(&word(path)?, process)))
}

/// A path as one word of a shell.
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
        // Part of a longer number it is not the process's.
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
    fn a_name_with_the_number_of_the_process_holds_the_next_ones() {
        let word = |path: &str| word_below(Path::new("/f 77"), Path::new(path), 77).unwrap();
        assert_eq!(word("keys.new-77/a'b"), r"'/f 77'/'keys.new-'$$'/a'\''b'");
        assert_eq!(word("177-771"), "'/f 77'/'177-771'");
        assert_eq!(word(""), "'/f 77'");
    }
}
