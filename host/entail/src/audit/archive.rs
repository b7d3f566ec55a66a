//! Archiving full files of the log, and accepting a loss. The ledger records both.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use entail_store::{LogHead, RandomId, private_directory};

use super::files::{
    LogPaths, file_id, log_error, log_files, numbered_path, open_to_read, sync_directory, with_path,
};
use super::heads::{Checkpoint, CheckpointKind, HeadFile, LogKey, Position, reinitialize};
use super::ledger::{Ledger, LogEvent, LogEventKind};
use super::principals::PrincipalIds;
use super::verify::verify_at;
use crate::authorize::authorize_whole;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::home::Home;
use crate::principal::{Action, Principal};

/// The name that archived files are numbered after.
const ARCHIVE_NAME: &str = "decisions.jsonl";

/// How many breaches the record of an accepted loss lists.
const MAX_FOUND: usize = 20;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Moves full files of a home's log into `directory`, the oldest first: those with a
/// number below `before`, or all. Before a file is removed, its copy is compared with the
/// checkpoint of the file. Returns the recorded event; `None` if there was nothing to
/// archive. After an interruption, call it again with the same directory.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if a file was changed, the log has no head, or
/// a file cannot be read or written.
pub fn archive_log(
    home: &Home,
    principal: &Principal,
    directory: &Path,
    before: Option<u64>,
) -> Result<Option<LogEvent>, Error> {
    authorize_whole(principal, Action::Administer)?;
    let now_ms = SystemClock.now_ms();
    archive_at(home, principal, directory, before, now_ms).map_err(log_error)
}

fn archive_at(
    home: &Home,
    principal: &Principal,
    directory: &Path,
    before: Option<u64>,
    now_ms: u64,
) -> std::io::Result<Option<LogEvent>> {
    let paths = &LogPaths::of(home);
    let directory = std::path::absolute(directory)?;
    let no_head = || {
        std::io::Error::other("it has no head, so its files cannot be verified before archiving")
    };
    let key = LogKey::read(&paths.key)?.ok_or_else(no_head)?;
    let head_file = HeadFile::open_to_read(&paths.heads)?.ok_or_else(no_head)?;
    let begin = head_file.checkpoint(&key, CheckpointKind::Begin)?;
    let begin = begin.ok_or_else(no_head)?;
    let mut ledger = Ledger::read(paths, Some(&key))?;
    if !ledger.is_authentic {
        return Err(std::io::Error::other(
            "the ledger of archived files was changed; verify the log first",
        ));
    }
    let files = files_to_archive(paths, &ledger, before)?;
    let (Some((from, _)), Some((to, _))) = (files.first(), files.last()) else {
        return Ok(None);
    };
    let (from, to) = (*from, *to);
    private_directory(&directory).map_err(|error| with_path(&directory, error))?;
    let mut last = None;
    for (number, path) in &files {
        let copy = numbered_path(&directory.join(ARCHIVE_NAME), *number);
        copy_file(path, &copy)?;
        let closed = check_copy(&head_file, &key, &begin, *number, &copy)?;
        last = closed.and_then(|closed| closed.last).or(last);
    }
    sync_directory(&numbered_path(&directory.join(ARCHIVE_NAME), to))?;
    let event = LogEvent {
        at_ms: now_ms,
        principal: id_of(home, principal)?.to_string(),
        kind: LogEventKind::Archived {
            from,
            to,
            last,
            directory,
        },
    };
    ledger.add(paths, &key, event.clone())?;
    for (_, path) in &files {
        std::fs::remove_file(path).map_err(|error| with_path(path, error))?;
    }
    Ok(Some(LogEvent {
        principal: principal.to_string(),
        ..event
    }))
}

/// The full files with a number below `before`, oldest first. Fails if one between them is
/// missing.
fn files_to_archive(
    paths: &LogPaths,
    ledger: &Ledger,
    before: Option<u64>,
) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let files: Vec<(u64, PathBuf)> = log_files(&paths.log)?
        .into_iter()
        .filter_map(|file| Some((file.number?, file.path)))
        .filter(|(number, _)| before.is_none_or(|before| *number < before))
        .collect();
    let Some((from, _)) = files.first() else {
        return Ok(files);
    };
    for (expected, (number, _)) in (*from..).zip(&files) {
        if expected != *number && !ledger.excuses(expected) {
            return Err(std::io::Error::other(format!(
                "file {expected} is missing; verify the log first"
            )));
        }
    }
    Ok(files)
}

/// Copies a full file. If the target exists, compares it instead.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut source = open_to_read(from).map_err(|error| with_path(from, error))?;
    let created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut copy = match created {
        Ok(copy) => copy,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let existing = open_to_read(to).map_err(|error| with_path(to, error))?;
            let is_same_file = file_id(&existing.metadata()?) == file_id(&source.metadata()?);
            let problem = if is_same_file {
                "it is the file itself; choose another directory"
            } else if has_same_bytes(source, existing)? {
                return Ok(());
            } else {
                "another file has that name; choose another directory"
            };
            return Err(with_path(to, std::io::Error::other(problem)));
        }
        Err(error) => return Err(with_path(to, error)),
    };
    let copied = std::io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all());
    copied.map_err(|error| {
        // Do not leave half a copy.
        let _ = std::fs::remove_file(to);
        with_path(to, error)
    })
}

fn has_same_bytes(one: File, other: File) -> std::io::Result<bool> {
    let mut one = BufReader::new(one);
    let mut other = BufReader::new(other);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        if left.is_empty() || right.is_empty() {
            return Ok(left.is_empty() && right.is_empty());
        }
        let length = left.len().min(right.len());
        if left.get(..length) != right.get(..length) {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Compares a copy with the checkpoint of the file, and returns the end of the file; `None`
/// for a file from before the heads began.
fn check_copy(
    head_file: &HeadFile,
    key: &LogKey,
    begin: &Checkpoint,
    number: u64,
    copy: &Path,
) -> std::io::Result<Option<Position>> {
    if number < begin.at.file {
        return Ok(None);
    }
    let differs = || {
        let problem = "it is not what was written; verify the log first";
        let error = std::io::Error::other(format!("file {number}: {problem}"));
        with_path(copy, error)
    };
    let start = if number == begin.at.file {
        Some(begin.at)
    } else {
        let before = head_file.closed(key, begin, number - 1)?;
        before.map(Position::next_file)
    };
    let closed = head_file.closed(key, begin, number)?;
    let (Some(mut at), Some(closed)) = (start, closed) else {
        return Err(differs());
    };
    let file = open_to_read(copy).map_err(|error| with_path(copy, error))?;
    let length = file.metadata()?.len();
    at.advance_to(&file, length)?;
    if at == closed && length == closed.bytes {
        Ok(Some(closed))
    } else {
        Err(differs())
    }
}

/// Accepts all breaches of a home's log: records them in the ledger and starts new heads at
/// the end of the log. Verification then counts them as accepted. Restart the programs that
/// have the log open: they still use the old heads.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Invalid`] if there is no breach, or the reason is
/// empty or too long; [`Error::Home`] if a file cannot be read or written.
pub fn accept_log_loss(
    home: &Home,
    principal: &Principal,
    heads: &[LogHead],
    reason: &str,
) -> Result<LogEvent, Error> {
    authorize_whole(principal, Action::Administer)?;
    if !(1..=MAX_REASON_BYTES).contains(&reason.trim().len()) {
        return Err(Error::Invalid(format!(
            "a reason must have 1 to {MAX_REASON_BYTES} bytes"
        )));
    }
    accept_at(home, principal, heads, reason.trim(), &SystemClock)
}

pub(super) fn accept_at(
    home: &Home,
    principal: &Principal,
    heads: &[LogHead],
    reason: &str,
    clock: &dyn Clock,
) -> Result<LogEvent, Error> {
    let report = verify_at(home, clock, heads).map_err(log_error)?;
    if report.breaches.is_empty() {
        return Err(Error::Invalid(
            "nothing is wrong with the decision log".to_owned(),
        ));
    }
    let found = report.breaches.iter().take(MAX_FOUND);
    let found = found.map(|breach| format!("{}: {}", breach.file.display(), breach.reason));
    let breaches = report.breaches.len() as u64 + report.more_breaches;
    let paths = LogPaths::of(home);
    let id = id_of(home, principal).map_err(log_error)?;
    let recorded = reinitialize(&paths, clock, |key, end| {
        let mut ledger = Ledger::read(&paths, Some(key))?;
        end.file = end.file.max(ledger.newest_archived() + 1);
        let event = LogEvent {
            at_ms: clock.now_ms(),
            principal: id.to_string(),
            kind: LogEventKind::LossAccepted {
                file: end.file,
                bytes: end.bytes,
                reason: reason.to_owned(),
                found: found.collect(),
                breaches,
            },
        };
        ledger.add(&paths, key, event.clone())?;
        Ok(event)
    });
    Ok(LogEvent {
        principal: principal.to_string(),
        ..recorded.map_err(log_error)?
    })
}

/// The id of a principal for an event, which is always synced.
fn id_of(home: &Home, principal: &Principal) -> std::io::Result<RandomId> {
    let ids = PrincipalIds::of(home, true);
    let found = ids.synced_id_of(principal);
    found.map_err(|error| with_path(&home.principals_file(), error))
}
