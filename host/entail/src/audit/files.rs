//! The files of a log: which there are, and opening them to be read.
//!
//! # Security
//!
//! Only regular files are read. What has the name of a file of the log and is a pipe,
//! a device or a directory is an error, found without waiting for it. Links are
//! followed: the directory is the owner's alone, who may keep the log on another disk.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// No file has a higher number: six digits.
pub(super) const MAX_NUMBER: u64 = 999_999;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its number; `None` for the one that is being written.
    pub number: Option<u64>,
}

/// Tells a file from others, whatever its name.
pub(super) type FileId = (u64, u64);

pub(super) fn id_of(metadata: &std::fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// The files of a log that are there, oldest first, the one being written last.
///
/// # Errors
///
/// When the directory cannot be read.
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

/// The number of a full file, from its name.
fn number_of(current: &Path, path: &Path) -> Option<u64> {
    let stem = current.file_stem()?.to_str()?;
    let name = path.file_name()?.to_str()?;
    let digits = name
        .strip_prefix(stem)?
        .strip_prefix('.')?
        .strip_suffix(".jsonl")?;
    // One name per number.
    let number = digits.parse().ok()?;
    (numbered_name(stem, number) == name && (1..=MAX_NUMBER).contains(&number)).then_some(number)
}

/// Where the full file of a number is.
pub(super) fn numbered(current: &Path, number: u64) -> PathBuf {
    let stem = current.file_stem().unwrap_or_default().to_string_lossy();
    current.with_file_name(numbered_name(&stem, number))
}

fn numbered_name(stem: &str, number: u64) -> String {
    format!("{stem}.{number:06}.jsonl")
}

/// Opens a file of the log to be read.
///
/// # Errors
///
/// When the system does not open it, or it is no regular file.
pub(super) fn open_to_read(path: &Path) -> std::io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    check_regular(&file)?;
    Ok(file)
}

/// The same, or `None` if it is not there.
pub(crate) fn open_if_there(path: &Path) -> std::io::Result<Option<File>> {
    match open_to_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn check_regular(file: &File) -> std::io::Result<()> {
    if file.metadata()?.is_file() {
        return Ok(());
    }
    Err(std::io::Error::other(
        "it is not a regular file, so nothing can be read back from it; move it away",
    ))
}

/// An error that names the file that it is about.
pub(super) fn about(path: &Path, error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
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
            numbered(current, 12),
            Path::new("/x/decisions.000012.jsonl")
        );
    }
}
