//! The files of a decision log: listing them, and opening them for reading.
//!
//! # Security
//!
//! Only regular files are read. A pipe, a device or a directory with the name of a log
//! file is an error, and is never waited for. Symbolic links are followed: only the owner
//! can write the directory, and may keep the log on another disk.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::Error;
use crate::home::Home;

/// The highest number of a file: six digits.
pub(super) const MAX_NUMBER: u64 = 999_999;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path.
    pub path: PathBuf,
    /// Its number; `None` for the current file.
    pub number: Option<u64>,
}

/// The paths of the log, its head and its key.
#[derive(Clone, Debug)]
pub(super) struct LogPaths {
    pub(super) log: PathBuf,
    pub(super) heads: PathBuf,
    pub(super) key: PathBuf,
}

impl LogPaths {
    pub(super) fn of(home: &Home) -> Self {
        LogPaths {
            log: home.decision_log(),
            heads: home.decision_log().with_extension("head"),
            key: home.keys_directory().join("log.key"),
        }
    }
}

/// Identifies a file regardless of its name: device and inode.
pub(super) type FileId = (u64, u64);

pub(super) fn file_id(metadata: &std::fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// The existing files of a log, oldest first, the current file last.
///
/// # Errors
///
/// Fails if the directory cannot be read.
pub fn log_files(current: &Path) -> std::io::Result<Vec<LogFile>> {
    let directory = current.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = number_of(current, &path);
        if number.is_some() {
            files.push(LogFile { path, number });
        }
    }
    files.sort_by_key(|file| file.number);
    if current.symlink_metadata().is_ok() {
        files.push(LogFile {
            path: current.to_owned(),
            number: None,
        });
    }
    Ok(files)
}

/// The number in the name of a full file.
fn number_of(current: &Path, path: &Path) -> Option<u64> {
    let stem = current.file_stem()?.to_str()?;
    let name = path.file_name()?.to_str()?;
    let digits = name
        .strip_prefix(stem)?
        .strip_prefix('.')?
        .strip_suffix(".jsonl")?;
    let number = digits.parse().ok()?;
    // Each number has exactly one name.
    (numbered_name(stem, number) == name && (1..=MAX_NUMBER).contains(&number)).then_some(number)
}

/// The path of the full file with a number.
pub(super) fn numbered_path(current: &Path, number: u64) -> PathBuf {
    let stem = current.file_stem().unwrap_or_default().to_string_lossy();
    current.with_file_name(numbered_name(&stem, number))
}

fn numbered_name(stem: &str, number: u64) -> String {
    format!("{stem}.{number:06}.jsonl")
}

/// Opens a file of the log for reading.
///
/// # Errors
///
/// Fails if the file cannot be opened or is not a regular file.
pub(super) fn open_to_read(path: &Path) -> std::io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::other(
        "it is not a regular file, so it cannot be read back; move it away",
    ))
}

/// Opens a file of the log for reading; `None` if it does not exist.
pub(crate) fn open_if_exists(path: &Path) -> std::io::Result<Option<File>> {
    match open_to_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Fails unless the file is a regular file that only its owner can use.
pub(super) fn check_private(path: &Path, file: &File) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(std::io::Error::other(format!(
            "{shown} is not a regular file; move it away"
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(std::io::Error::other(format!(
            "others can use {shown}; run: chmod 600 {shown}"
        )));
    }
    Ok(())
}

/// Fsyncs the directory of a file.
pub(super) fn sync_directory(file: &Path) -> std::io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Adds the path of the file to an error.
pub(super) fn with_path(path: &Path, error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The error of an operation on the decision log.
pub(super) fn log_error(error: std::io::Error) -> Error {
    Error::Home(format!("the decision log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_exactly_one_name() {
        let current = Path::new("/x/decisions.jsonl");
        let number = |name: &str| number_of(current, &Path::new("/x").join(name));
        assert_eq!(number("decisions.000001.jsonl"), Some(1));
        assert_eq!(number("decisions.999999.jsonl"), Some(999_999));
        for name in [
            "decisions.jsonl",
            "decisions.1.jsonl",
            "decisions.+00001.jsonl",
            "decisions.000000.jsonl",
            "decisions.1000000.jsonl",
            "decisions.000001.json",
            "other.000001.jsonl",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
        assert_eq!(
            numbered_path(current, 12),
            Path::new("/x/decisions.000012.jsonl")
        );
    }
}
