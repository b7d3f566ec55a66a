//! A private directory for files with secrets, and the directories that killed processes
//! left.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use entail::Secret;
use entail::store::{InputFile, KeyError, check_ancestors, check_parent, check_private};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, openat, rmdir, unlinkat};
use rustix::process::geteuid;

use super::process::Process;
use crate::error::{CliError, ErrorCode};
use crate::output::{Style, err};
use crate::temporary;

/// The prefix of the names of the directories.
const PREFIX: &str = "entail-run-";

/// The number of random characters after it.
const RANDOM_CHARACTERS: usize = 6;

/// A file system in memory, used if there is no private runtime directory.
const SHARED_MEMORY: &str = "/dev/shm";

/// The file that names the process of the command.
const COMMAND: &str = "command";

/// The maximum length of that file: two numbers and a space.
const MAX_NOTE_BYTES: usize = 64;

/// The maximum number of files of a command: one for each provider that needs one.
const MAX_FILES: usize = 256;

/// A younger directory may not be locked yet.
const MIN_AGE: Duration = Duration::from_secs(5);

/// What files are overwritten with, one block at a time.
const ZEROS: [u8; 4096] = [0; 4096];

/// Removes a directory that a killed process left.
pub fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default();
    if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
        return;
    }
    // If this fails, `entail doctor` reports the directory.
    if let Ok(directory) = open_directory(path) {
        let _ = unlinkat(&directory, COMMAND, AtFlags::empty());
        for number in 0..MAX_FILES {
            let _ = unlinkat(&directory, file_name(number), AtFlags::empty());
        }
        let _ = rmdir(path);
    }
}

/// Locks a directory, which marks it as in use until the descriptor is dropped.
///
/// # Errors
///
/// Fails if it cannot be opened or locked.
pub fn lock(path: &Path) -> std::io::Result<OwnedFd> {
    let directory = open_directory(path)?;
    flock(&directory, FlockOperation::NonBlockingLockShared)?;
    Ok(directory)
}

/// Removes the directories of commands that have ended, if both their `entail run` and its
/// keeper were killed.
pub fn remove_leftovers() {
    for path in leftovers() {
        remove(&path);
    }
}

/// The directories that no process uses and none removed.
pub fn leftovers() -> Vec<PathBuf> {
    let places = places().into_iter();
    let safe = places.filter(|(place, check)| check(place).is_ok());
    let mut found: Vec<PathBuf> = safe
        .filter_map(|(place, _)| std::fs::read_dir(place).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_of_a_run(path) && is_unused(path))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether the name of a directory and everything in it has the form that runs use.
fn is_of_a_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let random = name.and_then(|name| name.strip_prefix(PREFIX));
    let is_random = |random: &str| {
        random.len() == RANDOM_CHARACTERS && random.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_made_by_runs = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let has_form = name.is_some_and(|name| {
            let number = name
                .strip_prefix("credential-")
                .and_then(|rest| rest.strip_suffix(".json"));
            name == COMMAND || number.is_some_and(|number| number.parse::<u8>().is_ok())
        });
        let is_private = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_file() && found.mode() & 0o777 == 0o600);
        has_form && is_private
    };
    random.is_some_and(is_random)
        && std::fs::read_dir(path).is_ok_and(|entries| {
            let mut entries = entries.map(|entry| entry.map(|entry| entry.path()));
            entries.all(|path| path.is_ok_and(is_made_by_runs))
        })
}

/// Whether a directory belongs to this user and no process uses it. The content of another
/// user's directory is not read.
fn is_unused(path: &Path) -> bool {
    let Ok(directory) = open_directory(path).map(File::from) else {
        return false;
    };
    let Ok(found) = directory.metadata() else {
        return false;
    };
    if found.uid() != geteuid().as_raw() || found.mode() & 0o777 != 0o700 {
        return false;
    }
    let age = found.modified().ok().and_then(|made| made.elapsed().ok());
    flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        // A new directory is not locked yet.
        && age.is_some_and(|age| age > MIN_AGE)
        && !command_in(path).is_some_and(|process| process.is_running())
}

/// The process of the command, as noted in a directory.
fn command_in(directory: &Path) -> Option<Process> {
    let file = InputFile::open_regular_no_link(&directory.join(COMMAND)).ok()?;
    let text = file.read_to_limit(MAX_NOTE_BYTES).ok()?;
    Process::parse(std::str::from_utf8(&text).ok()?)
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn file_name(number: usize) -> String {
    format!("credential-{number}.json")
}

/// A directory that only the owner can enter, and the files in it.
pub struct PrivateDirectory {
    path: PathBuf,
    /// The parent directory.
    place: OwnedFd,
    name: String,
    directory: OwnedFd,
    files: Vec<SecretFile>,
}

struct SecretFile {
    name: String,
    file: File,
    length: usize,
}

impl PrivateDirectory {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a directory in the first safe place.
    ///
    /// # Errors
    ///
    /// Fails if there is no safe place.
    pub fn new() -> Result<Self, CliError> {
        let mut skipped = Vec::new();
        for (place, check) in places() {
            let made = check(&place)
                .map_err(|error| error.to_string())
                .and_then(|()| Self::new_in(&place).map_err(|error| error.to_string()));
            match made {
                Ok(made) => return Ok(made),
                Err(error) => skipped.push(format!("{}: {error}", place.display())),
            }
        }
        Err(CliError::new(
            ErrorCode::Io,
            format!(
                "there is no safe place for a private file of the command ({})",
                skipped.join("; ")
            ),
        )
        .with_remedies(vec![
            "set XDG_RUNTIME_DIR to a private directory (mode 0700)".to_owned(),
        ]))
    }

    fn new_in(path: &Path) -> std::io::Result<Self> {
        let place = openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // Fails if the name is taken.
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(RANDOM_CHARACTERS)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(path)?;
        let name = made.path().file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&place, name.as_str(), flags, Mode::empty())?;
        flock(&directory, FlockOperation::NonBlockingLockShared)?;
        let found = File::from(directory.try_clone()?).metadata()?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o777 != 0o700 {
            return Err(std::io::Error::other("the new directory is not private"));
        }
        Ok(PrivateDirectory {
            path: made.keep(),
            place,
            name,
            directory,
            files: Vec::new(),
        })
    }

    /// Writes a new file and returns its path.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn add(&mut self, secret: &Secret) -> std::io::Result<PathBuf> {
        if self.files.len() == MAX_FILES {
            return Err(std::io::Error::other("there are too many files"));
        }
        let name = file_name(self.files.len());
        let path = self.path.join(&name);
        let mut file = self.create(&name)?;
        let written = file.write_all(secret.expose());
        self.files.push(SecretFile {
            name,
            file,
            length: secret.len(),
        });
        written.map(|()| path)
    }

    /// Writes down which process needs the files.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn note_command(&self, process: &Process) -> std::io::Result<()> {
        let Process { id, start } = process;
        self.create(COMMAND)?
            .write_all(format!("{id} {start}").as_bytes())
    }

    fn create(&self, name: &str) -> std::io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(File::from(file))
    }
}

impl SecretFile {
    /// Writes zeros over what was written.
    fn overwrite(&self) -> std::io::Result<()> {
        let mut done = 0;
        while done < self.length {
            let piece = ZEROS.len().min(self.length - done);
            let zeros = ZEROS.get(..piece).unwrap_or(&ZEROS);
            self.file
                .write_all_at(zeros, u64::try_from(done).unwrap_or(u64::MAX))?;
            done += piece;
        }
        Ok(())
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        for file in &self.files {
            // While dropping, an error cannot be returned.
            let _ = file.overwrite();
            let _ = unlinkat(&self.directory, file.name.as_str(), AtFlags::empty());
        }
        let _ = unlinkat(&self.directory, COMMAND, AtFlags::empty());
        if unlinkat(&self.place, self.name.as_str(), AtFlags::REMOVEDIR).is_err() {
            err!(Style::Warn => "note:"; " {} is not removed, because the command put files into it; the secret is overwritten", self.path.display()
            );
        }
    }
}

type Check = fn(&Path) -> Result<(), KeyError>;

/// Where a private directory may be created, the best place first, each with the check that
/// it has to pass.
fn places() -> Vec<(PathBuf, Check)> {
    let own: Check = |place| check_private(place).and_then(|()| check_ancestors(place));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|place| place.is_absolute());
    let mut places: Vec<(PathBuf, Check)> = runtime.map(|place| (place, own)).into_iter().collect();
    let shared = std::iter::once(PathBuf::from(SHARED_MEMORY));
    places.extend(
        shared
            .chain(temporary::places())
            .map(|place| (place, check_parent as Check)),
    );
    places
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SECRET: &str = "canary-of-a-private-file";

    fn made() -> (tempfile::TempDir, PrivateDirectory, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let mut made = PrivateDirectory::new_in(place.path()).unwrap();
        let path = made.add(&Secret::from(SECRET)).unwrap();
        (place, made, path)
    }

    #[test]
    fn a_file_is_overwritten_even_if_it_was_moved_and_no_other_file_is() {
        let (place, made, path) = made();
        let (moved, other) = (place.path().join("moved"), place.path().join("other"));
        std::fs::write(&other, SECRET).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        symlink(&other, &path).unwrap();
        drop(made);
        assert!(std::fs::read(&moved).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), SECRET);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn only_the_written_length_is_overwritten() {
        let (place, made, path) = made();
        let moved = place.path().join("moved");
        std::fs::hard_link(&path, &moved).unwrap();
        let terabyte = 1 << 40;
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(terabyte).unwrap();
        drop(made);
        let left = std::fs::metadata(&moved).unwrap();
        assert_eq!(left.len(), terabyte);
        assert!(left.blocks() < 100, "{}", left.blocks());
    }

    #[test]
    fn files_of_the_command_in_the_directory_stay() {
        let (_place, made, path) = made();
        let left = path.with_file_name("result");
        std::fs::write(&left, "mine").unwrap();
        drop(made);
        assert_eq!(std::fs::read_to_string(left).unwrap(), "mine");
        assert!(!path.exists());
    }
}
