//! Writing the decision log.
//!
//! A record takes microseconds to write, without waiting for a disk, so it is written on the
//! thread of the caller. What may take longer is done on another thread: opening the heads,
//! beginning a new file, waiting for another process, and syncing.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use entail_store::{Digest, LogHead, RandomId};
use rustix::fs::{CWD, RenameFlags};

use super::files::{self, LogPaths, file_id, log_error, sync_directory};
use super::head::head_at;
use super::heads::{HeadFile, Heads, max_gap};
use super::lock::LogLock;
use super::principals::PrincipalIds;
use super::record::{Entry, Place};
use super::secondary;
use super::sink::{self, Sink};
use super::sync::{GroupSync, Ticket, sync_name};
use crate::blocking::run_on_thread;
use crate::clock::Clock;
use crate::error::Error;
use crate::home::Home;
use crate::home::settings::{DecisionLogSettings, LogSync, Require, SecondarySink};
use crate::principal::Principal;

/// Attempts to get the writer before the work moves to another thread: a record takes
/// microseconds.
const SPINS: u32 = 1_000;

/// The decision log of a home.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    paths: LogPaths,
    settings: DecisionLogSettings,
    clock: Arc<dyn Clock>,
    principals: Arc<PrincipalIds>,
    secondary: Option<Sink>,
    writer: Mutex<Writer>,
    /// How many threads have the writer, or wait for it, for work that may take long.
    slow: AtomicUsize,
    /// `None` if the settings turn syncs off.
    sync: Option<GroupSync>,
    secondary_sync: Option<(GroupSync, Arc<File>)>,
}

/// A record that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its number in the chain of this writer.
    pub(crate) sequence: u64,
    first: Copied,
    second: Copied,
}

/// Whether a sink has a record.
#[derive(Clone, Copy, Debug)]
enum Copied {
    No,
    /// It has it, and cannot or need not be synced.
    Yes,
    /// It has it, and the line has this ticket.
    Unsynced(Ticket),
}

/// Whether a call may wait for a disk or another process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    Yes,
}

/// Counts a thread that has the writer, or waits for it, for work that may take long.
struct Slow<'a>(&'a AtomicUsize);

impl<'a> Slow<'a> {
    fn begin(slow: &'a AtomicUsize) -> Self {
        slow.fetch_add(1, Ordering::SeqCst);
        Slow(slow)
    }
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A step did not finish.
enum Stopped {
    /// It would have to wait.
    Busy,
    Failed(std::io::Error),
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Stopped::Failed(error)
    }
}

/// The end of the log, and the lock that keeps others from writing after it.
struct LockedEnd {
    _lock: LogLock,
    is_within_line: bool,
}

/// One chain of records.
struct Writer {
    /// `None` if it could not be opened and the settings do not require it.
    file: Option<Arc<File>>,
    is_regular: bool,
    /// `None` before the first record, and if the log is not a regular file.
    heads: Option<(HeadFile, Heads)>,
    /// Identifies the chain.
    name: String,
    /// The number of the last record.
    sequence: u64,
    /// The digest that the next record holds of the line before.
    previous: Option<Digest>,
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
        let is_synced = settings.sync == LogSync::Grouped;
        let secondary_sync = match (&secondary, &settings.secondary) {
            (Some(Sink::File(file)), Some(SecondarySink::File(path))) if is_synced => {
                let file = Arc::new(file.try_clone().map_err(failed)?);
                Some((GroupSync::of(path), file))
            }
            _ => None,
        };
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(DecisionLog {
            principals: Arc::new(PrincipalIds::of(home, is_synced)),
            sync: is_synced.then(|| GroupSync::of(&paths.log)),
            secondary_sync,
            settings,
            clock,
            secondary,
            writer: Mutex::new(Writer {
                is_regular: file.is_some(),
                file: file.map(Arc::new),
                heads: None,
                name: format!("{:016x}", u64::from_ne_bytes(name)),
                sequence: 0,
                previous: None,
            }),
            slow: AtomicUsize::new(0),
            paths,
        })
    }

    /// The id of a principal, which stands for it in records ([`PrincipalIds::id_of`]).
    pub(crate) async fn id_of(&self, principal: &Principal) -> Result<RandomId, Error> {
        self.principals.id_of(principal).await
    }

    /// Writes a record. When this returns, as many sinks have it as the settings require;
    /// it may not be on a disk yet ([`DecisionLog::sync`]).
    pub(crate) async fn write(self: &Arc<Self>, entry: &Entry<'_>) -> Result<Written, Error> {
        let body = entry.encode().map_err(|error| self.failed(error))?;
        if let Some(written) = self.try_write(&body) {
            return written;
        }
        let log = Arc::clone(self);
        run_on_thread("entail-log", move || log.write_waiting(&body)).await?
    }

    /// Writes an encoded record; `None` if that may have to wait.
    fn try_write(&self, body: &[u8]) -> Option<Result<Written, Error>> {
        let mut writer = self.try_lock()?;
        match self.write_to(&mut writer, body, Wait::No) {
            Ok(written) => Some(Ok(written)),
            Err(Stopped::Busy) => None,
            Err(Stopped::Failed(error)) => Some(Err(self.failed(error))),
        }
    }

    /// Writes an encoded record. May wait for the disk and for other processes.
    pub(super) fn write_waiting(&self, body: &[u8]) -> Result<Written, Error> {
        self.sync_full_file();
        let (_slow, mut writer) = self.lock();
        let written = self.write_to(&mut writer, body, Wait::Yes);
        written.map_err(|stopped| self.failed(into_error(stopped)))
    }

    /// Gets the writer for work that may take long.
    fn lock(&self) -> (Slow<'_>, MutexGuard<'_, Writer>) {
        let slow = Slow::begin(&self.slow);
        // A thread that panicked wrote its line completely or not at all.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        (slow, writer)
    }

    /// Gets the writer, unless somebody has it for long.
    fn try_lock(&self) -> Option<MutexGuard<'_, Writer>> {
        for _ in 0..SPINS {
            if self.slow.load(Ordering::SeqCst) > 0 {
                return None;
            }
            match self.writer.try_lock() {
                Ok(writer) => return Some(writer),
                Err(TryLockError::Poisoned(writer)) => return Some(writer.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }

    /// Writes most of a full file to the disk before the log is locked to begin a new one.
    fn sync_full_file(&self) {
        let (slow, writer) = self.lock();
        let file = writer.file.clone().filter(|_| writer.is_regular);
        drop((slow, writer));
        if let Some(file) = file
            && file
                .metadata()
                .is_ok_and(|metadata| metadata.len() >= self.settings.max_bytes)
        {
            // It is synced again under the lock, and an error counts there.
            let _ = file.sync_data();
        }
    }

    fn write_to(&self, writer: &mut Writer, body: &[u8], wait: Wait) -> Result<Written, Stopped> {
        let deadline = sink::deadline();
        let begun = if writer.has_begun() {
            Ok(None)
        } else if wait == Wait::No {
            return Err(Stopped::Busy);
        } else {
            self.begin(writer)
        };
        let line = writer.line(body);
        let digest = Digest::of(line.trim_ascii_end());
        let sequence = writer.sequence;
        let first = begun
            .map_err(Stopped::from)
            .and_then(|begun| self.append(writer, begun, &line, digest, deadline, wait));
        let first = match first {
            Ok(copied) => Ok(copied),
            Err(Stopped::Busy) => return Err(Stopped::Busy),
            Err(Stopped::Failed(error)) => Err(error),
        };
        let second = self.secondary.as_ref().map(|sink| {
            sink.write(&line, deadline)
                .map(|()| self.copied_to_secondary())
        });
        let is_recorded = match (&first, &second) {
            (Ok(_), None | Some(Ok(_))) => true,
            (Ok(_), Some(Err(_))) | (Err(_), Some(Ok(_))) => self.settings.require == Require::Any,
            (Err(_), _) => false,
        };
        if is_recorded && writer.sequence == sequence {
            writer.advance(digest);
        }
        if is_recorded {
            return Ok(Written {
                sequence: sequence + 1,
                first: first.unwrap_or(Copied::No),
                second: second.and_then(Result::ok).unwrap_or(Copied::No),
            });
        }
        Err(Stopped::Failed(match (first, second) {
            (Err(error), _) => error,
            (_, Some(Err(error))) => of_secondary(error),
            _ => std::io::Error::other("it was not written"),
        }))
    }

    fn copied_to_secondary(&self) -> Copied {
        match &self.secondary_sync {
            Some((sync, file)) => Copied::Unsynced(sync.wrote(file, None)),
            None => Copied::Yes,
        }
    }

    /// Waits until two records of this log, and everything between them, are on the disk, in
    /// as many sinks as the settings require. Returns at once if the settings turn syncs off.
    pub(crate) async fn sync(&self, from: &Written, to: &Written) -> Result<(), Error> {
        let first = synced(self.sync.as_ref(), from.first, to.first).await;
        let sync = self.secondary_sync.as_ref().map(|(sync, _)| sync);
        let second = match &self.secondary {
            None => return first.map_err(|error| self.failed(error)),
            Some(_) => synced(sync, from.second, to.second).await,
        };
        match (first, second) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(_)) | (Err(_), Ok(())) if self.settings.require == Require::Any => Ok(()),
            (Err(error), _) => Err(self.failed(error)),
            (_, Err(error)) => Err(self.failed(of_secondary(error))),
        }
    }

    /// The present end of the log, after everything before it was synced, whatever the
    /// settings say. `None` if the log has no head: it is not a regular file, or the key of
    /// the log cannot be created.
    ///
    /// # Errors
    ///
    /// [`Error::Home`] if the log cannot be read or synced.
    pub(crate) async fn head(self: &Arc<Self>) -> Result<Option<LogHead>, Error> {
        let log = Arc::clone(self);
        run_on_thread("entail-log-head", move || {
            let Some((head, file)) = log.locked_head().map_err(log_error)? else {
                return Ok(None);
            };
            file.sync_data()
                .and_then(|()| sync_name(&log.paths.log))
                .map_err(log_error)?;
            Ok(Some(head))
        })
        .await?
    }

    /// Whether the log has a head file. The first record creates it.
    pub(crate) fn has_begun(&self) -> bool {
        self.paths.heads.exists()
    }

    fn locked_head(&self) -> std::io::Result<Option<(LogHead, Arc<File>)>> {
        let (_slow, mut writer) = self.lock();
        let _end = if writer.has_begun() && writer.is_regular {
            Some(self.lock_end(&mut writer, Wait::Yes).map_err(into_error)?)
        } else {
            self.begin(&mut writer)?
        };
        let heads = writer.heads.as_ref().filter(|(_, heads)| heads.is_stored());
        let head = heads.and_then(|(_, heads)| Some(head_at(heads.at(), heads.key()?)));
        Ok(head.zip(writer.file.clone()))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        // An error of the secondary log names it.
        Error::NotRecorded {
            file: match error
                .get_ref()
                .and_then(|error| error.downcast_ref::<OfSecondary>())
            {
                Some(_) => secondary_name(&self.settings),
                None => self.paths.log.clone(),
            },
            error,
        }
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
            writer.file = Some(Arc::new(open(&self.paths.log)?));
        }
        let is_within_line = self.find_end(writer, Wait::Yes).map_err(into_error)?;
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
        wait: Wait,
    ) -> Result<Copied, Stopped> {
        if writer.heads.is_none() {
            let file = writer.file.as_ref().ok_or_else(not_opened)?;
            sink::write_until(&mut &**file, line, deadline)?;
            writer.advance(digest);
            return Ok(Copied::Yes);
        }
        let end = match begun {
            Some(end) => end,
            None => self.lock_end(writer, wait)?,
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
        let copied = match &self.sync {
            Some(sync) => Copied::Unsynced(sync.wrote(file, heads.durable_mark())),
            None => Copied::Yes,
        };
        // The log has the record even if the head could not be stored.
        writer.advance(digest);
        stored?;
        Ok(copied)
    }

    /// Locks out other processes, and finds the end of the log.
    fn lock_end(&self, writer: &mut Writer, wait: Wait) -> Result<LockedEnd, Stopped> {
        let (head_file, _) = writer.heads.as_ref().ok_or_else(not_opened)?;
        let lock = match wait {
            Wait::Yes => head_file.lock()?,
            Wait::No => head_file.try_lock()?.ok_or(Stopped::Busy)?,
        };
        Ok(LockedEnd {
            _lock: lock,
            is_within_line: self.find_end(writer, wait)?,
        })
    }

    /// Finds the end of the log, and begins a new file if the current one is full. Returns
    /// whether the file ends within a line.
    fn find_end(&self, writer: &mut Writer, wait: Wait) -> Result<bool, Stopped> {
        let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
        if heads.refresh()? {
            writer.file = Some(Arc::new(open(&self.paths.log)?));
        }
        let mut is_rotated = false;
        loop {
            let file = writer.file.as_ref().ok_or_else(not_opened)?;
            let (_, heads) = writer.heads.as_mut().ok_or_else(not_opened)?;
            let metadata = file.metadata()?;
            if metadata.nlink() == 0 {
                return Err(Stopped::Failed(std::io::Error::other(
                    "it was removed while it was in use; restart the program to begin a new one",
                )));
            }
            let length = metadata.len();
            let is_within_line = heads.catch_up(file, length, max_gap(self.settings.max_bytes))?;
            if length < self.settings.max_bytes || is_rotated {
                return Ok(is_within_line);
            }
            if wait == Wait::No {
                return Err(Stopped::Busy);
            }
            self.begin_file(writer)?;
            is_rotated = true;
        }
    }

    /// Renames the full file to its number, and begins a new one. Each step is on the disk
    /// before the next.
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
        if is_own(&self.paths.log) {
            // Another file has that name. A log that is too large is better than none.
            if number > files::MAX_NUMBER || full.symlink_metadata().is_ok() {
                return Ok(());
            }
            file.sync_data()?;
            heads.close_file()?;
            if !rename(&self.paths.log, &full)? {
                return Ok(());
            }
            sync_directory(&full)?;
            heads.begin_file()?;
        } else if heads.is_stored() && is_own(&full) {
            // A process was stopped between the rename and the head.
            file.sync_data()?;
            sync_directory(&full)?;
            heads.close_file()?;
            heads.begin_file()?;
        }
        writer.file = Some(Arc::new(open(&self.paths.log)?));
        Ok(())
    }
}

/// Renames the log, unless the new name is taken. Returns whether it was renamed.
fn rename(log: &Path, full: &Path) -> std::io::Result<bool> {
    match rustix::fs::renameat_with(CWD, log, CWD, full, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        // Not every file system supports RENAME_NOREPLACE.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::rename(log, full).map(|()| true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits until the lines are on the disk that a log has of two records.
async fn synced(sync: Option<&GroupSync>, from: Copied, to: Copied) -> std::io::Result<()> {
    match (sync, from, to) {
        (Some(sync), Copied::Unsynced(first), Copied::Unsynced(last)) => {
            sync.wait(first, last).await
        }
        (_, Copied::No, _) | (_, _, Copied::No) => Err(not_opened()),
        _ => Ok(()),
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

    /// An encoded record as the next line of the chain, with its newline.
    fn line(&self, body: &[u8]) -> Vec<u8> {
        let place = Place {
            writer: &self.name,
            sequence: self.sequence + 1,
            previous: self.previous,
        };
        place.line(body)
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

/// An error of the secondary log.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct OfSecondary(std::io::Error);

fn into_error(stopped: Stopped) -> std::io::Error {
    match stopped {
        Stopped::Failed(error) => error,
        Stopped::Busy => std::io::Error::other("it is in use"),
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

fn of_secondary(error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), OfSecondary(error))
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
