//! Small files that only their owner can use.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::keys::KeyError;
use crate::secret::Secret;

/// The mode bits of those who are not the owner.
const OTHERS: u32 = 0o077;

/// The mode bits by which those who are not the owner can write.
const OTHERS_WRITE: u32 = 0o022;

/// What the name of a file that is not finished ends with.
const UNFINISHED: &str = ".new";

/// The bit of a folder in which only a file's owner can rename or remove it.
const STICKY: u32 = 0o1000;

/// Makes a file that only the owner can use, and sees it onto the disk.
pub(crate) fn write_new(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    made.write_all(bytes)?;
    made.sync_all()
}

/// Puts a file that only the owner can use in the place of whatever has its name:
/// whoever reads finds the old or the new, also after a loss of power.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    let made = file.with_file_name(name);
    // One that was left behind by a process that was stopped: each file is replaced by
    // one process at a time.
    let _ = std::fs::remove_file(&made);
    let replaced = write_new(&made, bytes).and_then(|()| std::fs::rename(&made, file));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&made);
    }
    replaced
}

/// The name that a file has until it is finished, beside the one that it is to have.
/// Another process has another, so that two do not write to one file.
///
/// # Errors
///
/// If `file` is no name that a file can have.
pub(crate) fn unfinished_name(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    if name.is_empty() {
        let error = "this is not the name of a file";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, error));
    }
    name.push(format!(".{}{UNFINISHED}", std::process::id()));
    Ok(file.with_file_name(name))
}

/// Gives a file that is finished its name, which no other file may have, and sees the
/// name onto the disk.
///
/// # Errors
///
/// Whatever the system says.
pub(crate) fn rename_to_new(made: &Path, file: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, made, CWD, file, RenameFlags::NOREPLACE) {
        // Not every file system can refuse to replace a file by itself.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match file.symlink_metadata() {
            Ok(_) => return Err(std::io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(made, file)?,
        },
        renamed => renamed?,
    }
    sync_folder(made.parent().unwrap_or(Path::new("/")))
}

/// The files in a folder that were never finished.
///
/// # Errors
///
/// Whatever the system says.
pub fn unfinished(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes them. The caller sees to it that nobody is at work.
pub(crate) fn remove_unfinished(folder: &Path) -> std::io::Result<()> {
    unfinished(folder)?
        .into_iter()
        .try_for_each(std::fs::remove_file)
}

/// Sees the names in a folder onto the disk.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Reads a file of at most `limit` bytes; `None` if there is more.
pub(crate) fn read_at_most(file: &Path, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(more).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Reads a file that only the owner may be able to use; `None` if it is not there.
pub(crate) fn read_private(file: &Path, limit: usize) -> Result<Option<Secret>, KeyError> {
    let failed = |error| KeyError::File {
        file: file.to_owned(),
        error,
    };
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the file that was opened, not of whatever has its name by now.
    check_metadata(file, &opened.metadata().map_err(failed)?, "600")?;
    Secret::read(&mut opened, limit)
        .map_err(failed)?
        .ok_or(KeyError::Malformed {
            file: file.to_owned(),
            expected: "a key file",
        })
        .map(Some)
}

/// Makes a folder that only the owner can enter; one that is there stays.
///
/// # Errors
///
/// Whatever the system says.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Refuses a file or folder that others than its owner can use, or that is
/// somebody else's.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`].
pub fn check_private(file: &Path) -> Result<(), KeyError> {
    let metadata = metadata(file)?;
    check_metadata(
        file,
        &metadata,
        if metadata.is_dir() { "700" } else { "600" },
    )
}

/// Refuses a folder that another user could swap for one of their own: each folder
/// above must be the owner's or the system's, and not be written by others, but for
/// those like `/tmp` in which everybody can rename only what is theirs.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`].
pub fn check_way(folder: &Path) -> Result<(), KeyError> {
    check_owners(whole(folder)?.ancestors().skip(1))
}

/// The same for a folder that is yet to be made in `folder`.
///
/// # Errors
///
/// As [`check_way`].
pub fn check_way_into(folder: &Path) -> Result<(), KeyError> {
    check_owners(whole(folder)?.ancestors())
}

fn whole(folder: &Path) -> Result<PathBuf, KeyError> {
    folder.canonicalize().map_err(|error| KeyError::File {
        file: folder.to_owned(),
        error,
    })
}

fn check_owners<'a>(folders: impl Iterator<Item = &'a Path>) -> Result<(), KeyError> {
    for above in folders {
        let metadata = metadata(above)?;
        let theirs = metadata.uid() != own_user() && metadata.uid() != 0;
        if theirs {
            return Err(KeyError::ForeignOwner {
                file: above.to_owned(),
            });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(KeyError::TooOpen {
                file: above.to_owned(),
                mode,
                remedy: "go-w",
            });
        }
    }
    Ok(())
}

fn metadata(file: &Path) -> Result<std::fs::Metadata, KeyError> {
    std::fs::metadata(file).map_err(|error| KeyError::File {
        file: file.to_owned(),
        error,
    })
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn check_metadata(
    file: &Path,
    metadata: &std::fs::Metadata,
    remedy: &'static str,
) -> Result<(), KeyError> {
    if metadata.uid() != own_user() {
        return Err(KeyError::ForeignOwner {
            file: PathBuf::from(file),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::TooOpen {
            file: file.to_owned(),
            mode,
            remedy,
        });
    }
    Ok(())
}
