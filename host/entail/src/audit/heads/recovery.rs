//! Where the log ends when the head cannot tell: after a crash, or without a head.

use std::fs::File;

use entail_store::Digest;

use super::position::Position;
use crate::audit::files::{LogPaths, log_files, open_to_read, with_path};
use crate::audit::lines::last_line;

/// How much of the log survived a reboot: `Some` if it leads from the durable position to
/// the head, or ends before the head; `None` if it holds anything else.
pub(in crate::audit) fn surviving_part(
    durable: &Position,
    head: &Position,
    log: Option<&File>,
    length: u64,
) -> std::io::Result<Option<Position>> {
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
