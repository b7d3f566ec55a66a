//! Reading the decision log: all of it, its end, and what is written meanwhile.
//!
//! Whatever the size of the log, one line of it is in memory at a time.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::files::{LogFile, about, id_of, log_files, open_if_there, open_to_read};
use super::lines::{LineKind, Lines, MAX_LINE_BYTES, Newlines};
use crate::error::Error;
use crate::home::Home;
use entail_decision::name::{ProviderId, ScopePath};

/// A line of the log, as read.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    json: String,
    at_ms: u64,
    scope: String,
    provider: String,
    principal: String,
    purpose: String,
    /// The code of a refusal; `None` for anything else.
    refused: Option<String>,
    is_granted: bool,
    granted: Option<(String, String, u64)>,
    failure: Option<String>,
}

/// Which lines are wanted: those that all of it fits.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This scope, and all below.
    pub scope: Option<ScopePath>,
    /// This provider.
    pub provider: Option<ProviderId>,
    /// This principal.
    pub principal: Option<String>,
    /// What came of it.
    pub outcome: Option<OutcomeFilter>,
    /// At or after this time, in milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Without the looks at what would be granted ([`RecordedDecision::is_look`]).
    pub without_looks: bool,
}

/// What a line tells of a request.
pub(crate) struct RecordedRequest<'a> {
    pub(crate) scope: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) principal: &'a str,
    pub(crate) at_ms: u64,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// A credential was granted.
    Granted,
    /// It was refused.
    Refused,
    /// The policy failed, or the guard stopped it.
    Failed,
    /// It was refused with this code.
    Code(String),
}

impl From<&str> for OutcomeFilter {
    fn from(text: &str) -> Self {
        match text {
            "granted" => OutcomeFilter::Granted,
            "refused" => OutcomeFilter::Refused,
            "failed" => OutcomeFilter::Failed,
            code => OutcomeFilter::Code(code.to_owned()),
        }
    }
}

/// A record, as far as it is shown; what else stands in it is passed over.
#[derive(Deserialize)]
struct Shown<'a> {
    at_ms: u64,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    provider: Cow<'a, str>,
    #[serde(borrow)]
    principal: Cow<'a, str>,
    #[serde(borrow)]
    purpose: Cow<'a, str>,
    #[serde(borrow, default)]
    decision: Option<ShownDecision<'a>>,
    #[serde(borrow, default)]
    granted: Option<ShownGrant<'a>>,
    #[serde(borrow, default)]
    failure: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ShownDecision<'a> {
    #[serde(borrow, default)]
    granted: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refused: Option<ShownRefusal<'a>>,
}

#[derive(Deserialize)]
struct ShownRefusal<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ShownGrant<'a> {
    #[serde(borrow)]
    holder: Cow<'a, str>,
    #[serde(borrow)]
    credential: Cow<'a, str>,
    version: u64,
}

impl RecordedDecision {
    /// Reads a line; `None` if it is no record that `filter` fits.
    fn read(line: &[u8], filter: &Filter) -> Option<Self> {
        // What is written has no blanks between its values.
        if line.iter().any(|byte| *byte < b' ') {
            return None;
        }
        let json = std::str::from_utf8(line).ok()?;
        let shown: Shown<'_> = serde_json::from_str(json).ok()?;
        let request = RecordedRequest {
            scope: &shown.scope,
            provider: &shown.provider,
            principal: &shown.principal,
            at_ms: shown.at_ms,
        };
        if !filter.fits_request(&request) {
            return None;
        }
        let (is_granted, refused) = match shown.decision {
            Some(decision) => (
                decision.granted.is_some(),
                decision.refused.map(|refused| refused.code.into_owned()),
            ),
            None => (false, None),
        };
        let record = RecordedDecision {
            json: json.to_owned(),
            at_ms: shown.at_ms,
            scope: shown.scope.into_owned(),
            provider: shown.provider.into_owned(),
            principal: shown.principal.into_owned(),
            purpose: shown.purpose.into_owned(),
            refused,
            is_granted,
            granted: shown.granted.map(|granted| {
                let holder = granted.holder.into_owned();
                (holder, granted.credential.into_owned(), granted.version)
            }),
            failure: shown.failure.map(Cow::into_owned),
        };
        filter.fits_outcome(&record).then_some(record)
    }

    /// The line, which is one JSON object.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The line as a value.
    pub fn to_value(&self) -> Value {
        // It was read before.
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The scope that asked.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// For which provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Who asked.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// What for: `lease` or `status`.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// Whether somebody only looked what would be granted, and nothing failed: nothing was
    /// handed out.
    pub fn is_look(&self) -> bool {
        self.purpose == "status" && self.outcome() != "failed"
    }

    /// What came of it: `granted`, `refused` or `failed`.
    pub fn outcome(&self) -> &'static str {
        match &self.refused {
            _ if self.is_granted => "granted",
            Some(_) => "refused",
            None => "failed",
        }
    }

    /// The code of the refusal, if it is one: a policy's own, as the log has it.
    pub fn refusal(&self) -> Option<&str> {
        self.refused.as_deref().filter(|_| !self.is_granted)
    }

    /// The granted credential: its holder, name and version.
    pub fn granted(&self) -> Option<(&str, &str, u64)> {
        let (holder, credential, version) = self.granted.as_ref()?;
        Some((holder, credential, *version))
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl Filter {
    /// Whether a line that it fits is left out for being a look.
    fn leaves_out(&self, record: &RecordedDecision) -> bool {
        self.without_looks && record.is_look()
    }

    /// Whether a line is wanted for what came of it.
    fn fits_outcome(&self, record: &RecordedDecision) -> bool {
        let failed = !record.is_granted && record.refused.is_none();
        match &self.outcome {
            None => true,
            Some(OutcomeFilter::Granted) => record.is_granted,
            Some(OutcomeFilter::Failed) => failed,
            Some(OutcomeFilter::Refused) => !record.is_granted && !failed,
            Some(OutcomeFilter::Code(code)) => {
                !record.is_granted && record.refused.as_ref() == Some(code)
            }
        }
    }

    /// Whether a line is wanted for what was asked, whatever came of it.
    pub(crate) fn fits_request(&self, request: &RecordedRequest<'_>) -> bool {
        let is = |wanted: &str, found| wanted == found;
        self.scope.as_ref().is_none_or(|s| s.covers(request.scope))
            && (self.provider.as_ref()).is_none_or(|p| is(p.as_str(), request.provider))
            && (self.principal.as_ref()).is_none_or(|p| is(p, request.principal))
            && self.since_ms.is_none_or(|since| request.at_ms >= since)
            && self.until_ms.is_none_or(|until| request.at_ms < until)
    }
}

/// The lines of a log, oldest first, one file after the other. At the end it stays where
/// it is, and goes on with what is written meanwhile, also in the next file.
pub(crate) struct LogLines {
    current: PathBuf,
    /// What is being read; `None` before the first file.
    reading: Option<(Lines<File>, Option<u64>)>,
}

impl LogLines {
    /// All lines that there are of the log whose present file is `current`.
    pub(crate) fn all(current: PathBuf) -> Self {
        LogLines {
            current,
            reading: None,
        }
    }

    /// Those of `file`, and what comes after, from `offset` on.
    fn from(home: &Home, file: File, number: Option<u64>, offset: u64) -> std::io::Result<Self> {
        Ok(LogLines {
            current: home.decision_log(),
            reading: Some((Lines::at(file, offset)?, number)),
        })
    }

    /// Reads the next line into `line`; `None` when there is none yet. What was not
    /// finished before a file ended is left out.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<Option<LineKind>> {
        loop {
            if let Some((lines, number)) = &mut self.reading {
                let kind = lines.next_whole(line)?;
                if kind != LineKind::Rest {
                    return Ok(Some(kind));
                }
                if number.is_none() && !self.was_ended()? {
                    return Ok(None);
                }
                // Whatever was written to it between the end and the next file.
                if let Some((lines, _)) = &mut self.reading {
                    match lines.next_whole(line)? {
                        LineKind::Rest => {}
                        kind => return Ok(Some(kind)),
                    }
                }
            }
            if !self.next_file()? {
                return Ok(None);
            }
        }
    }

    /// Whether the file that is being read is no longer the one that is written.
    fn was_ended(&mut self) -> std::io::Result<bool> {
        let Some((lines, _)) = &mut self.reading else {
            return Ok(true);
        };
        let own = lines.file().metadata()?;
        if own.len() < lines.offset() {
            // It was emptied; what is written from now on is read from its beginning.
            *lines = Lines::at(lines.file().try_clone()?, 0)?;
        }
        match std::fs::metadata(&self.current) {
            Ok(present) => Ok(id_of(&present) != id_of(&own)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(about(&self.current, error)),
        }
    }

    /// Goes to the file after the one that was read. Answers whether there is one.
    fn next_file(&mut self) -> std::io::Result<bool> {
        loop {
            let files = log_files(&self.current)?;
            let after = self.number_read(&files)?;
            let next = files.iter().find(|file| match (after, file.number) {
                (None, _) | (_, None) => true,
                (Some(after), Some(number)) => number > after,
            });
            let Some(next) = next else {
                return Ok(false);
            };
            let failed = |error| about(&next.path, error);
            let file = match open_to_read(&next.path) {
                // It was put away, or has its number now.
                Err(error) if is_gone(&error, &next.path) => continue,
                opened => opened.map_err(failed)?,
            };
            if next.number.is_none() && is_full_now(&file, &self.current, &files)? {
                continue;
            }
            self.reading = Some((Lines::at(file, 0).map_err(failed)?, next.number));
            return Ok(true);
        }
    }

    /// The number of the file that was read last. One that was being written has one
    /// now, unless it was put away: then all that have one come before it.
    fn number_read(&self, files: &[LogFile]) -> std::io::Result<Option<u64>> {
        let lines = match &self.reading {
            None => return Ok(None),
            Some((_, Some(number))) => return Ok(Some(*number)),
            Some((lines, None)) => lines,
        };
        let own = id_of(&lines.file().metadata()?);
        let numbered = files.iter().rev().filter(|file| file.number.is_some());
        for file in numbered {
            if std::fs::metadata(&file.path).is_ok_and(|found| id_of(&found) == own) {
                return Ok(file.number);
            }
        }
        Ok(Some(u64::MAX))
    }
}

/// Whether a file that could not be opened is no longer there; a link that leads
/// nowhere is.
fn is_gone(error: &std::io::Error, path: &Path) -> bool {
    error.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err()
}

/// Whether other files got numbers since `files` were listed, of which one could be
/// what was opened under the name of the present one, or come before it.
fn is_full_now(opened: &File, current: &Path, files: &[LogFile]) -> std::io::Result<bool> {
    let present = std::fs::metadata(current).map(|found| id_of(&found)).ok();
    let same = present == Some(id_of(&opened.metadata()?));
    let newest = |files: &[LogFile]| files.iter().filter_map(|file| file.number).max();
    Ok(!same || newest(&log_files(current)?) != newest(files))
}

/// The lines of a log that a filter fits, oldest first, read as they are asked for.
/// After the last one it can be asked again, and goes on with those that were written
/// meanwhile.
pub struct Records {
    lines: LogLines,
    filter: Filter,
    line: Vec<u8>,
    left_out: usize,
}

impl Records {
    /// How many looks were left out so far ([`Filter::without_looks`]).
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

impl Iterator for Records {
    type Item = Result<RecordedDecision, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next(&mut self.line) {
                Ok(None) => return None,
                Ok(Some(LineKind::Whole)) => {
                    match RecordedDecision::read(&self.line, &self.filter) {
                        Some(look) if self.filter.leaves_out(&look) => self.left_out += 1,
                        Some(record) => return Some(Ok(record)),
                        None => {}
                    }
                }
                Ok(Some(_)) => {}
                Err(error) => return Some(Err(failed(error))),
            }
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

pub(super) fn failed(error: std::io::Error) -> Error {
    Error::Home(format!("the decision log: {error}"))
}

/// The lines of a home's log that `filter` fits, oldest first. What is no record is
/// left out; [`verify`] tells of it.
///
/// # Errors
///
/// [`Error::Home`] when a file cannot be read; each line may fail with it, too.
///
/// [`verify`]: super::verify()
pub fn records(home: &Home, filter: &Filter) -> Result<Records, Error> {
    Ok(Records {
        lines: LogLines::all(home.decision_log()),
        filter: filter.clone(),
        line: Vec::new(),
        left_out: 0,
    })
}

/// The last `count` of those lines, oldest first. The log is read from its end, and no
/// further back than to the first of them.
///
/// # Errors
///
/// As [`records`].
pub fn last_records(home: &Home, filter: &Filter, count: usize) -> Result<Records, Error> {
    let lines = begin_of_last(home, filter, count).map_err(failed)?;
    Ok(Records {
        lines,
        filter: filter.clone(),
        line: Vec::new(),
        left_out: 0,
    })
}

/// Looks back for where the last `count` lines begin that `filter` fits.
fn begin_of_last(home: &Home, filter: &Filter, count: usize) -> std::io::Result<LogLines> {
    let current = home.decision_log();
    // Opened before the others are listed, it is the newest, whatever its name is then.
    let newest = open_if_there(&current).map_err(|error| about(&current, error))?;
    let own = newest.as_ref().map(File::metadata).transpose()?;
    let mut files = log_files(&current)?;
    files.retain(|file| {
        let is_own = |found: std::fs::Metadata| own.as_ref().map(id_of) == Some(id_of(&found));
        file.number.is_some() && !std::fs::metadata(&file.path).is_ok_and(is_own)
    });
    let mut wanted = count;
    let mut older = files.iter().rev();
    let mut looking = newest.map(|file| (file, None));
    let mut oldest = None;
    loop {
        let (file, number) = match looking.take() {
            Some(looking) => looking,
            None => match older.next() {
                None => break,
                Some(older) => {
                    let opened = open_to_read(&older.path);
                    match opened {
                        // It was put away meanwhile.
                        Err(error) if is_gone(&error, &older.path) => continue,
                        opened => (
                            opened.map_err(|error| about(&older.path, error))?,
                            older.number,
                        ),
                    }
                }
            },
        };
        let length = file.metadata()?.len();
        if let Some(offset) = look_back(&file, length, filter, &mut wanted)? {
            return LogLines::from(home, file, number, offset);
        }
        oldest = Some((file, number));
    }
    match oldest {
        Some((file, number)) => LogLines::from(home, file, number, 0),
        None => Ok(LogLines::all(home.decision_log())),
    }
}

/// Looks back in one file until `wanted` lines were found that `filter` fits; answers
/// with where the first of them begins, or where lines end if none was wanted.
fn look_back(
    file: &File,
    length: u64,
    filter: &Filter,
    wanted: &mut usize,
) -> std::io::Result<Option<u64>> {
    let mut newlines = Newlines::before(file, length);
    let Some(mut end) = newlines.previous(0)? else {
        // It has no line; where a first one begins is its beginning.
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
        if size <= MAX_LINE_BYTES {
            line.resize(size, 0);
            std::os::unix::fs::FileExt::read_exact_at(file, &mut line, begin)?;
            let found = RecordedDecision::read(&line, filter);
            if found.is_some_and(|record| !filter.leaves_out(&record)) {
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

/// How many lines of a home's log `filter` fits.
///
/// # Errors
///
/// As [`records`].
pub fn count_records(home: &Home, filter: &Filter) -> Result<usize, Error> {
    let mut count = 0;
    for record in records(home, filter)? {
        record?;
        count += 1;
    }
    Ok(count)
}
