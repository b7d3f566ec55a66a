//! Files with a secret, for a command that takes it only by the name of a file, as
//! Google's clients take a service account.
//!
//! # Why they have a name
//!
//! What needs no name (a memfd, an unlinked file, both as `/proc/PID/fd/N`) would end with
//! its last user by itself. But Google's client for Node resolves the name before it opens
//! the file (`realpath`, then `lstat`; google-auth-library 10.9), which fails for whatever
//! has no name in a directory; sudo and daemons close what they inherit; and Docker can
//! mount nothing of that kind. So the file has a name, in a directory of its own.
//!
//! # Security
//!
//! - The directory is made, with mode 0700, where no other user can put another in its
//!   place: in `XDG_RUNTIME_DIR` if that is this user's alone, else in `/dev/shm`, which is
//!   in memory as well, else in the directory for temporary files. A place that is not
//!   safe is passed over.
//! - It is held open, and so is every file. The way to a file is used once, to make it:
//!   with `O_EXCL`, mode 0600, relative to the directory.
//! - At the end each file is overwritten through the descriptor that made it, with as many
//!   bytes as were written to it, whatever has its name or its length by then. Names are
//!   only removed, relative to the directory that is held.
//! - What the command put into the directory itself stays, and so does the directory then,
//!   which is noted.
//!
//! When this process is ended by a signal that cannot be caught, a [`Keeper`] removes the
//! files after the command has ended. If that is killed as well, they stay, readable by
//! their owner only, until the next run that needs a file ([`sweep`]), or until `entail
//! doctor` names them. A directory is in use as long as somebody holds a lock on it, this
//! process or its keeper, or the command runs whose process stands in it.

use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use entail::Secret;
use entail::store::{InputFile, KeyError, check_ancestors, check_parent, check_private};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, openat, rmdir, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use crate::failure::Failure;
use crate::keeper::Keeper;
use crate::output::{Style, tell};
use crate::temporary;

/// What the names of the directories begin with.
const PREFIX: &str = "entail-run-";

/// How many characters are drawn for the rest of a name.
const DRAWN_CHARACTERS: usize = 6;

/// Memory that has names, where there is no runtime directory of one's own.
const SHARED_MEMORY: &str = "/dev/shm";

/// The file in which the process of the command stands.
const COMMAND: &str = "command";

/// Two numbers and a space.
const MAX_NOTE_BYTES: usize = 64;

/// The most files of one command: there is one for each provider that wants one.
const MAX_FILES: usize = 256;

/// A directory that is younger may be in the making.
const SETTLED: Duration = Duration::from_secs(5);

/// Bytes that are overwritten at a time.
const ZEROS: [u8; 4096] = [0; 4096];

/// Files that hold secrets, overwritten and removed when this is dropped.
#[derive(Default)]
pub struct SecretFiles {
    directory: Option<SecretDirectory>,
    /// Told last, when all is removed.
    keeper: Option<Keeper>,
}

impl SecretFiles {
    /// Writes a new file and returns its path.
    ///
    /// # Errors
    ///
    /// When there is no safe place for it, or the system does not let it be written.
    pub fn add(&mut self, secret: &Secret) -> Result<PathBuf, Failure> {
        let directory = match &mut self.directory {
            Some(directory) => directory,
            none => {
                sweep();
                let made = none.insert(SecretDirectory::new()?);
                match Keeper::start(&made.path) {
                    Ok(keeper) => self.keeper = Some(keeper),
                    Err(error) => {
                        tell!(Style::Warn => "note:"; " the private file of the command stays if this process is killed: {error}");
                    }
                }
                made
            }
        };
        directory
            .add(secret)
            .map_err(|error| Failure::io("a private file for the command", &error))
    }

    /// Lets the files last as long as `command`, also when this process is killed.
    pub fn keep_for(&mut self, command: &Child) {
        if let Some(directory) = &self.directory {
            // Without it a sweep may come too early, but only after two were killed.
            let _ = directory.note(Process::of(command.id()));
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.watch(command);
        }
    }
}

/// Removes what a process that was killed left in its directory.
pub fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default();
    if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
        return;
    }
    // On the way out there is nobody to tell.
    if let Ok(directory) = open_directory(path) {
        let _ = unlinkat(&directory, COMMAND, AtFlags::empty());
        for number in 0..MAX_FILES {
            let _ = unlinkat(&directory, file_name(number), AtFlags::empty());
        }
        let _ = rmdir(path);
    }
}

/// Holds the lock on a directory that says that it is in use.
pub fn hold(path: &Path) -> std::io::Result<OwnedFd> {
    let directory = open_directory(path)?;
    flock(&directory, FlockOperation::NonBlockingLockShared)?;
    Ok(directory)
}

/// Removes the directories of commands that have ended and whose wrapper and keeper were
/// killed.
fn sweep() {
    for path in leftovers() {
        remove(&path);
    }
}

/// The directories that nobody uses and nobody removed.
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

/// Whether a directory is called as those of runs are, and holds what they hold and nothing
/// else.
fn is_of_a_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let drawn = name.and_then(|name| name.strip_prefix(PREFIX));
    let is_drawn = |drawn: &str| {
        drawn.len() == DRAWN_CHARACTERS && drawn.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_made_by_runs = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_called_so = name.is_some_and(|name| {
            let number = name
                .strip_prefix("credential-")
                .and_then(|rest| rest.strip_suffix(".json"));
            name == COMMAND || number.is_some_and(|number| number.parse::<u8>().is_ok())
        });
        let is_private = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_file() && found.mode() & 0o777 == 0o600);
        is_called_so && is_private
    };
    drawn.is_some_and(is_drawn)
        && std::fs::read_dir(path).is_ok_and(|entries| {
            let mut entries = entries.map(|entry| entry.map(|entry| entry.path()));
            entries.all(|path| path.is_ok_and(is_made_by_runs))
        })
}

/// Whether a directory is this user's own, and nobody uses it. In that of somebody else
/// nothing is looked at.
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
        // Between its making and its lock nobody holds it.
        && age.is_some_and(|age| age > SETTLED)
        && !command_in(path).is_some_and(|process| process.runs())
}

/// The process of the command that stands in a directory.
fn command_in(directory: &Path) -> Option<Process> {
    let file = InputFile::open_regular_no_link(&directory.join(COMMAND)).ok()?;
    let text = file.read_to_limit(MAX_NOTE_BYTES).ok()?;
    Process::parse(std::str::from_utf8(&text).ok()?)
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// A process, told apart from a later one with the same number by when it began.
struct Process {
    id: u32,
    /// As proc(5) has it; empty where the system does not tell.
    start: String,
}

impl Process {
    fn of(id: u32) -> Self {
        let (_, start) = state_and_start(id).unwrap_or_default();
        Process { id, start }
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, start) = text.split_once(' ')?;
        Some(Process {
            id: id.parse().ok()?,
            start: start.to_owned(),
        })
    }

    fn runs(&self) -> bool {
        if let Some((state, start)) = state_and_start(self.id) {
            // One that has ended may wait for its parent to take note.
            return start == self.start && !matches!(&*state, "Z" | "X");
        }
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        id.is_some_and(|id| test_kill_process(id) != Err(Errno::SRCH))
    }
}

/// The 3rd and the 22nd field of a process's line in proc(5).
fn state_and_start(id: u32) -> Option<(String, String)> {
    let line = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program may hold spaces and brackets.
    let (_, after_name) = line.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    Some((fields.next()?.to_owned(), fields.nth(18)?.to_owned()))
}

fn file_name(number: usize) -> String {
    format!("credential-{number}.json")
}

/// A directory that only the owner can enter, and what was made in it.
struct SecretDirectory {
    path: PathBuf,
    /// The directory in which it is.
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

impl SecretDirectory {
    /// Makes it in the first safe place that takes it.
    fn new() -> Result<Self, Failure> {
        let mut passed_over = Vec::new();
        for (place, check) in places() {
            let made = check(&place)
                .map_err(|error| error.to_string())
                .and_then(|()| Self::new_in(&place).map_err(|error| error.to_string()));
            match made {
                Ok(made) => return Ok(made),
                Err(error) => passed_over.push(format!("{}: {error}", place.display())),
            }
        }
        Err(Failure::new(
            1,
            "io",
            format!(
                "there is no safe place for a private file of the command ({})",
                passed_over.join("; ")
            ),
        )
        .with_remedies(vec![
            "set XDG_RUNTIME_DIR to a directory of your own with mode 0700".to_owned(),
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
            .rand_bytes(DRAWN_CHARACTERS)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(path)?;
        let name = made.path().file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&place, name.as_str(), flags, Mode::empty())?;
        flock(&directory, FlockOperation::NonBlockingLockShared)?;
        let found = File::from(directory.try_clone()?).metadata()?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o777 != 0o700 {
            return Err(std::io::Error::other("what was made there is not private"));
        }
        Ok(SecretDirectory {
            path: made.keep(),
            place,
            name,
            directory,
            files: Vec::new(),
        })
    }

    fn add(&mut self, secret: &Secret) -> std::io::Result<PathBuf> {
        if self.files.len() == MAX_FILES {
            return Err(std::io::Error::other("there are too many of them"));
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

    /// Notes which process needs the files.
    fn note(&self, process: Process) -> std::io::Result<()> {
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

impl Drop for SecretDirectory {
    fn drop(&mut self) {
        for file in &self.files {
            // On the way out there is nobody to tell; the name goes anyway.
            let _ = file.overwrite();
            let _ = unlinkat(&self.directory, file.name.as_str(), AtFlags::empty());
        }
        let _ = unlinkat(&self.directory, COMMAND, AtFlags::empty());
        if unlinkat(&self.place, self.name.as_str(), AtFlags::REMOVEDIR).is_err() {
            tell!(Style::Warn => "note:"; " {} is left with what the command put into it; the secret is overwritten", self.path.display()
            );
        }
    }
}

type Check = fn(&Path) -> Result<(), KeyError>;

/// Where a private directory may be made, the best first, and what must hold there.
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
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SECRET: &str = "canary-of-a-private-file";

    fn made() -> (tempfile::TempDir, SecretDirectory, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let mut made = SecretDirectory::new_in(place.path()).unwrap();
        let path = made.add(&Secret::from(SECRET)).unwrap();
        (place, made, path)
    }

    #[test]
    fn what_is_written_is_overwritten_wherever_it_was_moved_and_nothing_else_is() {
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
    fn only_as_much_is_overwritten_as_was_written() {
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
    fn what_the_command_left_in_the_directory_stays() {
        let (_place, made, path) = made();
        let left = path.with_file_name("result");
        std::fs::write(&left, "mine").unwrap();
        drop(made);
        assert_eq!(std::fs::read_to_string(left).unwrap(), "mine");
        assert!(!path.exists());
    }
}
