//! The anchor: a small file outside of the database that remembers the newest
//! journal entry that this node has seen.
//!
//! A database that ends before it, or that has another entry in its place, has been
//! put back. The anchor is told after the database: it never knows of a change that
//! a loss of power could take back, and a change that it does not know of yet is
//! found through the journal's chain.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::Revision;
use crate::digest::Digest;
use crate::files;
use crate::input_file::{InputError, InputFile};

/// An anchor has some 110 bytes; nothing more is read.
const MAX_BYTES: usize = 4096;

/// How long to wait for another process that is telling the anchor, which takes
/// milliseconds.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks whether the lock is free.
const PAUSE: Duration = Duration::from_millis(2);

/// What can go wrong with the anchor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file cannot be read or made.
    #[error("{}: {}", sanitized(.file.display()), sanitized(.error))]
    File {
        /// Which one.
        file: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// It is not there: whether the database was put back cannot be known.
    #[error(
        "{} is missing, so whether the database was put back cannot be known",
        sanitized(.0.display())
    )]
    Missing(PathBuf),
    /// It is no anchor.
    #[error("{} is not an anchor", sanitized(.0.display()))]
    Malformed(PathBuf),
}

/// A place in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The revision of an entry; 0 is before the first.
    pub revision: Revision,
    /// The SHA-256 of the entry's signed bytes.
    pub entry: Option<Digest>,
}

/// The file that remembers the newest journal entry.
#[derive(Clone, Debug)]
pub struct Anchor {
    file: PathBuf,
}

impl Anchor {
    /// The anchor in `file`.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Anchor { file: file.into() }
    }

    /// Reads the mark.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], also when there is no file.
    pub fn read(&self) -> Result<Mark, AnchorError> {
        let read =
            InputFile::open_regular(&self.file).and_then(|file| file.read_to_limit(MAX_BYTES));
        let bytes = read.map_err(|error| match error {
            InputError::TooLarge { .. } => AnchorError::Malformed(self.file.clone()),
            error => match std::io::Error::from(error) {
                error if error.kind() == std::io::ErrorKind::NotFound => {
                    AnchorError::Missing(self.file.clone())
                }
                error => self.failed(error),
            },
        })?;
        let mark: Option<Mark> = serde_json::from_slice(&bytes).ok();
        mark.filter(|mark| (mark.revision == 0) == mark.entry.is_none())
            .ok_or_else(|| AnchorError::Malformed(self.file.clone()))
    }

    /// Remembers `mark`, unless a later one is remembered already. Before that it
    /// does what belongs to the way from the earlier one to this, and nobody else does
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], or what `before` says.
    pub(crate) fn advance<E: From<AnchorError>>(
        &self,
        mark: Mark,
        before: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _lock = self.lock()?;
        if self.read()?.revision >= mark.revision {
            return Ok(());
        }
        before()?;
        Ok(self.write(mark)?)
    }

    /// Does what must not happen while the anchor moves on.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], or what `what` says.
    pub(crate) fn hold<E: From<AnchorError>, T>(
        &self,
        what: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = self.lock()?;
        what()
    }

    /// Remembers `mark`, whatever was remembered: the deliberate way back.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub fn set(&self, mark: Mark) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        self.write(mark)
    }

    /// Sees onto the disk what is remembered: before a key is forgotten that the way
    /// here from an older mark would take.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub(crate) fn settle(&self) -> Result<(), AnchorError> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        files::sync_folder(folder).map_err(|error| self.failed(error))
    }

    fn write(&self, mark: Mark) -> Result<(), AnchorError> {
        let mut text =
            serde_json::to_vec(&mark).map_err(|error| self.failed(std::io::Error::other(error)))?;
        text.push(b'\n');
        files::replace(&self.file, &text).map_err(|error| self.failed(error))
    }

    /// Holds off other processes until it is dropped.
    fn lock(&self) -> Result<File, AnchorError> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let folder = File::open(folder).map_err(|error| self.failed(error))?;
        let end = Instant::now() + LOCK_WITHIN;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(folder),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(self.failed(error.into())),
            }
        }
    }

    fn failed(&self, error: std::io::Error) -> AnchorError {
        AnchorError::File {
            file: self.file.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(revision: Revision) -> Mark {
        Mark {
            revision,
            entry: Some(Digest::of(&revision.to_be_bytes())),
        }
    }

    #[test]
    fn an_anchor_goes_forward_only_but_for_the_deliberate_way() {
        let folder = tempfile::tempdir().unwrap();
        let anchor = Anchor::at(folder.path().join("anchor.json"));
        assert!(matches!(anchor.read(), Err(AnchorError::Missing(_))));
        anchor.set(Mark::default()).unwrap();
        let advance = |mark| anchor.advance(mark, || Ok::<(), AnchorError>(()));
        advance(mark(7)).unwrap();
        advance(mark(5)).unwrap();
        assert_eq!(anchor.read().unwrap(), mark(7));
        anchor.set(mark(3)).unwrap();
        assert_eq!(anchor.read().unwrap(), mark(3));
    }

    #[test]
    fn what_is_no_anchor_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anchor.json");
        for text in ["", "{}", "{\"revision\":1,\"entry\":null}", "7"] {
            std::fs::write(&file, text).unwrap();
            let read = Anchor::at(&file).read();
            assert!(matches!(read, Err(AnchorError::Malformed(_))), "{text}");
        }
        std::fs::write(&file, vec![b' '; MAX_BYTES + 1]).unwrap();
        assert!(Anchor::at(&file).read().is_err());
    }
}
