//! Writing the decision log.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use entail_store::Digest;
use rustix::fs::{CWD, RenameFlags};

use super::files::{self, LogPaths, file_id, sync_directory};
use super::heads::{HeadFile, Heads, LogLock, max_gap};
use super::lines::MAX_LINE_BYTES;
use super::record::{Line, Record};
use super::secondary;
use super::sink::{self, Sink};
use crate::clock::Clock;
use crate::error::Error;
use crate::home::Home;
use crate::home::settings::{DecisionLogSettings, Require, SecondarySink};

/// The capacity for an ordinary record.
const LINE_BYTES: usize = 2048;

/// The decision log of a home.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    paths: LogPaths,
    settings: DecisionLogSettings,
    clock: Arc<dyn Clock>,
    secondary: Option<Sink>,
    writer: Mutex<Writer>,
}

/// The end of the log, and the lock that keeps others from writing after it.
struct LockedEnd {
    _lock: LogLock,
    is_within_line: bool,
}

/// One chain of records.
struct Writer {
    /// `None` if it could not be opened and the settings do not require it.
    file: Option<File>,
    is_regular: bool,
    /// `None` before the first record, and if the log is not a regular file.
    heads: Option<(HeadFile, Heads)>,
    /// Identifies the chain.
    name: String,
    /// The number of the last record.
    sequence: u64,
    /// The digest that the next record holds of the line before.
    previous: Option<Digest>,
    /// A full file that is not fsynced yet, with the head file.
    full: Option<(File, HeadFile)>,
}

impl DecisionLog {
    /// Opens the log of a home for appending, and creates it (mode 0600) if needed.
    pub(crate) fn open(home: &Home, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let paths = LogPaths::of(home);
        let settings = home.settings()?.decision_log;
        let failed = |error| Error::NotRecorded {
            file: paths.log.clone(),
            error,
        };
        let one_suffices = settings.require == Require::Any;
        // A sink in the home is an error even if the settings do not require it.
        let secondary = secondary::open(home, &settings)?;
        let file = match open(&paths.log) {
            Ok(file) => Some(file),
            Err(_) if settings.secondary.is_some() && one_suffices => None,
            Err(error) => return Err(failed(error)),
        };
        let secondary = match secondary {
            None => None,
            Some(Ok(sink)) => Some(sink),
            Some(Err(_)) if one_suffices => None,
            Some(Err(error)) => {
                let file = secondary_name(&settings);
                return Err(Error::NotRecorded { file, error });
            }
        };
        if let (Some(file), Some(Sink::File(other) | Sink::Special(other))) = (&file, &secondary) {
            let id = |file: &File| file.metadata().map(|metadata| file_id(&metadata)).ok();
            if id(other) == id(file) {
                return Err(failed(std::io::Error::other(
                    "the settings name it as the secondary log as well",
                )));
            }
        }
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(DecisionLog {
            settings,
            clock,
            secondary,
            writer: Mutex::new(Writer {
                is_regular: file.is_some(),
                file,
                heads: None,
                name: format!("{:016x}", u64::from_ne_bytes(name)),
                sequence: 0,
                previous: None,
                full: None,
            }),
            paths,
        })
    }

    /// Writes a record. When this returns, as many sinks have it as the settings require.
    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let failed = |error| Error::NotRecorded {
            file: self.paths.log.clone(),
            error,
        };
        let deadline = sink::deadline();
        // A thread that panicked wrote its line completely or not at all.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = if writer.has_begun() {
            Ok(None)
        } else {
            self.begin(&mut writer)
        };
        let line = writer.line(record).map_err(failed)?;
        let digest = Digest::of(line.trim_ascii_end());
        let sequence = writer.sequence;
        let first =
            begun.and_then(|begun| self.append(&mut writer, begun, &line, digest, deadline));
        let second = self
            .secondary
            .as_ref()
            .map(|sink| sink.write(&line, deadline));
        let is_recorded = match (&first, &second) {
            (Ok(()), None | Some(Ok(()))) => true,
            (Ok(()), Some(Err(_))) | (Err(_), Some(Ok(()))) => {
                self.settings.require == Require::Any
            }
            (Err(_), _) => false,
        };
        if is_recorded && writer.sequence == sequence {
            writer.advance(digest);
        }
        let full = writer.full.take();
        drop(writer);
        if let Some((full, head_file)) = full {
            // Only the request that began the next file waits for this. If it fails, the
            // kernel still writes the data later.
            let _ = full
                .sync_data()
                .and_then(|()| sync_directory(&self.paths.log))
                .and_then(|()| head_file.sync());
        }
        if is_recorded {
            return Ok(());
        }
        Err(match (first, second) {
            (Err(error), _) => failed(error),
            (_, Some(Err(error))) => Error::NotRecorded {
                file: secondary_name(&self.settings),
                error,
            },
            _ => failed(std::io::Error::other("it was not written")),
        })
    }

    /// Finds the end of the log before the first record of a chain, and returns the lock
    /// under which that record must be written. `None` if the log is not a regular file,
    /// which has no end and cannot be read back.
    fn begin(&self, writer: &mut Writer) -> std::io::Result<Option<LockedEnd>> {
        let file = writer.file.as_ref().ok_or_else(not_opened)?;
        writer.is_regular = file.metadata()?.is_file();
        if !writer.is_regular {
            return Ok(None);
        }
        let head_file = match &writer.heads {
            Some((head_file, _)) => head_file.clone(),
            None => HeadFile::open(&self.paths.heads)?,
        };
        let lock = head_file.lock()?;
        if writer.heads.is_none() {
            let max_gap = max_gap(self.settings.max_bytes);
            let heads = Heads::load(&self.paths, head_file.clone(), &*self.clock, max_gap)?;
            writer.heads = Some((head_file, heads));
            // It may have been rotated since it was opened.
            writer.file = Some(open(&self.paths.log)?);
        }
        let is_within_line = self.find_end(writer)?;
        if writer.sequence == 0 {
            writer.previous = writer.heads.as_ref().and_then(|(_, heads)| heads.at().last);
        }
        Ok(Some(LockedEnd {
            _lock: lock,
            is_within_line,
        }))
    }

    fn append(
        &self,
        writer: &mut Writer,
        begun: Option<LockedEnd>,
        line: &[u8],
        digest: Digest,
        deadline: Instant,
    ) -> std::io::Result<()> {
        let Some((head_file, _)) = &writer.heads else {
            let file = writer.file.as_ref().ok_or_else(not_opened)?;
            sink::write_until(&mut &*file, line, deadline)?;
            writer.advance(digest);
            return Ok(());
        };
        let end = if let Some(end) = begun {
            end
        } else {
            let lock = head_file.lock()?;
            LockedEnd {
                _lock: lock,
                is_within_line: self.find_end(writer)?,
            }
        };
        let file = writer.file.as_ref().ok_or_else(not_opened)?;
        let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
        let stored = if end.is_within_line {
            // End the incomplete line of an earlier write that failed.
            sink::write_line(file, &[b"\n", line].concat())?;
            heads.advance_to_end(file)
        } else {
            sink::write_line(file, line)?;
            heads.advance(digest, line.len() as u64)
        };
        // The log has the record even if the head could not be stored.
        writer.advance(digest);
        stored
    }

    /// Finds the end of the log, and begins a new file if the current one is full. Returns
    /// whether the file ends within a line.
    fn find_end(&self, writer: &mut Writer) -> std::io::Result<bool> {
        let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
        if heads.refresh()? {
            writer.file = Some(open(&self.paths.log)?);
        }
        let mut is_rotated = false;
        loop {
            let file = writer.file.as_ref().ok_or_else(not_opened)?;
            let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
            let metadata = file.metadata()?;
            if metadata.nlink() == 0 {
                return Err(std::io::Error::other(
                    "it was removed while it was in use; restart the program to begin a new one",
                ));
            }
            let length = metadata.len();
            let is_within_line = heads.catch_up(file, length, max_gap(self.settings.max_bytes))?;
            if length < self.settings.max_bytes || is_rotated {
                return Ok(is_within_line);
            }
            self.begin_file(writer)?;
            is_rotated = true;
        }
    }

    /// Renames the full file to its number, and begins a new one.
    fn begin_file(&self, writer: &mut Writer) -> std::io::Result<()> {
        let file = writer.file.as_ref().ok_or_else(not_opened)?;
        let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
        let own = file_id(&file.metadata()?);
        let is_own =
            |path: &Path| std::fs::metadata(path).map(|found| file_id(&found)).ok() == Some(own);
        let number = if heads.is_stored() {
            heads.at().file
        } else {
            next_number(&self.paths.log)?
        };
        let full = files::numbered_path(&self.paths.log, number);
        if is_own(&self.paths.log) && number <= files::MAX_NUMBER {
            match rustix::fs::renameat_with(
                CWD,
                &self.paths.log,
                CWD,
                &full,
                RenameFlags::NOREPLACE,
            ) {
                Ok(()) => {}
                // Another file has that name. A log that is too large is better than none.
                Err(rustix::io::Errno::EXIST) => return Ok(()),
                // Not every file system supports RENAME_NOREPLACE.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    if full.symlink_metadata().is_ok() {
                        return Ok(());
                    }
                    std::fs::rename(&self.paths.log, &full)?;
                }
                Err(error) => return Err(error.into()),
            }
            heads.close_file()?;
        } else if is_own(&self.paths.log) {
            return Ok(());
        } else if heads.is_stored() && is_own(&full) {
            // A process was stopped between the rename and the head.
            heads.close_file()?;
        }
        let (head_file, _) = writer.heads.as_ref().ok_or_else(not_opened)?;
        let head_file = head_file.clone();
        let full = writer.file.replace(open(&self.paths.log)?);
        writer.full = full.map(|full| (full, head_file));
        Ok(())
    }
}

impl Writer {
    /// Whether the end of the log was found before. The first record of a chain holds the
    /// digest of the line before it, so no other process may write in between.
    fn has_begun(&self) -> bool {
        self.sequence > 0 && (self.heads.is_some() || !self.is_regular)
    }

    /// Adds a record to the chain.
    fn advance(&mut self, digest: Digest) {
        self.sequence += 1;
        self.previous = Some(digest);
    }

    /// The record as the next line of the chain, with its newline.
    fn line(&self, record: &Record<'_>) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(LINE_BYTES);
        entail_text::json::to_writer(
            &mut line,
            &Line {
                writer: &self.name,
                sequence: self.sequence + 1,
                previous: self.previous,
                record,
            },
        )?;
        if line.len() > MAX_LINE_BYTES {
            return Err(std::io::Error::other(format!(
                "the record has {} bytes, and the limit is {MAX_LINE_BYTES}",
                line.len()
            )));
        }
        line.push(b'\n');
        Ok(line)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

fn not_opened() -> std::io::Error {
    std::io::Error::other("it could not be opened")
}

fn next_number(log: &Path) -> std::io::Result<u64> {
    let files = files::log_files(log)?;
    let newest = files.iter().filter_map(|file| file.number).max();
    Ok(newest.unwrap_or(0) + 1)
}

/// The name of the secondary sink, for errors.
fn secondary_name(settings: &DecisionLogSettings) -> PathBuf {
    match &settings.secondary {
        None => PathBuf::new(),
        Some(SecondarySink::Syslog) => PathBuf::from("the system log (/dev/log)"),
        Some(SecondarySink::Stdout) => PathBuf::from("the standard output"),
        Some(SecondarySink::File(file)) => file.clone(),
    }
}

/// Opens the log, which must be a file that only its owner can use, or a named pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let file = sink::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() && !metadata.file_type().is_fifo() {
        return Err(std::io::Error::other(
            "it is neither a file nor a named pipe",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(std::io::Error::other(format!(
            "others can use it; run: chmod 600 {shown}"
        )));
    }
    Ok(file)
}
