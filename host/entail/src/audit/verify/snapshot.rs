//! The log and its heads as of one moment.

use std::fs::File;
use std::path::PathBuf;

use super::report::LogReport;
use crate::audit::files::{LogFile, LogPaths, log_files, open_if_exists, with_path};
use crate::audit::heads::{Checkpoint, CheckpointKind, HeadFile, LogKey, Position};
use crate::audit::ledger::Ledger;

/// The log and its heads, taken while the log is locked.
pub(super) struct Snapshot {
    pub(super) paths: LogPaths,
    pub(super) files: Vec<OpenFile>,
    pub(super) heads: Option<KnownHeads>,
    pub(super) ledger: Ledger,
}

/// A file of the log.
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    /// Its number; `None` if the heads do not cover it.
    pub(super) number: Option<u64>,
    /// The current file, which may be renamed meanwhile.
    pub(super) opened: Option<File>,
}

/// The authentic heads of the log.
pub(super) struct KnownHeads {
    pub(super) file: HeadFile,
    pub(super) key: LogKey,
    pub(super) begin: Checkpoint,
    pub(super) head: Checkpoint,
    pub(super) durable: Option<Checkpoint>,
}

impl KnownHeads {
    /// Where a full file ended.
    pub(super) fn closed(&self, number: u64) -> std::io::Result<Option<Position>> {
        self.file.closed(&self.key, &self.begin, number)
    }
}

impl Snapshot {
    /// Takes a snapshot under the lock. Adds breaches of the heads to the report.
    pub(super) fn take(paths: &LogPaths, report: &mut LogReport) -> std::io::Result<Self> {
        let key = LogKey::read(&paths.key).map_err(|error| with_path(&paths.key, error))?;
        let heads = HeadFile::open_to_read(&paths.heads)?;
        let _lock = heads.as_ref().map(HeadFile::lock).transpose()?;
        let ledger = Ledger::read(paths, key.as_ref())?;
        if !ledger.is_authentic {
            report.breach(
                &Ledger::path(paths),
                0,
                "the ledger of archived files and accepted losses was changed",
            );
        }
        let heads = match (key, heads) {
            (Some(key), Some(file)) => Self::known_heads(paths, key, file, report)?,
            (Some(_), None) => {
                report.breach(
                    &paths.heads,
                    0,
                    "it is missing, so the end of the log is unknown",
                );
                None
            }
            (None, _) => None,
        };
        report.has_head = heads.is_some();
        let current = match open_if_exists(&paths.log) {
            Err(error) => return Err(with_path(&paths.log, error)),
            Ok(current) => current,
        };
        let metadata = current.as_ref().map(File::metadata).transpose()?;
        let length = metadata.map_or(0, |metadata| metadata.len());
        let number = heads.as_ref().map(|known| known.head.at.file);
        // Whether a process was stopped between the rename of the file and the head.
        let mut is_renamed = false;
        let mut files = Vec::new();
        for LogFile { path, number: own } in log_files(&paths.log)? {
            let Some(own) = own else { continue };
            if Some(own) == number && length == 0 {
                is_renamed = true;
            }
            files.push(OpenFile {
                path,
                number: Some(own),
                opened: None,
            });
        }
        if let Some(current) = current {
            files.push(OpenFile {
                path: paths.log.clone(),
                number: number.filter(|_| !is_renamed),
                opened: Some(current),
            });
        }
        Ok(Snapshot {
            paths: paths.clone(),
            files,
            heads,
            ledger,
        })
    }

    fn known_heads(
        paths: &LogPaths,
        key: LogKey,
        file: HeadFile,
        report: &mut LogReport,
    ) -> std::io::Result<Option<KnownHeads>> {
        let begin = file.checkpoint(&key, CheckpointKind::Begin)?;
        let head = file.checkpoint(&key, CheckpointKind::Head)?;
        let (Some(begin), Some(head)) = (begin, head) else {
            report.breach(
                &paths.heads,
                0,
                "it was emptied or changed, so the end of the log is unknown",
            );
            return Ok(None);
        };
        if begin.count > 0 {
            report.breach(
                &paths.heads,
                0,
                "it was removed, emptied or changed once and replaced, so the end of the log before that is unknown",
            );
        }
        let durable = file.checkpoint(&key, CheckpointKind::Durable)?;
        let lost = file.checkpoint(&key, CheckpointKind::Lost)?;
        report.lost = lost.map_or(0, |lost| lost.count);
        if durable.is_none()
            || lost.is_none()
            || file
                .checkpoint(&key, CheckpointKind::NextDurable)?
                .is_none()
        {
            report.breach(&paths.heads, 0, "a part of it was changed");
        }
        Ok(Some(KnownHeads {
            file,
            key,
            begin,
            head,
            durable,
        }))
    }

    /// The number of the oldest file, if older ones were archived or are from before the
    /// heads began.
    pub(super) fn first_file(&self, files: &[OpenFile]) -> Option<u64> {
        let first = files.first()?.number?;
        let has_older = match &self.heads {
            Some(known) if first >= known.begin.at.file => first > known.begin.at.file,
            _ => first > 1,
        };
        has_older.then_some(first)
    }
}
