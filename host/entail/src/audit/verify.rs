//! Checking that nothing was changed in the decision log, as far as its chains and its
//! heads bear it out.
//!
//! Whatever the size of the log, one line of it is in memory at a time, the last few
//! digests, and where the chains are of the writers that wrote last.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};

use entail_store::Digest;
use serde::Deserialize;

use super::files::{LogFile, about, log_files, numbered, open_if_there, open_to_read};
use super::heads::{HeadFile, Key, Kind, MachineTime, Mark, Paths, Position, settled_part};
use super::ledger::{Ledger, LogEvent};
use super::lines::{LineKind, Lines};
use super::read::failed;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::home::Home;

/// Lines before it among which a writer may find the one that its chain begins after:
/// it is the last one, but for those that were never finished.
const LOOK_BACK_LINES: usize = 64;

/// Writers whose chains are remembered, those that wrote last; each process is one. The
/// chain of one that comes back after as many others is not held against its beginning;
/// the heads still are.
const KNOWN_WRITERS: usize = 50_000;

/// The names that writers give themselves are as long.
const WRITER_CHARS: usize = 16;

/// Breaches that are told one by one: more than a person reads.
const MAX_BREACHES: usize = 1_000;

/// What is wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 if it is the file itself.
    pub line: u64,
    /// What is wrong.
    pub how: String,
}

/// What a check of the log found.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    /// Files looked at.
    pub files: usize,
    /// Records that are as they were written.
    pub records: u64,
    /// Chains that they form; of those that were forgotten on the way and came back,
    /// each part counts.
    pub writers: usize,
    /// Lines that were never finished: the disk was full, or the power went. Nothing
    /// was revealed on their account.
    pub unfinished: u64,
    /// The number of the oldest file, if those before it were archived, or come from before
    /// anything was remembered of the log.
    pub begins_with: Option<u64>,
    /// What was done to the log on purpose, the oldest first.
    pub events: Vec<LogEvent>,
    /// How much is wrong that was accepted.
    pub accepted: u64,
    /// Whether it is remembered outside of the log how far it had come. Without that,
    /// a log whose end was cut off looks like one that ends there.
    pub has_head: bool,
    /// Records after the head: a process was stopped before it remembered them, or they
    /// were written while the log was looked at.
    pub after_head: u64,
    /// Records that were there before the machine was started anew, and were not after:
    /// lost when it stopped, or cut off in between.
    pub lost: u64,
    /// What is wrong; the first thousand if there is more.
    pub breaches: Vec<Breach>,
    /// How many more are wrong.
    pub more_breaches: u64,
}

impl LogReport {
    fn breach(&mut self, file: &Path, line: u64, how: impl Into<String>) {
        if self.breaches.len() >= MAX_BREACHES {
            self.more_breaches += 1;
            return;
        }
        self.breaches.push(Breach {
            file: file.to_owned(),
            line,
            how: how.into(),
        });
    }
}

#[derive(Deserialize)]
struct Link {
    writer: String,
    sequence: u64,
    previous: Option<Digest>,
}

/// Checks that each record of a home's log is where its writer put it, and as it was
/// written: by the records that came after it, and by the head that is remembered
/// outside of the log.
///
/// # Errors
///
/// [`Error::Home`] when a file cannot be read.
pub fn verify(home: &Home) -> Result<LogReport, Error> {
    verify_at(home, &SystemClock).map_err(failed)
}

pub(super) fn verify_at(home: &Home, clock: &dyn Clock) -> std::io::Result<LogReport> {
    let paths = Paths::of(home);
    let mut report = LogReport::default();
    let mut log = Snapshot::take(&paths, &mut report)?;
    report.files = log.files.len();
    report.events.clone_from(&log.ledger.events);
    report.begins_with = log.begins_with();
    let mut check = Check {
        chains: Chains {
            is_begun: report.begins_with.is_some(),
            ..Chains::default()
        },
        report,
        machine: MachineTime::of(clock.uptime()),
    };
    check.missing(&paths, &log);
    for file in std::mem::take(&mut log.files) {
        check.file(&log, file)?;
    }
    let mut report = check.report;
    report.writers = check.chains.begun;
    Ok(report)
}

/// The log and its heads, as they were at one moment.
struct Snapshot {
    paths: Paths,
    files: Vec<OpenFile>,
    remembered: Option<Remembered>,
    ledger: Ledger,
}

/// A file of the log.
struct OpenFile {
    path: PathBuf,
    /// Its number; `None` for one that nothing is remembered of.
    number: Option<u64>,
    /// The one that is being written, which may have another name by now.
    opened: Option<File>,
}

/// What is remembered of the log.
struct Remembered {
    file: HeadFile,
    key: Key,
    begin: Mark,
    head: Mark,
    settled: Option<Mark>,
}

impl Remembered {
    /// How a full file ended.
    fn closed(&self, number: u64) -> std::io::Result<Option<Position>> {
        self.file.closed(&self.key, &self.begin, number)
    }
}

impl Snapshot {
    /// Looks what there is while nobody writes.
    fn take(paths: &Paths, report: &mut LogReport) -> std::io::Result<Self> {
        let key = Key::read(&paths.key).map_err(|error| about(&paths.key, error))?;
        let heads = HeadFile::open_to_read(&paths.heads)?;
        let _held = heads.as_ref().map(HeadFile::lock).transpose()?;
        let ledger = Ledger::read(paths, key.as_ref())?;
        if !ledger.is_whole {
            report.breach(
                &Ledger::path(paths),
                0,
                "what is noted of archived files and accepted losses was changed",
            );
        }
        let remembered = match (key, heads) {
            (Some(key), Some(file)) => Self::remembered(paths, key, file, report)?,
            (Some(_), None) => {
                report.breach(
                    &paths.heads,
                    0,
                    "it is missing, so nothing tells how far the log had come",
                );
                None
            }
            (None, _) => None,
        };
        report.has_head = remembered.is_some();
        let current = match open_if_there(&paths.log) {
            Err(error) => return Err(about(&paths.log, error)),
            Ok(current) => current,
        };
        let present = current.as_ref().map(File::metadata).transpose()?;
        let length = present.map_or(0, |metadata| metadata.len());
        // A process may have been stopped after it gave the file its number.
        let number = remembered.as_ref().map(|known| known.head.at.file);
        let mut is_ended = false;
        let mut files = Vec::new();
        for LogFile { path, number: of } in log_files(&paths.log)? {
            let Some(of) = of else { continue };
            if Some(of) == number && length == 0 {
                is_ended = true;
            }
            files.push(OpenFile {
                path,
                number: Some(of),
                opened: None,
            });
        }
        if let Some(current) = current {
            files.push(OpenFile {
                path: paths.log.clone(),
                number: number.filter(|_| !is_ended),
                opened: Some(current),
            });
        }
        Ok(Snapshot {
            paths: paths.clone(),
            files,
            remembered,
            ledger,
        })
    }

    fn remembered(
        paths: &Paths,
        key: Key,
        file: HeadFile,
        report: &mut LogReport,
    ) -> std::io::Result<Option<Remembered>> {
        let begin = file.mark(&key, Kind::Begin)?;
        let head = file.mark(&key, Kind::Head)?;
        let (Some(begin), Some(head)) = (begin, head) else {
            report.breach(
                &paths.heads,
                0,
                "it was emptied or changed, so nothing tells how far the log had come",
            );
            return Ok(None);
        };
        if begin.count > 0 {
            report.breach(
                &paths.heads,
                0,
                "it was removed, emptied or changed once and begun anew, so nothing tells how far the log had come before",
            );
        }
        let settled = file.mark(&key, Kind::Settled)?;
        let lost = file.mark(&key, Kind::Lost)?;
        report.lost = lost.map_or(0, |lost| lost.count);
        if settled.is_none() || lost.is_none() || file.mark(&key, Kind::Settling)?.is_none() {
            report.breach(&paths.heads, 0, "a part of it was changed");
        }
        Ok(Some(Remembered {
            file,
            key,
            begin,
            head,
            settled,
        }))
    }

    /// The number of the oldest file, if those before it were put away.
    fn begins_with(&self) -> Option<u64> {
        let first = self.files.first()?.number?;
        let had_others = match &self.remembered {
            // The first of a log that was there before anything was remembered of it.
            Some(known) if first >= known.begin.at.file => first > known.begin.at.file,
            _ => first > 1,
        };
        had_others.then_some(first)
    }
}

/// A check that is under way.
struct Check {
    chains: Chains,
    report: LogReport,
    machine: MachineTime,
}

impl Check {
    /// Tells of files that are missing and were not archived.
    fn missing(&mut self, paths: &Paths, log: &Snapshot) {
        let present: BTreeSet<u64> = log.files.iter().filter_map(|file| file.number).collect();
        let head = log.remembered.as_ref().map(|known| known.head.at);
        let begin = log.remembered.as_ref().map(|known| known.begin.at.file);
        // What is from before anything was remembered of the log may have been put away.
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
            let how = match to == from {
                true => format!("file {from} is missing, and it was not archived"),
                false => {
                    format!("the files {from} to {to} are missing, and they were not archived")
                }
            };
            self.report.breach(&numbered(&paths.log, from), 0, how);
        }
        if let Some(head) = head
            && head.bytes > 0
            && !present.contains(&head.file)
        {
            let lines = head.lines;
            let how = format!("it is missing; {lines} records had been written up to its end");
            self.report.breach(&paths.log, 0, how);
        }
    }

    /// Checks one file: the chains within it, and what is remembered of it.
    fn file(&mut self, log: &Snapshot, file: OpenFile) -> std::io::Result<()> {
        let opened = match file.opened {
            Some(opened) => opened,
            None => open_to_read(&file.path).map_err(|error| about(&file.path, error))?,
        };
        let path = &file.path;
        let mut remembered = Expected::default();
        if let (Some(known), Some(number)) = (&log.remembered, file.number) {
            remembered = self.expected(known, number, path)?;
        }
        let Expected {
            mut begin,
            mut at,
            end,
            is_last,
        } = remembered;
        let is_accepted = |offset| {
            file.number
                .is_some_and(|number| log.ledger.is_accepted(number, offset))
        };
        let mut is_met = end.is_none_or(|end| end.bytes == 0 || at == Some(end));
        let mut lines = Lines::at(opened, 0)?;
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            let before = lines.offset();
            if begin.is_some_and(|begin| begin.bytes == before) {
                at = begin.take();
                is_met |= at == end;
            }
            let kind = lines.next(&mut line)?;
            if kind == LineKind::Rest {
                if !line.is_empty() || lines.is_within_a_long_line() {
                    self.report.unfinished += 1;
                }
                break;
            }
            number += 1;
            let digest = Digest::of(&line);
            let taken = match kind {
                LineKind::TooLong => Err(Broken::Chain("it is longer than any record".to_owned())),
                _ => self.chains.take(&line, digest),
            };
            match taken {
                Ok(()) => self.report.records += 1,
                Err(Broken::Unfinished) => self.report.unfinished += 1,
                Err(Broken::Chain(_)) if is_accepted(before) => self.report.accepted += 1,
                Err(Broken::Chain(how)) => self.report.breach(path, number, how),
            }
            let (Some(at), Some(end)) = (&mut at, &end) else {
                continue;
            };
            at.pass(digest, lines.offset() - before);
            match is_met {
                false if at.bytes == end.bytes => {
                    is_met = true;
                    if !at.agrees(end) {
                        self.report.breach(path, number, differs(at, end));
                    }
                }
                false if at.bytes > end.bytes => {
                    is_met = true;
                    let how = "it is not the line that had been written there";
                    self.report.breach(path, number, how);
                }
                true if is_last => self.report.after_head += 1,
                true => {
                    let how = "it was added after the file was full";
                    self.report.breach(path, number, how);
                }
                false => {}
            }
        }
        let length = lines.offset();
        if let (false, Some(end)) = (is_met, &end) {
            let at = at.unwrap_or(*end);
            self.cut(log, path, lines.file(), length, number, &at, end)?;
        }
        Ok(())
    }

    /// What is remembered of a file: where it begins and how it ended.
    fn expected(
        &mut self,
        known: &Remembered,
        number: u64,
        path: &Path,
    ) -> std::io::Result<Expected> {
        let (begin, head) = (&known.begin.at, &known.head.at);
        if number < begin.file {
            return Ok(Expected::default());
        }
        if number > head.file {
            let how = "it is none of the log's: it has no number that was given";
            self.report.breach(path, 0, how);
            return Ok(Expected::default());
        }
        let end = match number == head.file {
            true => Some(*head),
            false => known.closed(number)?,
        };
        if end.is_none() {
            let how = format!("what is remembered of the file {number} was changed");
            self.report.breach(path, 0, how);
        }
        if number == begin.file {
            return Ok(Expected {
                begin: Some(*begin),
                at: None,
                end,
                is_last: number == head.file,
            });
        }
        // Where the file before ended, this one begins; if that is not known, this one's
        // end says nothing.
        let at = known.closed(number - 1)?.map(|before| Position {
            file: number,
            bytes: 0,
            ..before
        });
        Ok(Expected {
            begin: None,
            end: end.filter(|_| at.is_some()),
            at,
            is_last: number == head.file,
        })
    }

    /// Tells of a file that ends before what is remembered of it.
    #[expect(clippy::too_many_arguments)]
    fn cut(
        &mut self,
        log: &Snapshot,
        path: &Path,
        file: &File,
        length: u64,
        line: u64,
        at: &Position,
        end: &Position,
    ) -> std::io::Result<()> {
        if let Some(known) = &log.remembered
            && known.head.machine.boot != self.machine.boot
            && known.head.at == *end
            && let Some(settled) = &known.settled
            && let Some(settled) =
                known
                    .file
                    .settled_in(&log.paths, &known.key, &known.begin, settled.at, end.file)?
            && let Some(found) = settled_part(&settled, end, Some(file), length)?
        {
            // The next record tells of it, too.
            self.report.lost += end.lines - found.lines;
            return Ok(());
        }
        self.report.breach(path, line, differs(at, end));
        Ok(())
    }
}

/// What is remembered of a file.
#[derive(Default)]
struct Expected {
    /// Where something begins to be remembered, if that is within it.
    begin: Option<Position>,
    /// What stands before its first line, if something is remembered from there on.
    at: Option<Position>,
    /// Its end, or the head.
    end: Option<Position>,
    /// Whether it is the one that is being written.
    is_last: bool,
}

fn differs(at: &Position, end: &Position) -> String {
    match end.lines.checked_sub(at.lines) {
        Some(0) => {
            "what is up to here is not what was written, although it fits together".to_owned()
        }
        Some(missing) => {
            format!("{missing} records are missing here or before, of those that had been written")
        }
        None => format!(
            "there are {} records too many here or before",
            at.lines - end.lines
        ),
    }
}

/// The chains seen so far.
#[derive(Default)]
struct Chains {
    /// Whether what comes first may be the rest of something older.
    is_begun: bool,
    /// The writers that wrote last, by the digests of their names.
    writers: HashMap<Digest, Chain>,
    /// How many chains began.
    begun: usize,
    /// Whether writers were forgotten.
    has_forgotten: bool,
    /// The digests of the last lines.
    lines: VecDeque<Digest>,
    /// How many lines there were.
    count: u64,
}

/// Where a writer's chain is.
struct Chain {
    sequence: u64,
    digest: Digest,
    /// The number of its last line among all.
    line: u64,
}

enum Broken {
    Unfinished,
    Chain(String),
}

impl Chains {
    fn take(&mut self, line: &[u8], digest: Digest) -> Result<(), Broken> {
        let link = serde_json::from_slice::<Link>(line);
        let is_first = self.count == 0;
        self.count += 1;
        let begins_after_one = match &link {
            Ok(Link {
                previous: Some(previous),
                ..
            }) => self.lines.contains(previous),
            _ => false,
        };
        if self.lines.len() >= LOOK_BACK_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(digest);
        let link = link.map_err(|error| match error.is_eof() {
            true => Broken::Unfinished,
            false => Broken::Chain("it is not a record".to_owned()),
        })?;
        let writer = Digest::of(link.writer.as_bytes());
        let chain = Chain {
            sequence: link.sequence,
            digest,
            line: self.count,
        };
        let before = self.writers.insert(writer, chain);
        if before.is_none() {
            self.begun += 1;
            self.forget();
        }
        let broken = |how: String| Err(Broken::Chain(how));
        match before {
            Some(before) if before.sequence + 1 != link.sequence => broken(format!(
                "record {} of the writer {} comes after its record {}",
                link.sequence,
                shown(&link.writer),
                before.sequence
            )),
            Some(before) if link.previous != Some(before.digest) => broken(format!(
                "the record before it of the writer {} was changed",
                shown(&link.writer)
            )),
            Some(_) => Ok(()),
            // What the first line looks back at was put away, and so were earlier records
            // of writers that went on.
            None if self.is_begun && (is_first || link.sequence > 1) => Ok(()),
            None if self.has_forgotten && link.sequence > 1 => Ok(()),
            None if link.sequence != 1 => broken(format!(
                "the writer {} begins with its record {}",
                shown(&link.writer),
                link.sequence
            )),
            None => match link.previous {
                None if is_first => Ok(()),
                Some(_) if begins_after_one => Ok(()),
                _ => broken("what came before it was changed or removed".to_owned()),
            },
        }
    }

    /// Lets those go that did not write for longest, once there are twice too many.
    fn forget(&mut self) {
        if self.writers.len() < 2 * KNOWN_WRITERS {
            return;
        }
        let mut newest: Vec<u64> = self.writers.values().map(|chain| chain.line).collect();
        let (_, oldest_kept, _) = newest.select_nth_unstable(KNOWN_WRITERS);
        let oldest_kept = *oldest_kept;
        self.writers.retain(|_, chain| chain.line >= oldest_kept);
        self.has_forgotten = true;
    }
}

/// The name of a writer; whatever is longer than ours is cut.
fn shown(writer: &str) -> String {
    let start = writer.chars().take(WRITER_CHARS);
    start.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(writer: u64, sequence: u64, previous: Option<Digest>) -> Vec<u8> {
        let previous = match previous {
            Some(digest) => format!("\"{digest}\""),
            None => "null".to_owned(),
        };
        format!("{{\"writer\":\"{writer:016x}\",\"sequence\":{sequence},\"previous\":{previous}}}")
            .into_bytes()
    }

    /// Takes a line that comes after one of the same writer, or after the last one.
    fn take(chains: &mut Chains, writer: u64, sequence: u64, after: Option<Digest>) -> Digest {
        let line = line(writer, sequence, after);
        let digest = Digest::of(&line);
        assert!(chains.take(&line, digest).is_ok(), "{writer} {sequence}");
        digest
    }

    #[test]
    fn of_any_number_of_writers_those_are_remembered_that_wrote_last() {
        let mut chains = Chains::default();
        let first = take(&mut chains, 0, 1, None);
        let mut last = first;
        let mut second = first;
        let writers = u64::try_from(3 * KNOWN_WRITERS).unwrap();
        for writer in 1..writers {
            last = take(&mut chains, writer, 1, Some(last));
            if writer == 1 {
                second = last;
            }
            assert!(chains.writers.len() < 2 * KNOWN_WRITERS);
        }
        assert!(chains.has_forgotten && chains.lines.len() == LOOK_BACK_LINES);
        // One that was forgotten goes on, and is held against what it said from then on.
        let next = take(&mut chains, 0, 2, Some(first));
        let wrong = line(0, 3, Some(first));
        assert!(chains.take(&wrong, Digest::of(&wrong)).is_err());
        // One that is remembered is held against its last line.
        let newest = writers - 1;
        let wrong = line(newest, 2, Some(next));
        assert!(chains.take(&wrong, Digest::of(&wrong)).is_err());
        // A beginning is held against the last lines.
        let wrong = line(writers, 1, Some(second));
        assert!(chains.take(&wrong, Digest::of(&wrong)).is_err());
    }

    #[test]
    fn so_many_breaches_are_told_one_by_one_and_the_rest_is_counted() {
        let mut report = LogReport::default();
        for line in 0..1_234 {
            report.breach(Path::new("log"), line, "it is not a record");
        }
        assert_eq!((report.breaches.len(), report.more_breaches), (1_000, 234));
    }
}
