//! Verifying the decision log by its chains and its heads.
//!
//! Only one line, the digests of the last few, and the last record of each recent writer
//! are in memory, regardless of the size of the log.

mod chains;
mod expected_heads;
mod report;
mod snapshot;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use entail_store::{Digest, LogHead};

use super::files::{LogPaths, log_error, numbered_path, open_to_read, with_path};
use super::heads::{MachineTime, Position, intact_length, surviving_part};
use super::lines::{FileRange, LineKind, Lines};
use super::principals::PrincipalNames;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::home::Home;
use chains::{Chains, InvalidLine, RecordKind};
use expected_heads::ExpectedHeads;
pub use report::{Breach, LogReport};
use snapshot::{KnownHeads, OpenFile, Snapshot};

/// Verifies that each record of a home's log is where its writer put it, and was not
/// changed: against the records after it, and against the head. Also checks that the log
/// contains each of `heads`, which were stored elsewhere. Reads the whole log, and blocks
/// meanwhile.
///
/// # Errors
///
/// [`Error::Home`] if a file cannot be read.
pub fn verify(home: &Home, heads: &[LogHead]) -> Result<LogReport, Error> {
    verify_at(home, &SystemClock, heads).map_err(log_error)
}

pub(super) fn verify_at(
    home: &Home,
    clock: &dyn Clock,
    heads: &[LogHead],
) -> std::io::Result<LogReport> {
    let mut report = LogReport::default();
    let mut log = Snapshot::take(&LogPaths::of(home), &mut report)?;
    let files = std::mem::take(&mut log.files);
    report.files = files.len();
    report.events.clone_from(&log.ledger.events);
    report.first_file = log.first_file(&files);
    let mut verifier = Verifier {
        chains: Chains::new(report.first_file.is_some()),
        report,
        machine: MachineTime::of(clock.uptime()),
        expected: ExpectedHeads::new(heads),
        log,
    };
    verifier.check_missing_files(&files);
    for file in files {
        verifier.check_file(file)?;
    }
    let Verifier {
        log,
        chains,
        mut report,
        expected,
        ..
    } = verifier;
    expected.finish(&log, &mut report);
    report.writers = chains.begun();
    let mut names = PrincipalNames::read(home);
    for event in &mut report.events {
        event.principal = names.shown(&event.principal).into_owned();
    }
    Ok(report)
}

/// A verification in progress.
struct Verifier {
    log: Snapshot,
    chains: Chains,
    report: LogReport,
    machine: MachineTime,
    expected: ExpectedHeads,
}

/// What the heads say of a file, and how far it was checked against them.
struct FileHeads {
    path: PathBuf,
    /// Where the heads begin, if that is within the file.
    begin: Option<Position>,
    /// The position that was reached; `None` where the heads do not cover the file.
    at: Option<Position>,
    /// The end of a full file, or the head.
    end: Option<Position>,
    /// Whether `end` was reached.
    is_complete: bool,
    /// Whether it is the current file.
    is_current: bool,
}

impl Verifier {
    /// Reports files that are missing and were not archived.
    fn check_missing_files(&mut self, files: &[OpenFile]) {
        let log = &self.log;
        let present: BTreeSet<u64> = files.iter().filter_map(|file| file.number).collect();
        let head = log.heads.as_ref().map(|known| known.head.at);
        let begin = log.heads.as_ref().map(|known| known.begin.at.file);
        // Files from before the heads began may be missing.
        let Some(first) = present.first().copied().into_iter().chain(begin).min() else {
            return;
        };
        let end = match head {
            Some(head) => head.file,
            None => present.last().map_or(first, |newest| newest + 1),
        };
        let is_missing = |number: &u64| !present.contains(number) && !log.ledger.excuses(*number);
        let mut missing = (first..end).filter(is_missing).peekable();
        while let Some(from) = missing.next() {
            let mut to = from;
            while let Some(next) = missing.next_if(|next| *next == to + 1) {
                to = next;
            }
            let reason = if to == from {
                format!("file {from} is missing, and it was not archived")
            } else {
                format!("the files {from} to {to} are missing, and they were not archived")
            };
            let file = numbered_path(&log.paths.log, from);
            self.report.breach(&file, 0, reason);
        }
        if let Some(head) = head
            && head.bytes > 0
            && !present.contains(&head.file)
        {
            // Its name was not on the disk yet when the machine crashed.
            if let Ok(Some(lost)) = self.lost_in_crash(None, 0, &head) {
                self.report.lost += lost;
                return;
            }
            let lines = head.lines;
            let reason = format!("it is missing; {lines} records had been written up to its end");
            self.report.breach(&log.paths.log, 0, reason);
        }
    }

    /// Checks one file against its chains and the heads.
    fn check_file(&mut self, file: OpenFile) -> std::io::Result<()> {
        let opened = match file.opened {
            Some(opened) => opened,
            None => open_to_read(&file.path).map_err(|error| with_path(&file.path, error))?,
        };
        let mut heads = self.heads_of(file.path, file.number)?;
        let length = self.intact_length(&opened, &heads)?;
        let mut lines = Lines::new(FileRange::new(&opened, 0, length), 0);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            let offset = lines.offset();
            heads.begin_at(offset);
            if let Some(at) = &heads.at {
                self.expected
                    .reach(at, &heads.path, number, &mut self.report);
            }
            let kind = lines.next(&mut line)?;
            if kind == LineKind::Incomplete {
                if !line.is_empty() || lines.is_within_long_line() {
                    self.report.incomplete += 1;
                }
                break;
            }
            number += 1;
            let digest = Digest::of(&line);
            let checked = if kind == LineKind::TooLong {
                Err(InvalidLine::Broken(
                    "it is longer than any record".to_owned(),
                ))
            } else {
                self.chains.add(&line, digest)
            };
            let is_accepted = || {
                file.number
                    .is_some_and(|file| self.log.ledger.is_accepted(file, offset))
            };
            match checked {
                Ok(kind) => self.count(kind),
                Err(InvalidLine::Incomplete) => self.report.incomplete += 1,
                Err(InvalidLine::Broken(_)) if is_accepted() => self.report.accepted += 1,
                Err(InvalidLine::Broken(reason)) => {
                    self.report.breach(&heads.path, number, reason);
                }
            }
            heads.check_line(number, digest, lines.offset() - offset, &mut self.report);
        }
        if let (false, Some(end)) = (heads.is_complete, heads.end) {
            let length = lines.offset();
            if let Some(lost) = self.lost_in_crash(Some(&opened), length, &end)? {
                // The next record adds them to the count in the head file.
                self.report.lost += lost;
            } else {
                let at = heads.at.unwrap_or(end);
                self.report
                    .breach(&heads.path, number, difference(&at, &end));
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: RecordKind) {
        self.report.records += 1;
        match kind {
            RecordKind::Decision { is_grant } => {
                self.report.decisions += 1;
                self.report.without_opening += u64::from(is_grant);
            }
            RecordKind::Opening => {
                self.report.openings += 1;
                // That of its grant may have been archived.
                self.report.without_opening = self.report.without_opening.saturating_sub(1);
            }
            RecordKind::Newer => self.report.newer += 1,
        }
    }

    /// The length of a file without what the last crash of the machine left in ruins, if
    /// nobody has written to the log since.
    fn intact_length(&self, file: &File, heads: &FileHeads) -> std::io::Result<u64> {
        let length = file.metadata()?.len();
        let Some(known) = &self.log.heads else {
            return Ok(length);
        };
        if !heads.is_current || known.head.machine.boot == self.machine.boot {
            return Ok(length);
        }
        match self.durable_in(known, known.head.at.file)? {
            Some(durable) => intact_length(file, durable.bytes),
            None => Ok(length),
        }
    }

    /// What the heads say of a file. Reports a file that does not fit them.
    fn heads_of(&mut self, path: PathBuf, number: Option<u64>) -> std::io::Result<FileHeads> {
        let mut heads = FileHeads {
            path,
            begin: None,
            at: None,
            end: None,
            is_complete: true,
            is_current: false,
        };
        let (Some(known), Some(number)) = (&self.log.heads, number) else {
            return Ok(heads);
        };
        let (begin, head) = (&known.begin.at, &known.head.at);
        if number < begin.file {
            return Ok(heads);
        }
        if number > head.file {
            let reason = "it is not part of the log: its number was not assigned";
            self.report.breach(&heads.path, 0, reason);
            return Ok(heads);
        }
        heads.is_current = number == head.file;
        heads.end = if heads.is_current {
            Some(*head)
        } else {
            known.closed(number)?
        };
        if heads.end.is_none() {
            let reason = format!("the checkpoint of file {number} was changed");
            self.report.breach(&heads.path, 0, reason);
        }
        if number == begin.file {
            heads.begin = Some(*begin);
        } else {
            heads.at = known.closed(number - 1)?.map(Position::next_file);
            // Without the start, the end cannot be checked.
            heads.end = heads.end.filter(|_| heads.at.is_some());
        }
        heads.is_complete = heads
            .end
            .is_none_or(|end| end.bytes == 0 || heads.at == Some(end));
        Ok(heads)
    }

    /// How many records of a file that ends before its head were lost in a crash of the
    /// machine; `None` if a crash does not explain it.
    fn lost_in_crash(
        &self,
        file: Option<&File>,
        length: u64,
        end: &Position,
    ) -> std::io::Result<Option<u64>> {
        let Some(known) = &self.log.heads else {
            return Ok(None);
        };
        if known.head.machine.boot == self.machine.boot || known.head.at != *end {
            return Ok(None);
        }
        let Some(durable) = self.durable_in(known, end.file)? else {
            return Ok(None);
        };
        let found = surviving_part(&durable, end, file, length)?;
        Ok(found.map(|found| end.lines - found.lines))
    }

    fn durable_in(&self, known: &KnownHeads, file: u64) -> std::io::Result<Option<Position>> {
        match &known.durable {
            Some(durable) => {
                let paths = &self.log.paths;
                known
                    .file
                    .durable_in(paths, &known.key, &known.begin, durable.at, file)
            }
            None => Ok(None),
        }
    }
}

impl FileHeads {
    /// Starts checking where the heads begin.
    fn begin_at(&mut self, offset: u64) {
        if self.begin.is_some_and(|begin| begin.bytes == offset) {
            self.at = self.begin.take();
            self.is_complete |= self.at == self.end;
        }
    }

    /// Checks a line, given its digest and its length with the newline.
    fn check_line(&mut self, number: u64, digest: Digest, bytes: u64, report: &mut LogReport) {
        let (Some(at), Some(end)) = (&mut self.at, &self.end) else {
            return;
        };
        at.advance(digest, bytes);
        if self.is_complete {
            if self.is_current {
                report.after_head += 1;
            } else {
                let reason = "it was added after the file was full";
                report.breach(&self.path, number, reason);
            }
        } else if at.bytes == end.bytes {
            self.is_complete = true;
            if !at.has_same_lines(end) {
                report.breach(&self.path, number, difference(at, end));
            }
        } else if at.bytes > end.bytes {
            self.is_complete = true;
            let reason = "it is not the line that had been written there";
            report.breach(&self.path, number, reason);
        }
    }
}

fn difference(at: &Position, end: &Position) -> String {
    match end.lines.checked_sub(at.lines) {
        Some(0) => {
            "the log up to here is not what was written, although its chains are valid".to_owned()
        }
        Some(1) => "1 record is missing here or before, of those that had been written".to_owned(),
        Some(missing) => {
            format!("{missing} records are missing here or before, of those that had been written")
        }
        None => match at.lines - end.lines {
            1 => "there is 1 record too many here or before".to_owned(),
            more => format!("there are {more} records too many here or before"),
        },
    }
}
