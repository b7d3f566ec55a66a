//! Reading the decision log: all decisions, the last ones, and those written meanwhile, each
//! with what became of a granted secret.
//!
//! One line is in memory at a time, regardless of the size of the log.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::files::{file_id, log_error, log_files, open_if_exists, open_to_read, with_path};
use super::filter::Filter;
use super::lines::{LineKind, MAX_LINE_BYTES, Newlines};
use super::log_lines::{LogLines, is_gone};
use super::opening::{LookAhead, Openings};
use super::principals::PrincipalNames;
use super::recorded_decision::RecordedDecision;
use crate::error::Error;
use crate::home::Home;

/// The decisions that match a filter, oldest first, read on demand. After `None` it can be
/// called again, and continues with those recorded since.
pub struct Records {
    lines: LogLines,
    /// How many lines were read.
    read: u64,
    ahead: LookAhead,
    names: PrincipalNames,
    filter: Filter,
    line: Vec<u8>,
    skipped_probes: usize,
    is_following: bool,
    /// A grant that waits for its opening.
    held: Option<RecordedDecision>,
}

impl Records {
    fn new(lines: LogLines, names: PrincipalNames, filter: &Filter) -> Self {
        Records {
            lines,
            read: 0,
            ahead: LookAhead::default(),
            names,
            filter: filter.clone(),
            line: Vec::new(),
            skipped_probes: 0,
            is_following: false,
            held: None,
        }
    }

    /// For a caller that reads a log while it is written: a grant with an opening that is not
    /// recorded yet is returned by the next call after `None`, with its opening if that is
    /// recorded by then.
    #[must_use]
    pub fn following(mut self) -> Self {
        self.is_following = true;
        self
    }

    /// How many probes were skipped so far ([`Filter::without_probes`]).
    pub fn skipped_probes(&self) -> usize {
        self.skipped_probes
    }

    /// The next decision that matches; `None` at the end.
    fn next_record(&mut self) -> std::io::Result<Option<RecordedDecision>> {
        loop {
            let held = self.held.take();
            let was_held = held.is_some();
            let mut record = if let Some(held) = held {
                held
            } else {
                match self.lines.next(&mut self.line)? {
                    None => {
                        // A name may be erased while this waits for more.
                        self.names.refresh();
                        return Ok(None);
                    }
                    Some(kind) => {
                        self.read += 1;
                        if kind != LineKind::Complete {
                            continue;
                        }
                    }
                }
                match self.filter.parse(&self.line, &mut self.names) {
                    Some(record) => record,
                    None => continue,
                }
            };
            let is_final = self.ahead.complete(&mut record, &self.lines, self.read)?;
            if self.is_following && !is_final && !was_held {
                self.held = Some(record);
                return Ok(None);
            }
            if !self.filter.matches_outcome(&record) {
                continue;
            }
            if self.filter.excludes_probe(&record) {
                self.skipped_probes += 1;
                continue;
            }
            return Ok(Some(record));
        }
    }
}

impl Iterator for Records {
    type Item = Result<RecordedDecision, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().map_err(log_error).transpose()
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// The decisions in a home's log that match `filter`, oldest first. Skips lines that are not
/// records; [`verify`] reports them. Each record may fail with [`Error::Home`].
///
/// [`verify`]: super::verify()
pub fn records(home: &Home, filter: &Filter) -> Records {
    let names = PrincipalNames::read(home);
    Records::new(LogLines::all(home.decision_log()), names, filter)
}

/// The last `count` matching decisions, oldest first. Reads the log backwards, no further
/// than to the first of them.
///
/// # Errors
///
/// [`Error::Home`] if a file cannot be read; each record may also fail with it.
pub fn last_records(home: &Home, filter: &Filter, count: usize) -> Result<Records, Error> {
    let mut names = PrincipalNames::read(home);
    let lines = start_of_last(home, &mut names, filter, count).map_err(log_error)?;
    Ok(Records::new(lines, names, filter))
}

/// Positions the lines at the first of the last `count` matching records.
fn start_of_last(
    home: &Home,
    names: &mut PrincipalNames,
    filter: &Filter,
    count: usize,
) -> std::io::Result<LogLines> {
    let current = home.decision_log();
    // Open it before listing the others: then it is the newest, even if it is rotated.
    let newest = open_if_exists(&current).map_err(|error| with_path(&current, error))?;
    let own = newest.as_ref().map(File::metadata).transpose()?;
    let mut files = log_files(&current)?;
    files.retain(|file| {
        let is_own = |found: std::fs::Metadata| own.as_ref().map(file_id) == Some(file_id(&found));
        file.number.is_some() && !std::fs::metadata(&file.path).is_ok_and(is_own)
    });
    let mut wanted = count;
    let mut older = files.iter().rev();
    let mut next = newest.map(|file| (file, None));
    let mut oldest = None;
    let mut backwards = Backwards {
        read: 0,
        openings: Openings::default(),
        names,
    };
    loop {
        let (file, number) = match next.take() {
            Some(next) => next,
            None => match older.next() {
                None => break,
                Some(older) => match open_to_read(&older.path) {
                    // It was archived since it was listed.
                    Err(error) if is_gone(&error, &older.path) => continue,
                    opened => (
                        opened.map_err(|error| with_path(&older.path, error))?,
                        older.number,
                    ),
                },
            },
        };
        let length = file.metadata()?.len();
        if let Some(offset) = backwards.search(&file, length, filter, &mut wanted)? {
            return Ok(LogLines::from(current, file, number, offset));
        }
        oldest = Some((file, number));
    }
    match oldest {
        Some((file, number)) => Ok(LogLines::from(current, file, number, 0)),
        None => Ok(LogLines::all(current)),
    }
}

/// A search from the end of the log.
struct Backwards<'a> {
    /// How many lines were read.
    read: u64,
    openings: Openings,
    names: &'a mut PrincipalNames,
}

impl Backwards<'_> {
    /// Searches the next older file for `wanted` matching decisions. Returns the offset of the
    /// first of them, or the end of the last line if `wanted` is 0; `None` if there are fewer,
    /// and counts those that were found off `wanted`.
    fn search(
        &mut self,
        file: &File,
        length: u64,
        filter: &Filter,
        wanted: &mut usize,
    ) -> std::io::Result<Option<u64>> {
        let mut newlines = Newlines::before(file, length);
        let Some(mut end) = newlines.previous(0)? else {
            // The file has no complete line.
            return Ok((*wanted == 0).then_some(0));
        };
        if *wanted == 0 {
            return Ok(Some(end + 1));
        }
        let mut line = Vec::new();
        loop {
            let before = newlines.previous(0)?;
            let begin = before.map_or(0, |before| before + 1);
            let size = usize::try_from(end - begin).unwrap_or(usize::MAX);
            self.read += 1;
            if size <= MAX_LINE_BYTES {
                line.resize(size, 0);
                file.read_exact_at(&mut line, begin)?;
                if self.matches(&line, filter) {
                    *wanted -= 1;
                    if *wanted == 0 {
                        return Ok(Some(begin));
                    }
                }
            }
            match before {
                Some(before) => end = before,
                None => return Ok(None),
            }
        }
    }

    fn matches(&mut self, line: &[u8], filter: &Filter) -> bool {
        self.openings.drop_far_from(self.read);
        if self.openings.add(self.read, line) {
            return false;
        }
        let Some(mut record) = filter.parse(line, self.names) else {
            return false;
        };
        self.openings.complete(&mut record);
        filter.matches_outcome(&record) && !filter.excludes_probe(&record)
    }
}

/// How many decisions in a home's log match `filter`.
///
/// # Errors
///
/// As [`last_records`].
pub fn count_records(home: &Home, filter: &Filter) -> Result<usize, Error> {
    let mut count = 0;
    for record in records(home, filter) {
        record?;
        count += 1;
    }
    Ok(count)
}
