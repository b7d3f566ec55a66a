//! The anchor: a small file outside the database that records the newest journal entry that
//! this machine has seen.
//!
//! A database that ends before that entry, or has another entry at its revision, was rolled
//! back. The anchor is updated after the database, so it never names a change that a power
//! loss can undo. A change that is missing from the anchor is found through the journal's
//! hash chain.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use entail_text::sanitized;

use crate::files;
use crate::input_file::{InputError, InputFile};
use crate::journal::position::JournalPosition;

/// An anchor has about 110 bytes; larger files are refused.
const MAX_BYTES: usize = 4096;

/// How long to wait for another process that is updating the anchor, which takes
/// milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two attempts to take the lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// Why the anchor cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file cannot be read or written.
    #[error("{}: {}", sanitized(.file.display()), sanitized(.error))]
    File {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        #[source]
        error: std::io::Error,
    },
    /// The file is missing, so a rollback of the database cannot be detected.
    #[error(
        "{} is missing, so a rollback of the database cannot be detected",
        sanitized(.0.display())
    )]
    Missing(PathBuf),
    /// The file is not a valid anchor.
    #[error("{} is not a valid anchor", sanitized(.0.display()))]
    Malformed(PathBuf),
}

/// Identifies an anchor file and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnchorStamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// The file that records the newest journal entry.
#[derive(Clone, Debug)]
pub struct Anchor {
    file: PathBuf,
}

impl Anchor {
    /// Returns the anchor in `file`, without reading it.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Anchor { file: file.into() }
    }

    /// Identifies the present file without reading it. Each update replaces the file.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], also if the file does not exist.
    pub(crate) fn stamp(&self) -> Result<AnchorStamp, AnchorError> {
        match rustix::fs::stat(&self.file) {
            Ok(found) => Ok(AnchorStamp {
                device: found.st_dev,
                inode: found.st_ino,
                size: found.st_size,
                modified: (found.st_mtime, found.st_mtime_nsec),
                changed: (found.st_ctime, found.st_ctime_nsec),
            }),
            Err(rustix::io::Errno::NOENT) => Err(AnchorError::Missing(self.file.clone())),
            Err(error) => Err(self.file_error(error.into())),
        }
    }

    /// Reads the recorded position.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], also if the file does not exist.
    pub fn read(&self) -> Result<JournalPosition, AnchorError> {
        let read =
            InputFile::open_regular(&self.file).and_then(|file| file.read_to_limit(MAX_BYTES));
        let bytes = read.map_err(|error| match error {
            InputError::TooLarge { .. } => AnchorError::Malformed(self.file.clone()),
            error => match std::io::Error::from(error) {
                error if error.kind() == std::io::ErrorKind::NotFound => {
                    AnchorError::Missing(self.file.clone())
                }
                error => self.file_error(error),
            },
        })?;
        let position: Option<JournalPosition> = serde_json::from_slice(&bytes).ok();
        position
            .filter(|position| (position.revision == 0) == position.entry.is_none())
            .ok_or_else(|| AnchorError::Malformed(self.file.clone()))
    }

    /// Records `position`, unless a later one is already recorded. Calls `before` first, while
    /// holding the lock: the work that must be done once on the way to the new position.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], or the error of `before`.
    pub(crate) fn advance<E: From<AnchorError>>(
        &self,
        position: JournalPosition,
        before: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _lock = self.lock()?;
        if self.read()?.revision >= position.revision {
            return Ok(());
        }
        before()?;
        Ok(self.write(position)?)
    }

    /// Runs `work` while holding the lock, so that the anchor does not advance meanwhile.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], or the error of `work`.
    pub(crate) fn with_lock<E: From<AnchorError>, T>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = self.lock()?;
        work()
    }

    /// Records `position` even if a later one is recorded. Only a restore moves it back.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub fn set(&self, position: JournalPosition) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        self.write(position)
    }

    /// Fsyncs the directory, so that the recorded position survives a power loss. Required
    /// before a key is removed that a verification from an older position would need.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub(crate) fn sync(&self) -> Result<(), AnchorError> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        files::sync_directory(directory).map_err(|error| self.file_error(error))
    }

    fn write(&self, position: JournalPosition) -> Result<(), AnchorError> {
        let mut text = serde_json::to_vec(&position)
            .map_err(|error| self.file_error(std::io::Error::other(error)))?;
        text.push(b'\n');
        files::replace(&self.file, &text).map_err(|error| self.file_error(error))
    }

    /// Locks the anchor against other processes until the returned file is dropped.
    fn lock(&self) -> Result<File, AnchorError> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        let directory = File::open(directory).map_err(|error| self.file_error(error))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(directory),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_RETRY_INTERVAL);
                }
                Err(error) => return Err(self.file_error(error.into())),
            }
        }
    }

    fn file_error(&self, error: std::io::Error) -> AnchorError {
        AnchorError::File {
            file: self.file.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::journal::position::Revision;

    fn position(revision: Revision) -> JournalPosition {
        JournalPosition {
            revision,
            entry: Some(Digest::of(&revision.to_be_bytes())),
        }
    }

    #[test]
    fn an_anchor_only_advances_unless_it_is_set() {
        let directory = tempfile::tempdir().unwrap();
        let anchor = Anchor::at(directory.path().join("anchor.json"));
        assert!(matches!(anchor.read(), Err(AnchorError::Missing(_))));
        anchor.set(JournalPosition::default()).unwrap();
        let advance = |position| anchor.advance(position, || Ok::<(), AnchorError>(()));
        advance(position(7)).unwrap();
        advance(position(5)).unwrap();
        assert_eq!(anchor.read().unwrap(), position(7));
        anchor.set(position(3)).unwrap();
        assert_eq!(anchor.read().unwrap(), position(3));
    }

    #[test]
    fn an_invalid_anchor_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("anchor.json");
        for text in ["", "{}", "{\"revision\":1,\"entry\":null}", "7"] {
            std::fs::write(&file, text).unwrap();
            let read = Anchor::at(&file).read();
            assert!(matches!(read, Err(AnchorError::Malformed(_))), "{text}");
        }
        std::fs::write(&file, vec![b' '; MAX_BYTES + 1]).unwrap();
        assert!(Anchor::at(&file).read().is_err());
    }
}
