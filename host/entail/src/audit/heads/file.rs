//! The head file, and the lock on it that all writers of the log take.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;

use super::checkpoint::{Checkpoint, CheckpointKind};
use super::key::{LogKey, WRITTEN_BYTES, Written};
use super::position::Position;
use crate::audit::files::{LogPaths, check_private, numbered_path, open_if_exists, with_path};
use crate::audit::lock::LogLock;

/// Bytes of a slot. It lies within one disk sector, so no checkpoint is written in part.
const SLOT_BYTES: u64 = 256;

/// How long a process waits for other writers: within the time that recording a decision
/// may take.
const LOCK_WITHIN: Duration = Duration::from_millis(1_400);

/// The open head file.
#[derive(Clone)]
pub(in crate::audit) struct HeadFile {
    file: Arc<File>,
}

impl HeadFile {
    /// Opens the file for writing, and creates it (mode 0600) if needed.
    pub(in crate::audit) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)
            .map_err(|error| with_path(path, error))?;
        Self::checked(path, file)
    }

    /// Opens the file for reading; `None` if it does not exist.
    pub(in crate::audit) fn open_to_read(path: &Path) -> std::io::Result<Option<Self>> {
        let opened = open_if_exists(path).map_err(|error| with_path(path, error))?;
        opened.map(|file| Self::checked(path, file)).transpose()
    }

    fn checked(path: &Path, file: File) -> std::io::Result<Self> {
        check_private(path, &file)?;
        Ok(HeadFile {
            file: Arc::new(file),
        })
    }

    /// Locks out other writers until the lock is dropped; `None` if one has it for longer
    /// than a record takes.
    pub(in crate::audit) fn try_lock(&self) -> std::io::Result<Option<LogLock>> {
        LogLock::try_take(&self.file)
    }

    /// Locks out other writers until the lock is dropped.
    pub(in crate::audit) fn lock(&self) -> std::io::Result<LogLock> {
        LogLock::take(&self.file, LOCK_WITHIN)
    }

    /// The bytes of a slot; `None` if the file ends before it.
    pub(super) fn read(&self, slot: u64) -> std::io::Result<Option<Written>> {
        let mut written = [0; WRITTEN_BYTES];
        match self.file.read_exact_at(&mut written, slot * SLOT_BYTES) {
            Ok(()) => Ok(Some(written)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, slot: u64, written: &Written) -> std::io::Result<()> {
        self.file.write_all_at(written, slot * SLOT_BYTES)
    }

    /// Removes all checkpoints.
    pub(super) fn clear(&self) -> std::io::Result<()> {
        self.file.set_len(0)
    }

    /// A checkpoint of any kind but closed; `None` if it is missing or not authentic.
    pub(in crate::audit) fn checkpoint(
        &self,
        key: &LogKey,
        kind: CheckpointKind,
    ) -> std::io::Result<Option<Checkpoint>> {
        let written = self.read(kind as u64)?;
        Ok(written.and_then(|written| key.decode(&written, kind)))
    }

    /// Where a full file ended; `None` if the checkpoint is missing or not authentic.
    pub(in crate::audit) fn closed(
        &self,
        key: &LogKey,
        begin: &Checkpoint,
        number: u64,
    ) -> std::io::Result<Option<Position>> {
        let Some(slot) = closed_slot(begin, number) else {
            return Ok(None);
        };
        let written = self.read(slot)?;
        let closed = written.and_then(|written| key.decode(&written, CheckpointKind::Closed));
        Ok(closed
            .map(|closed| closed.at)
            .filter(|at| at.file == number))
    }

    /// Advances the durable position to the start of the file `number`, if that is later,
    /// through all full files between. `None` if they differ from what was recorded when
    /// they were closed.
    pub(in crate::audit) fn durable_in(
        &self,
        paths: &LogPaths,
        key: &LogKey,
        begin: &Checkpoint,
        mut durable: Position,
        number: u64,
    ) -> std::io::Result<Option<Position>> {
        while durable.file < number {
            let path = numbered_path(&paths.log, durable.file);
            let full = open_if_exists(&path).map_err(|error| with_path(&path, error))?;
            let (Some(full), Some(closed)) = (full, self.closed(key, begin, durable.file)?) else {
                return Ok(None);
            };
            durable.advance_to(&full, closed.bytes)?;
            if durable != closed {
                return Ok(None);
            }
            durable = closed.next_file();
        }
        Ok(Some(durable))
    }

    /// Fsyncs the file.
    pub(in crate::audit) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

/// The slot of the checkpoint of a closed file.
pub(super) fn closed_slot(begin: &Checkpoint, number: u64) -> Option<u64> {
    Some(CheckpointKind::Closed as u64 + number.checked_sub(begin.at.file)?)
}
