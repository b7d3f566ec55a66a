//! Checks of who can change a file, or the path to it.
//!
//! # Security
//!
//! Nobody but the owner and the system may decide which file a path leads to. A path is
//! therefore checked as it was given, one component at a time, as the kernel walks it:
//! each directory in which a name is looked up, and each link that is followed
//! ([`check_ancestors`]). Because nobody else can change such a path, the file that was
//! checked is the file that is opened afterwards.
//!
//! A private file may itself be a link (to a mounted secret, for example). Then the path
//! of its target is checked as well, and the target must be as private as the file would
//! have to be.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::input_file::check_regular;
use crate::keys::error::KeyError;

/// The mode bits of everyone but the owner.
const OTHERS: u32 = 0o077;

/// The mode bits that allow everyone but the owner to write.
const OTHERS_WRITE: u32 = 0o022;

/// The mode bit of a directory in which only the owner of a file can rename or remove it.
const STICKY: u32 = 0o1000;

/// The maximum number of links on one path, the same as the kernel's.
const MAX_LINKS: usize = 40;

/// Fails if others than the owner can use a file or directory, if it belongs to another
/// user, if it is a link that others can redirect, or if it is neither a regular file nor a
/// directory.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`].
pub fn check_private(file: &Path) -> Result<(), KeyError> {
    if link_metadata(file)?.is_symlink() {
        check_ancestors(file)?;
    }
    let metadata = metadata(file)?;
    if metadata.is_dir() {
        return check_private_metadata(file, &metadata, "700");
    }
    check_regular(metadata.file_type()).map_err(|error| failed(file, error))?;
    check_private_metadata(file, &metadata, "600")
}

/// Fails if a file is a link that others can redirect, whose target others can write, or
/// whose target is not a regular file. Succeeds if the file is not a link or does not
/// exist.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`]; [`KeyError::File`], also for a
/// dangling link.
pub fn check_link(file: &Path) -> Result<(), KeyError> {
    match file.symlink_metadata() {
        Ok(found) if found.is_symlink() => {}
        _ => return Ok(()),
    }
    check_ancestors(file)?;
    let metadata = metadata(file)?;
    check_regular(metadata.file_type()).map_err(|error| failed(file, error))?;
    check_owner(file, &metadata)?;
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(too_open(file, &metadata));
    }
    Ok(())
}

/// Fails if another user can redirect a path. Each directory in which a name of the path is
/// looked up must belong to the owner or to the system, and must not be writable by others,
/// except sticky directories like `/tmp`, where users can rename only their own files. In a
/// sticky directory, a link must belong to the owner or to the system as well. The targets
/// of links are checked in the same way. The file itself is not checked; see
/// [`check_private`].
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`]. A not-found error
/// means that the existing part of the path is safe.
pub fn check_ancestors(path: &Path) -> Result<(), KeyError> {
    resolve(path).map(drop)
}

/// The same for a file that will be created in `directory`: also checks the directory.
///
/// # Errors
///
/// The same as [`check_ancestors`].
pub fn check_parent(directory: &Path) -> Result<(), KeyError> {
    check_directory(&resolve(directory)?)
}

/// Resolves a path as the kernel does, checking each directory, and returns the path
/// without links.
fn resolve(path: &Path) -> Result<PathBuf, KeyError> {
    let absolute = std::path::absolute(path).map_err(|error| failed(path, error))?;
    let mut reached = PathBuf::from("/");
    let mut rest = Vec::new();
    push_components(&mut rest, &absolute);
    let mut links = 0;
    while let Some(component) = rest.pop() {
        match component.as_encoded_bytes() {
            b"/" => reached = PathBuf::from("/"),
            b"." => {}
            // `reached` contains no links.
            b".." => {
                reached.pop();
            }
            _ => {
                let next = reached.join(component);
                let found = link_metadata(&next);
                // After the lookup, which mounts an automounted directory.
                check_directory(&reached)?;
                let found = found?;
                if !found.is_symlink() {
                    reached = next;
                    continue;
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(failed(path, rustix::io::Errno::LOOP));
                }
                if metadata(&reached)?.mode() & OTHERS_WRITE != 0 {
                    check_owner(&next, &found)?;
                }
                let target = std::fs::read_link(&next).map_err(|error| failed(&next, error))?;
                push_components(&mut rest, &target);
            }
        }
    }
    // Some links of /proc do not lead to the path that they contain.
    let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    if links > 0 && metadata(&absolute).map(inode)? != metadata(&reached).map(inode)? {
        let error =
            std::io::Error::other("a link in this path does not lead to the path that it contains");
        return Err(failed(path, error));
    }
    Ok(reached)
}

/// Pushes the components of a path onto a stack, the first on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev();
    stack.extend(components.map(|component| component.as_os_str().to_owned()));
}

/// Fails if others can replace the files of a directory.
fn check_directory(directory: &Path) -> Result<(), KeyError> {
    let metadata = metadata(directory)?;
    check_owner(directory, &metadata)?;
    let mode = metadata.mode();
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(too_open(directory, &metadata));
    }
    Ok(())
}

/// Fails unless the file belongs to the owner or to the system.
fn check_owner(file: &Path, metadata: &std::fs::Metadata) -> Result<(), KeyError> {
    if metadata.uid() == own_user() || metadata.uid() == 0 {
        return Ok(());
    }
    Err(KeyError::ForeignOwner {
        file: file.to_owned(),
    })
}

fn too_open(file: &Path, metadata: &std::fs::Metadata) -> KeyError {
    KeyError::TooOpen {
        file: file.to_owned(),
        mode: metadata.mode() & 0o7777,
        remedy: "go-w",
    }
}

pub(super) fn failed(file: &Path, error: impl Into<std::io::Error>) -> KeyError {
    KeyError::File {
        file: file.to_owned(),
        error: error.into(),
    }
}

fn link_metadata(file: &Path) -> Result<std::fs::Metadata, KeyError> {
    std::fs::symlink_metadata(file).map_err(|error| failed(file, error))
}

fn metadata(file: &Path) -> Result<std::fs::Metadata, KeyError> {
    std::fs::metadata(file).map_err(|error| failed(file, error))
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(super) fn check_private_metadata(
    file: &Path,
    metadata: &std::fs::Metadata,
    remedy: &'static str,
) -> Result<(), KeyError> {
    if metadata.uid() != own_user() {
        return Err(KeyError::ForeignOwner {
            file: file.to_owned(),
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
