//! Creates and replaces files that only their owner can use.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The suffix of the temporary files.
const TEMPORARY_SUFFIX: &str = ".new";

/// Creates a file with mode 0600, and fsyncs it. Leaves no file if that fails.
pub(crate) fn write_new(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let written = created.write_all(bytes).and_then(|()| created.sync_all());
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(file);
    })
}

/// Replaces a file with a new one of mode 0600. A reader sees the old or the new contents,
/// even after a power loss.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY_SUFFIX);
    let temporary = file.with_file_name(name);
    // Left behind by an interrupted process: each file is replaced by one process at a time.
    let _ = std::fs::remove_file(&temporary);
    let replaced = write_new(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, file));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}

/// The temporary path of a file that is being written. It contains the process id, so that
/// two processes do not write to the same file.
///
/// # Errors
///
/// If `file` has no file name.
pub(crate) fn temporary_path(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    if name.is_empty() {
        let error = "not the path of a file";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, error));
    }
    name.push(format!(".{}{TEMPORARY_SUFFIX}", std::process::id()));
    Ok(file.with_file_name(name))
}

/// Renames a finished file to its final name, which must not exist, and fsyncs the
/// directory. Removes the file if that fails.
///
/// # Errors
///
/// Any error of the system.
pub(crate) fn name_new(temporary: &Path, file: &Path) -> std::io::Result<()> {
    rename_no_replace(temporary, file)?;
    // Without the fsync, a power loss could remove the name.
    sync_directory(temporary.parent().unwrap_or(Path::new("/"))).inspect_err(|_| {
        let _ = std::fs::remove_file(file);
    })
}

/// Renames a file to a name that must not exist.
pub(crate) fn rename_no_replace(temporary: &Path, file: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, temporary, CWD, file, RenameFlags::NOREPLACE) {
        // Not every file system supports this flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match file.symlink_metadata() {
            Ok(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(temporary, file),
        },
        renamed => Ok(renamed?),
    }
}

/// Lists the temporary files that were left in a directory.
///
/// # Errors
///
/// Any error of the system.
pub fn temporary_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(TEMPORARY_SUFFIX) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes the temporary files in a directory. The caller must make sure that no process
/// is writing one.
pub(crate) fn remove_temporary_files(directory: &Path) -> std::io::Result<()> {
    temporary_files(directory)?
        .into_iter()
        .try_for_each(std::fs::remove_file)
}

/// Fsyncs a directory, so that the names of its files survive a power loss.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates a directory with mode 0700, and its parents, unless it exists.
///
/// # Errors
///
/// Any error of the system.
pub fn private_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}
