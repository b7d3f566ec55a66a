//! Small files that only their owner can use, and the way to them.
//!
//! # Security
//!
//! Nobody but the owner and the system may decide which file a path leads to. A path is
//! therefore checked as it was given, one component at a time, as the kernel walks it:
//! each directory in which a name is looked up, and each link that is followed
//! ([`check_way`]). Because nobody else can change such a path, what was checked is what
//! is opened afterwards.
//!
//! A private file may itself be a link (to a mounted secret, say): then the way to what it
//! names is checked as well, and what it names must be as private as the file would have
//! to be.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::input_file::{InputFile, check_regular};
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

/// The most links on one way, as many as the kernel follows: those that lead in a circle
/// come to an end.
const MAX_LINKS: usize = 40;

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
    // A file whose name may go with the power is not there.
    sync_folder(made.parent().unwrap_or(Path::new("/"))).inspect_err(|_| {
        let _ = std::fs::remove_file(file);
    })
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

/// Reads a regular file that only the owner may be able to use; `None` if it is not
/// there. A link that leads to nothing is an error.
pub(crate) fn read_private(file: &Path, limit: usize) -> Result<Option<Secret>, KeyError> {
    let is_link = match file.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(file, error)),
        Ok(found) => found.is_symlink(),
    };
    if is_link {
        check_way(file)?;
    }
    let mut opened = match InputFile::open_regular(file).map_err(std::io::Error::from) {
        Ok(opened) => opened,
        // It was renamed meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_link => return Ok(None),
        Err(error) => return Err(failed(file, error)),
    };
    // Of the file that was opened, not of whatever has its name by now.
    let metadata = opened.metadata().map_err(|error| failed(file, error))?;
    check_metadata(file, &metadata, "600")?;
    Secret::read(&mut opened, limit)
        .map_err(|error| failed(file, error))?
        .ok_or(KeyError::Malformed {
            file: file.to_owned(),
            expected: "a key file",
        })
        .map(Some)
}

/// Reads a regular file that others may read, but not write ([`check_link`]).
pub(crate) fn read_trusted(file: &Path, limit: usize) -> Result<Vec<u8>, KeyError> {
    check_link(file)?;
    InputFile::open_regular(file)
        .and_then(|opened| opened.read_to_limit(limit))
        .map_err(|error| failed(file, error))
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
/// somebody else's; a link that others could lead elsewhere; and what is neither a
/// regular file nor a folder.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`].
pub fn check_private(file: &Path) -> Result<(), KeyError> {
    if link_metadata(file)?.is_symlink() {
        check_way(file)?;
    }
    let metadata = metadata(file)?;
    if metadata.is_dir() {
        return check_metadata(file, &metadata, "700");
    }
    check_regular(metadata.file_type()).map_err(|error| failed(file, error))?;
    check_metadata(file, &metadata, "600")
}

/// Refuses a link that others could lead elsewhere, or whose target they can write or is no
/// regular file. What is no link, or is not there, passes.
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`], the last also
/// for a link that leads to nothing.
pub fn check_link(file: &Path) -> Result<(), KeyError> {
    match file.symlink_metadata() {
        Ok(found) if found.is_symlink() => {}
        _ => return Ok(()),
    }
    check_way(file)?;
    let metadata = metadata(file)?;
    check_regular(metadata.file_type()).map_err(|error| failed(file, error))?;
    check_owner(file, &metadata)?;
    match metadata.mode() & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(too_open(file, &metadata)),
    }
}

/// Refuses a path that another user could lead elsewhere: each directory in which a name
/// of it is looked up must belong to the owner or to the system, and not be writable by
/// others, but for those like `/tmp` in which everybody can rename only what is theirs;
/// in those, a link must belong to the owner or to the system, too. The way that a link
/// names is checked in the same manner. What the path leads to is left to
/// [`check_private`].
///
/// # Errors
///
/// [`KeyError::TooOpen`], [`KeyError::ForeignOwner`], [`KeyError::File`]. If that says that
/// something is not there, the way is safe as far as it goes.
pub fn check_way(path: &Path) -> Result<(), KeyError> {
    walk(path).map(drop)
}

/// The same for what is yet to be made in `folder`, so that the folder is checked, too.
///
/// # Errors
///
/// As [`check_way`].
pub fn check_way_into(folder: &Path) -> Result<(), KeyError> {
    check_directory(&walk(folder)?)
}

/// Walks a path as the kernel does, and returns where it leads, without a link in it.
fn walk(path: &Path) -> Result<PathBuf, KeyError> {
    let absolute = std::path::absolute(path).map_err(|error| failed(path, error))?;
    let mut reached = PathBuf::from("/");
    let mut rest = Vec::new();
    push_components(&mut rest, &absolute);
    let mut links = 0;
    while let Some(component) = rest.pop() {
        match component.as_encoded_bytes() {
            b"/" => reached = PathBuf::from("/"),
            b"." => {}
            // There is no link in what was reached.
            b".." => {
                reached.pop();
            }
            _ => {
                let next = reached.join(component);
                let found = link_metadata(&next);
                // Only now: a directory that is mounted when it is used is by now.
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
    // Some links of /proc lead elsewhere than they say.
    let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    if links > 0 && metadata(&absolute).map(of)? != metadata(&reached).map(of)? {
        let error = std::io::Error::other("a link on the way leads elsewhere than it says");
        return Err(failed(path, error));
    }
    Ok(reached)
}

/// Puts the components of a path on a stack, the first on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    let components = path.components().rev();
    stack.extend(components.map(|component| component.as_os_str().to_owned()));
}

/// Refuses a directory in which others could put something else in the place of what is
/// there.
fn check_directory(directory: &Path) -> Result<(), KeyError> {
    let metadata = metadata(directory)?;
    check_owner(directory, &metadata)?;
    let mode = metadata.mode();
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(too_open(directory, &metadata));
    }
    Ok(())
}

/// Refuses what belongs neither to the owner nor to the system.
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

fn failed(file: &Path, error: impl Into<std::io::Error>) -> KeyError {
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

fn check_metadata(
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;

    /// Somebody else: `nobody`, by convention.
    const NOBODY: u32 = 65534;

    /// A directory in one of the test's own, with a mode.
    fn directory(base: &Path, name: &str, mode: u32) -> PathBuf {
        let made = base.join(name);
        std::fs::create_dir_all(&made).unwrap();
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode)).unwrap();
        made
    }

    fn private_file(file: &Path) {
        write_new(file, b"text").unwrap();
    }

    /// Gives a file to somebody else; only root can.
    fn give_away(file: &Path) -> bool {
        let given = lchown(file, Some(NOBODY), Some(NOBODY)).is_ok();
        if !given {
            println!("skipped: only root can give files away");
        }
        given
    }

    #[test]
    fn a_way_is_checked_as_it_was_given_and_not_only_where_it_leads() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let real = directory(base, "real/home", 0o700);
        let shared = directory(base, "shared", 0o777);
        symlink(&real, shared.join("home")).unwrap();
        check_way(&real).unwrap();
        for way in [
            shared.join("home"),
            shared.join("home/keys/.."),
            base.join("real/../shared/home"),
        ] {
            directory(&real, "keys", 0o700);
            match check_way(&way) {
                Err(KeyError::TooOpen { file, mode, .. }) => {
                    assert_eq!((&file, mode), (&shared, 0o777), "{}", way.display());
                }
                other => panic!("{}: {other:?}", way.display()),
            }
            assert!(check_private(&way).is_err() || way.ends_with(".."));
            assert!(check_way_into(&way).is_err());
        }
    }

    #[test]
    fn a_link_is_followed_through_all_that_it_leads_over() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let real = directory(base, "real", 0o700);
        let shared = directory(base, "shared", 0o777);
        let own = directory(base, "own", 0o755);
        // From a safe link over an unsafe one.
        symlink(&real, shared.join("second")).unwrap();
        symlink("../shared/second", own.join("first")).unwrap();
        assert!(matches!(
            check_way(&own.join("first")),
            Err(KeyError::TooOpen { file, .. }) if file == shared
        ));
        // Over safe ones only, relative and absolute, up and down.
        std::fs::remove_file(own.join("first")).unwrap();
        symlink("second", own.join("first")).unwrap();
        symlink("../own/./third/", own.join("second")).unwrap();
        symlink(&real, own.join("third")).unwrap();
        check_way(&own.join("first")).unwrap();
        check_way_into(&own.join("first")).unwrap();
        check_private(&own.join("first")).unwrap();
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let base = tempfile::tempdir().unwrap();
        let (one, two) = (base.path().join("one"), base.path().join("two"));
        symlink(&two, &one).unwrap();
        symlink(&one, &two).unwrap();
        assert!(matches!(check_way(&one), Err(KeyError::File { error, .. })
            if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())));
    }

    #[test]
    fn in_a_directory_like_tmp_a_link_must_be_the_owners_or_the_systems() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let real = directory(base, "real", 0o700);
        let sticky = directory(base, "sticky", 0o1777);
        let link = sticky.join("home");
        symlink(&real, &link).unwrap();
        check_way(&link).unwrap();
        if give_away(&link) {
            assert!(
                matches!(check_way(&link), Err(KeyError::ForeignOwner { file }) if file == link)
            );
            // In a directory that only its owner writes, it does not matter whose it is.
            let own = directory(base, "own", 0o755);
            symlink(&real, own.join("home")).unwrap();
            assert!(give_away(&own.join("home")));
            check_way(&own.join("home")).unwrap();
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_on_no_way() {
        let base = tempfile::tempdir().unwrap();
        let theirs = directory(base.path(), "theirs", 0o755);
        let home = directory(&theirs, "home", 0o700);
        check_way(&home).unwrap();
        if give_away(&theirs) {
            assert!(
                matches!(check_way(&home), Err(KeyError::ForeignOwner { file }) if file == theirs)
            );
        }
    }

    #[test]
    fn a_mounted_secret_of_kubernetes_is_private_by_the_way_it_is_mounted() {
        let base = tempfile::tempdir().unwrap();
        let mount = directory(base.path(), "mount", 0o1777);
        let version = directory(&mount, "..2026_11_27_00_00_00.1", 0o755);
        private_file(&version.join("identity.txt"));
        symlink("..2026_11_27_00_00_00.1", mount.join("..data")).unwrap();
        symlink("..data/identity.txt", mount.join("identity.txt")).unwrap();
        let keys = directory(base.path(), "keys", 0o700);
        symlink(mount.join("identity.txt"), keys.join("identity.txt")).unwrap();
        for file in [mount.join("identity.txt"), keys.join("identity.txt")] {
            check_private(&file).unwrap();
            check_link(&file).unwrap();
            let read = read_private(&file, 99).unwrap().unwrap();
            assert_eq!(read.expose(), b"text");
        }
    }

    #[test]
    fn a_private_file_is_not_read_over_a_link_that_others_can_change() {
        let base = tempfile::tempdir().unwrap();
        let shared = directory(base.path(), "shared", 0o777);
        private_file(&shared.join("file"));
        let link = base.path().join("link");
        symlink(shared.join("file"), &link).unwrap();
        let is_refused = |checked: Result<(), KeyError>| {
            assert!(
                matches!(&checked, Err(KeyError::TooOpen { file, .. }) if *file == shared),
                "{checked:?}"
            );
        };
        is_refused(check_private(&link));
        is_refused(check_link(&link));
        is_refused(read_private(&link, 99).map(drop));
        is_refused(read_trusted(&link, 99).map(drop));
    }

    #[test]
    fn what_a_link_names_must_not_be_written_by_others() {
        let base = tempfile::tempdir().unwrap();
        let (target, link) = (base.path().join("target"), base.path().join("link"));
        private_file(&target);
        symlink(&target, &link).unwrap();
        let set = |mode| {
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o644);
        check_link(&link).unwrap();
        assert!(matches!(
            check_private(&link),
            Err(KeyError::TooOpen { .. })
        ));
        set(0o664);
        assert!(matches!(check_link(&link), Err(KeyError::TooOpen { .. })));
        // What is no link is for others to judge.
        check_link(&target).unwrap();
        check_link(&base.path().join("nothing")).unwrap();
    }

    #[test]
    fn a_link_to_nothing_is_an_error_and_not_a_missing_file() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("link");
        assert!(read_private(&link, 99).unwrap().is_none());
        symlink("nothing", &link).unwrap();
        for checked in [
            check_private(&link),
            check_link(&link),
            read_private(&link, 99).map(drop),
        ] {
            assert!(
                matches!(&checked, Err(KeyError::File { error, .. })
                    if error.kind() == std::io::ErrorKind::NotFound),
                "{checked:?}"
            );
        }
    }

    #[test]
    fn a_pipe_or_device_is_no_private_file() {
        let base = tempfile::tempdir().unwrap();
        let pipe = base.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let link = base.path().join("link");
        symlink("/dev/zero", &link).unwrap();
        for (file, kind) in [(&pipe, "a named pipe"), (&link, "a device")] {
            for checked in [
                check_private(file),
                read_private(file, 99).map(drop),
                read_trusted(file, 99).map(drop),
            ] {
                let error = checked.unwrap_err().to_string();
                assert!(error.contains(kind), "{error}");
            }
        }
    }
}
