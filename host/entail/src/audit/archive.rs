//! Moving full files of the log elsewhere, and accepting that something of it is lost: the
//! two things that may be done to it on purpose, which the ledger notes.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use entail_store::private_directory;

use super::files::{about, id_of, log_files, numbered, open_to_read};
use super::heads::{HeadFile, Key, Kind, Mark, Paths, Position, begin_anew, sync_directory};
use super::ledger::{Ledger, LogEvent, LogEventKind};
use super::verify::verify_at;
use crate::authorize::authorize_whole;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::home::Home;
use crate::principal::{Action, Principal};

/// What an archived file would be called if it were the present one.
const COPY: &str = "decisions.jsonl";

/// The most breaches that an accepted loss repeats.
const MAX_FOUND: usize = 20;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Moves full files of a home's log into `directory`, the oldest first, up to the one
/// before the number `before`, or all that are full; and notes it, so that they are not
/// missed. Each is compared with what is remembered of it, and with its copy. Returns what
/// was noted; `None` if there was nothing to move.
///
/// Stopped in between, it can be called again with the same directory.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if a file is not as it was written, nothing
/// is remembered of the log, or a file cannot be read or written.
pub fn archive_log(
    home: &Home,
    principal: &Principal,
    directory: &Path,
    before: Option<u64>,
) -> Result<Option<LogEvent>, Error> {
    authorize_whole(principal, Action::Administer)?;
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    let now_ms = SystemClock.now_ms();
    archive_at(&Paths::of(home), principal, directory, before, now_ms).map_err(failed)
}

fn archive_at(
    paths: &Paths,
    principal: &Principal,
    directory: &Path,
    before: Option<u64>,
    now_ms: u64,
) -> std::io::Result<Option<LogEvent>> {
    let directory = std::path::absolute(directory)?;
    let unknown = || {
        std::io::Error::other(
            "nothing outside of it remembers how far it had come, so it cannot be told whether what is archived is what was written",
        )
    };
    let key = Key::read(&paths.key)?.ok_or_else(unknown)?;
    let head_file = HeadFile::open_to_read(&paths.heads)?.ok_or_else(unknown)?;
    let begin = head_file.mark(&key, Kind::Begin)?.ok_or_else(unknown)?;
    let mut ledger = Ledger::read(paths, Some(&key))?;
    if !ledger.is_whole {
        return Err(std::io::Error::other(
            "what is noted of archived files was changed; verify the log first",
        ));
    }
    let wanted: Vec<(u64, PathBuf)> = log_files(&paths.log)?
        .into_iter()
        .filter_map(|file| Some((file.number?, file.path)))
        .filter(|(number, _)| before.is_none_or(|before| *number < before))
        .collect();
    let (Some((from, _)), Some((to, _))) = (wanted.first(), wanted.last()) else {
        return Ok(None);
    };
    let (from, to) = (*from, *to);
    for (expected, (number, _)) in (from..).zip(&wanted) {
        if expected != *number && !ledger.excuses(expected) {
            return Err(std::io::Error::other(format!(
                "file {expected} is missing; verify the log first"
            )));
        }
    }
    private_directory(&directory).map_err(|error| about(&directory, error))?;
    let mut last = None;
    for (number, path) in &wanted {
        let copy = numbered(&directory.join(COPY), *number);
        copy_file(path, &copy)?;
        let closed = check_copy(&head_file, &key, &begin, *number, &copy)?;
        last = closed.and_then(|closed| closed.last).or(last);
    }
    sync_directory(&numbered(&directory.join(COPY), to))?;
    let event = LogEvent {
        at_ms: now_ms,
        principal: principal.to_string(),
        what: LogEventKind::Archived {
            from,
            to,
            last,
            directory,
        },
    };
    ledger.add(paths, &key, event.clone())?;
    for (_, path) in &wanted {
        std::fs::remove_file(path).map_err(|error| about(path, error))?;
    }
    Ok(Some(event))
}

/// Copies a full file. One that is there already is compared like a new one.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut source = open_to_read(from).map_err(|error| about(from, error))?;
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut copy = match made {
        Ok(copy) => copy,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let there = open_to_read(to).map_err(|error| about(to, error))?;
            if id_of(&there.metadata()?) == id_of(&source.metadata()?) {
                return Err(about(
                    to,
                    std::io::Error::other("it is the file itself; choose another directory"),
                ));
            }
            return match same_bytes(source, there)? {
                true => Ok(()),
                false => Err(about(
                    to,
                    std::io::Error::other("another file has that name; choose another directory"),
                )),
            };
        }
        Err(error) => return Err(about(to, error)),
    };
    let copied = std::io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all());
    copied.map_err(|error| {
        // Half a copy is none.
        let _ = std::fs::remove_file(to);
        about(to, error)
    })
}

fn same_bytes(one: File, other: File) -> std::io::Result<bool> {
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

/// Compares a copy with what is remembered of the file; returns how that ended. Of files
/// from before anything was remembered there is nothing to compare with.
fn check_copy(
    head_file: &HeadFile,
    key: &Key,
    begin: &Mark,
    number: u64,
    copy: &Path,
) -> std::io::Result<Option<Position>> {
    if number < begin.at.file {
        return Ok(None);
    }
    let differs = || {
        let rule = "it is not what was written; verify the log first";
        about(
            copy,
            std::io::Error::other(format!("file {number}: {rule}")),
        )
    };
    let start = match number == begin.at.file {
        true => Some(begin.at),
        false => head_file
            .closed(key, begin, number - 1)?
            .map(|before| Position {
                file: number,
                bytes: 0,
                ..before
            }),
    };
    let closed = head_file.closed(key, begin, number)?;
    let (Some(mut at), Some(closed)) = (start, closed) else {
        return Err(differs());
    };
    let file = open_to_read(copy).map_err(|error| about(copy, error))?;
    let length = file.metadata()?.len();
    at.pass_all(&file, length)?;
    match at == closed && length == closed.bytes {
        true => Ok(Some(closed)),
        false => Err(differs()),
    }
}

/// Notes that what is wrong with a home's log is known, and begins anew to remember it
/// from where it ends now: what was wrong before is told as accepted from then on.
/// Programs that have the log open are to be started anew: they remember it as it was.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Invalid`] if nothing is wrong, or without a reason;
/// [`Error::Home`] if a file cannot be read or written.
pub fn accept_log_loss(
    home: &Home,
    principal: &Principal,
    reason: &str,
) -> Result<LogEvent, Error> {
    authorize_whole(principal, Action::Administer)?;
    if !(1..=MAX_REASON_BYTES).contains(&reason.trim().len()) {
        return Err(Error::Invalid(format!(
            "a reason has 1 to {MAX_REASON_BYTES} bytes"
        )));
    }
    accept_at(home, principal, reason.trim(), &SystemClock)
}

pub(super) fn accept_at(
    home: &Home,
    principal: &Principal,
    reason: &str,
    clock: &dyn Clock,
) -> Result<LogEvent, Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    let report = verify_at(home, clock).map_err(failed)?;
    if report.breaches.is_empty() {
        return Err(Error::Invalid(
            "nothing is wrong with the decision log".to_owned(),
        ));
    }
    let found = report.breaches.iter().take(MAX_FOUND);
    let found = found.map(|breach| format!("{}: {}", breach.file.display(), breach.how));
    let breaches = report.breaches.len() as u64 + report.more_breaches;
    let paths = Paths::of(home);
    begin_anew(&paths, clock, |key, end| {
        let mut ledger = Ledger::read(&paths, Some(key))?;
        end.file = end.file.max(ledger.newest_archived() + 1);
        let event = LogEvent {
            at_ms: clock.now_ms(),
            principal: principal.to_string(),
            what: LogEventKind::LossAccepted {
                file: end.file,
                bytes: end.bytes,
                reason: reason.to_owned(),
                found: found.collect(),
                breaches,
            },
        };
        ledger.add(&paths, key, event.clone())?;
        Ok(event)
    })
    .map_err(failed)
}
