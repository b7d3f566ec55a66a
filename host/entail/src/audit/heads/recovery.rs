//! Where the log ends when the head cannot tell: after a crash, or without a head.

use std::fs::File;

use entail_store::Digest;

use super::position::Position;
use crate::audit::files::{LogPaths, log_files, open_to_read, with_path};
use crate::audit::lines::{FileRange, LineKind, Lines, last_line};

/// The length of a file without what a crash of the machine left in ruins: everything from
/// the first line after `durable_bytes` on that has a zero byte, which no record has. The
/// system may write later parts of a file before earlier ones, which then read as zeros.
pub(in crate::audit) fn intact_length(log: &File, durable_bytes: u64) -> std::io::Result<u64> {
    let length = log.metadata()?.len();
    let mut lines = Lines::new(FileRange::new(log, durable_bytes, length), durable_bytes);
    let mut line = Vec::new();
    loop {
        let begin = lines.offset();
        match lines.next(&mut line)? {
            LineKind::Complete if !line.contains(&0) => {}
            LineKind::Incomplete if !line.contains(&0) && !lines.is_within_long_line() => {
                return Ok(length);
            }
            // No record is as long as a line that is too long.
            LineKind::Complete | LineKind::Incomplete | LineKind::TooLong => return Ok(begin),
        }
    }
}

/// How much of the log survived a reboot: `Some` if it leads from the durable position to
/// the head, or ends before the head; `None` if it holds anything else. The part of the head
/// file with the head may be older on the disk than the one with the durable position.
pub(in crate::audit) fn surviving_part(
    durable: &Position,
    head: &Position,
    log: Option<&File>,
    length: u64,
) -> std::io::Result<Option<Position>> {
    if durable.file == head.file && durable.lines > head.lines {
        return Ok((durable.bytes <= length).then_some(*durable));
    }
    let end = length.min(head.bytes);
    let in_order = durable.file == head.file && durable.lines <= head.lines && durable.bytes <= end;
    if !in_order {
        return Ok(None);
    }
    let mut found = *durable;
    if let Some(log) = log {
        found.advance_to(log, end)?;
    }
    let is_whole = found == *head;
    let is_prefix = length < head.bytes && found.lines <= head.lines;
    Ok((is_whole || is_prefix).then_some(found))
}

/// Where a log without a head ends: its contents are trusted.
pub(super) fn end_of_log(paths: &LogPaths, mut at: Position) -> std::io::Result<Position> {
    let log = log_files(&paths.log)?;
    let newest = log.iter().filter_map(|file| file.number).max();
    at.file = newest.map_or(1, |number| number + 1);
    for file in log.iter().rev() {
        let opened = open_to_read(&file.path).map_err(|error| with_path(&file.path, error))?;
        let (line, end) = last_line(&opened, opened.metadata()?.len())?;
        if file.number.is_none() {
            at.bytes = end;
        }
        if let Some(line) = line {
            at.last = Some(Digest::of(&line));
            break;
        }
    }
    Ok(at)
}
