//! The anchor: a small file outside the database that records the newest checkpoint that this
//! machine has seen.
//!
//! A database that ends before it, or has another one at its revision, was rolled back. The anchor is updated after the database, so it never names a change that a power
//! loss can undo. A change that is missing from the anchor is found through the journal's
//! hash chain.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::files;
use crate::input_file::{InputError, InputFile};
use crate::journal::head::JournalHead;
use crate::journal::position::{JournalPosition, MAX_REVISION, Revision};
use crate::keyring::Keyring;
use crate::random_id::RandomId;
use crate::statement;
use crate::tampering::Fault;

/// An anchor has about 230 bytes; larger files are refused.
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
    #[error(
        "{} is not a valid anchor: a JSON object that names the store, the lineage, and the \
         newest revision and checkpoint that this machine has seen",
        sanitized(.0.display())
    )]
    Malformed(PathBuf),
    /// A newer version of this program wrote the file.
    #[error(
        "{} was written by a newer version of Entail, which is needed to read it",
        sanitized(.0.display())
    )]
    Newer(PathBuf),
    /// The anchor belongs to another store.
    #[error(
        "{} is the anchor of another store than the one that this machine's keyring is for",
        sanitized(.0.display())
    )]
    OtherStore(PathBuf),
}

/// The contents of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnchorRecord {
    version: u32,
    store: RandomId,
    lineage: RandomId,
    revision: Revision,
    checkpoint: Option<Digest>,
}

impl AnchorRecord {
    /// The position of `head`, in its store.
    pub(crate) fn of(head: &JournalHead) -> Self {
        Self::at(head.position, &head.keyring)
    }

    /// A position in the journal of the store of `keyring`.
    pub(crate) fn at(position: JournalPosition, keyring: &Keyring) -> Self {
        AnchorRecord {
            version: statement::VERSION,
            store: keyring.store(),
            lineage: keyring.lineage(),
            revision: position.revision,
            checkpoint: position.checkpoint,
        }
    }

    /// The lineage.
    pub(crate) fn lineage(&self) -> RandomId {
        self.lineage
    }

    pub(crate) fn position(&self) -> JournalPosition {
        JournalPosition {
            revision: self.revision,
            checkpoint: self.checkpoint,
        }
    }

    fn is_consistent(&self) -> bool {
        self.revision <= MAX_REVISION && (self.revision == 0) == self.checkpoint.is_none()
    }
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
        Ok(self.read_record()?.position())
    }

    /// Reads the file.
    pub(crate) fn read_record(&self) -> Result<AnchorRecord, AnchorError> {
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
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<AnchorRecord, AnchorError> {
        match statement::parse::<AnchorRecord>(bytes, &["version"], "the anchor") {
            Ok(record) if record.is_consistent() => Ok(record),
            Err(error) if error.fault() == Fault::Newer => {
                Err(AnchorError::Newer(self.file.clone()))
            }
            _ => Err(AnchorError::Malformed(self.file.clone())),
        }
    }

    /// Records a position, unless a later one is already recorded. Calls `then` while still
    /// holding the lock: the work that one process at a time must do.
    ///
    /// # Errors
    ///
    /// [`AnchorError`], or the error of `then`.
    pub(crate) fn advance<E: From<AnchorError>>(
        &self,
        record: AnchorRecord,
        then: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _lock = self.lock()?;
        if self.read_record()?.revision < record.revision {
            self.write(record)?;
        }
        then()
    }

    /// Records a position in the journal of the store of `keyring` even if a later one is
    /// recorded. Only a restore moves it back.
    ///
    /// # Errors
    ///
    /// [`AnchorError`].
    pub fn set(&self, position: JournalPosition, keyring: &Keyring) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        self.write(AnchorRecord::at(position, keyring))
    }

    /// Fails if the anchor belongs to another store than `keyring`.
    pub(crate) fn check_store(
        &self,
        record: AnchorRecord,
        keyring: &Keyring,
    ) -> Result<(), AnchorError> {
        if record.store == keyring.store() {
            return Ok(());
        }
        Err(AnchorError::OtherStore(self.file.clone()))
    }

    fn write(&self, record: AnchorRecord) -> Result<(), AnchorError> {
        let mut text = serde_json::to_vec(&record)
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

    fn record(revision: Revision) -> AnchorRecord {
        AnchorRecord {
            version: 1,
            store: ID.parse().unwrap(),
            lineage: ID.parse().unwrap(),
            revision,
            checkpoint: (revision > 0).then(|| Digest::of(&revision.to_be_bytes())),
        }
    }

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn an_anchor_only_advances() {
        let directory = tempfile::tempdir().unwrap();
        let anchor = Anchor::at(directory.path().join("anchor.json"));
        assert!(matches!(anchor.read(), Err(AnchorError::Missing(_))));
        anchor.write(record(0)).unwrap();
        let advance = |record| anchor.advance(record, || Ok::<(), AnchorError>(()));
        advance(record(7)).unwrap();
        advance(record(5)).unwrap();
        assert_eq!(anchor.read_record().unwrap(), record(7));
        anchor.write(record(3)).unwrap();
        assert_eq!(anchor.read().unwrap(), record(3).position());
    }

    #[test]
    fn an_invalid_anchor_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("anchor.json");
        let valid = serde_json::to_string(&record(1)).unwrap();
        let large = valid.replace(":1,\"checkpoint", ":9007199254740993,\"checkpoint");
        let without = valid.replace("\"revision\":1", "\"revision\":0");
        for text in [
            "",
            "{}",
            "7",
            &large,
            &without,
            &valid.replace("000102", "0001"),
        ] {
            std::fs::write(&file, text).unwrap();
            let read = Anchor::at(&file).read();
            assert!(matches!(read, Err(AnchorError::Malformed(_))), "{text}");
        }
        std::fs::write(&file, valid.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(matches!(
            Anchor::at(&file).read(),
            Err(AnchorError::Newer(_))
        ));
        std::fs::write(&file, vec![b' '; MAX_BYTES + 1]).unwrap();
        assert!(Anchor::at(&file).read().is_err());
    }
}
