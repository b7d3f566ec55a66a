//! Reading the decision log, and checking that nothing was changed in it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use entail_store::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::home::Home;
use crate::name::{ProviderId, ScopePath};

/// A longer line is none of ours: the facts of a chain of full scopes fit.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes looked at for the last line at first; twice as many each time after.
const LAST_BYTES: u64 = 8 * 1024;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its number; none for the one that is being written.
    pub number: Option<u64>,
}

/// A line of the log, as read.
#[derive(Clone, Debug)]
pub struct RecordedDecision {
    /// The line as JSON.
    pub json: Value,
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

impl RecordedDecision {
    fn text(&self, pointer: &str) -> &str {
        self.json
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn at_ms(&self) -> u64 {
        let at = self.json.get("at_ms").and_then(Value::as_u64);
        at.unwrap_or_default()
    }

    /// The scope that asked.
    pub fn scope(&self) -> &str {
        self.text("/scope")
    }

    /// For which provider.
    pub fn provider(&self) -> &str {
        self.text("/provider")
    }

    /// Who asked.
    pub fn principal(&self) -> &str {
        self.text("/principal")
    }

    /// What for: `lease` or `status`.
    pub fn purpose(&self) -> &str {
        self.text("/purpose")
    }

    /// What came of it: `granted`, a refusal's code, or `failed`.
    pub fn outcome(&self) -> &str {
        if self.json.pointer("/decision/granted").is_some() {
            return "granted";
        }
        match self.text("/decision/refused/code") {
            "" => "failed",
            code => code,
        }
    }

    /// The granted credential: its holder, name and version.
    pub fn granted(&self) -> Option<(&str, &str, u64)> {
        let granted = self.json.get("granted")?;
        Some((
            granted.get("holder")?.as_str()?,
            granted.get("credential")?.as_str()?,
            granted.get("version")?.as_u64()?,
        ))
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.json.get("failure")?.as_str()
    }
}

impl Filter {
    /// Whether a line is wanted.
    pub fn fits(&self, record: &RecordedDecision) -> bool {
        let outcome = |wanted: &OutcomeFilter| match (wanted, record.outcome()) {
            (OutcomeFilter::Granted, outcome) => outcome == "granted",
            (OutcomeFilter::Failed, outcome) => outcome == "failed",
            (OutcomeFilter::Refused, outcome) => !matches!(outcome, "granted" | "failed"),
            (OutcomeFilter::Code(code), outcome) => code == outcome,
        };
        let request = RecordedRequest {
            scope: record.scope(),
            provider: record.provider(),
            principal: record.principal(),
            at_ms: record.at_ms(),
        };
        self.fits_request(&request) && self.outcome.as_ref().is_none_or(outcome)
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

/// The files of a log that are there, oldest first, the one being written last.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn log_files(current: &Path) -> std::io::Result<Vec<LogFile>> {
    let folder = current.parent().unwrap_or(Path::new("."));
    let stem = current.file_stem().unwrap_or_default().to_string_lossy();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .strip_prefix(&*stem)
            .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".jsonl"))
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            let number = Some(number);
            files.push(LogFile { path, number });
        }
    }
    files.sort_by_key(|file| file.number);
    // What is no regular file cannot be read back.
    if current.is_file() {
        files.push(LogFile {
            path: current.to_owned(),
            number: None,
        });
    }
    Ok(files)
}

/// The last whole line of a file, without its newline.
pub(super) fn last_line(file: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    let mut span = LAST_BYTES;
    loop {
        let start = length.saturating_sub(span);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.by_ref().take(length - start).read_to_end(&mut bytes)?;
        // What comes after the last newline is not a whole line.
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = end.and_then(|end| bytes.get(..end)).unwrap_or_default();
        let begin = whole.iter().rposition(|byte| *byte == b'\n');
        match begin {
            Some(begin) => return Ok(whole.get(begin + 1..).map(<[u8]>::to_vec)),
            None if start == 0 => return Ok(end.map(|_| whole.to_vec())),
            None => span = span.saturating_mul(2),
        }
    }
}

/// The lines of a file, each with its number, from 1; those that are too long are
/// none.
fn lines(
    file: &LogFile,
) -> std::io::Result<impl Iterator<Item = std::io::Result<(u64, Option<Vec<u8>>)>>> {
    let mut reader = BufReader::new(File::open(&file.path)?);
    let mut number = 0;
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader.by_ref().take(limit).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        number += 1;
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        Some(Ok((number, whole.then_some(line))))
    }))
}

/// The lines of a home's log that `filter` fits, oldest first. What is no record is
/// left out; [`verify`] tells of it.
///
/// # Errors
///
/// When a file cannot be read.
pub fn records(home: &Home, filter: &Filter) -> Result<Vec<RecordedDecision>, Error> {
    let mut found = Vec::new();
    each_record(home, filter, |record| found.push(record))?;
    Ok(found)
}

/// How many lines of a home's log `filter` fits.
///
/// # Errors
///
/// When a file cannot be read.
pub fn count_records(home: &Home, filter: &Filter) -> Result<usize, Error> {
    let mut count = 0;
    each_record(home, filter, |_| count += 1)?;
    Ok(count)
}

fn each_record(
    home: &Home,
    filter: &Filter,
    mut found: impl FnMut(RecordedDecision),
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    for file in log_files(&home.decision_log()).map_err(failed)? {
        for line in lines(&file).map_err(failed)? {
            let (_, line) = line.map_err(failed)?;
            let json = line.and_then(|line| serde_json::from_slice(&line).ok());
            let record = json.map(|json| RecordedDecision { json });
            if let Some(record) = record.filter(|record| filter.fits(record)) {
                found(record);
            }
        }
    }
    Ok(())
}

/// What is wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
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
    /// Chains that they form.
    pub writers: usize,
    /// Lines that were never finished: the disk was full, or the power went. Nothing
    /// was revealed on their account.
    pub unfinished: u64,
    /// The number of the oldest file, if those before it were put away.
    pub begins_with: Option<u64>,
    /// What is wrong.
    pub breaches: Vec<Breach>,
}

#[derive(Deserialize)]
struct Link {
    writer: String,
    sequence: u64,
    previous: Option<Digest>,
}

/// Checks that each record of a home's log is where its writer put it, and as it was
/// written, as far as later ones bear it out.
///
/// # Errors
///
/// When a file cannot be read.
pub fn verify(home: &Home) -> Result<LogReport, Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    let files = log_files(&home.decision_log()).map_err(failed)?;
    // Older files may have been put away.
    let begins_with = files
        .first()
        .and_then(|file| file.number)
        .filter(|number| *number > 1);
    let mut chains = Chains {
        is_begun: begins_with.is_some(),
        ..Chains::default()
    };
    let mut report = LogReport {
        files: files.len(),
        begins_with,
        ..LogReport::default()
    };
    let mut expected = None;
    for file in &files {
        if let (Some(number), Some(wanted)) = (file.number, expected)
            && number != wanted
        {
            report.breaches.push(Breach {
                file: file.path.clone(),
                line: 0,
                how: format!("file {wanted} is missing before it"),
            });
        }
        expected = file.number.map(|number| number + 1);
        for line in lines(file).map_err(failed)? {
            let (number, line) = line.map_err(failed)?;
            match line.map(|line| chains.take(&line)) {
                Some(Ok(())) => report.records += 1,
                None | Some(Err(Broken::Unfinished)) => report.unfinished += 1,
                Some(Err(Broken::Chain(how))) => report.breaches.push(Breach {
                    file: file.path.clone(),
                    line: number,
                    how,
                }),
            }
        }
    }
    report.writers = chains.writers.len();
    Ok(report)
}

/// The chains seen so far.
#[derive(Default)]
struct Chains {
    /// Whether what comes first may be the rest of something older.
    is_begun: bool,
    writers: HashMap<String, (u64, Digest)>,
    lines: HashSet<Digest>,
}

enum Broken {
    Unfinished,
    Chain(String),
}

impl Chains {
    fn take(&mut self, line: &[u8]) -> Result<(), Broken> {
        let link: Link = serde_json::from_slice(line).map_err(|error| {
            if error.is_eof() {
                Broken::Unfinished
            } else {
                Broken::Chain("it is not a record".to_owned())
            }
        })?;
        let before = self.writers.get(&link.writer).copied();
        let digest = Digest::of(line);
        let place = (link.sequence, digest);
        self.writers.insert(link.writer.clone(), place);
        let is_first = self.lines.is_empty();
        self.lines.insert(digest);
        let broken = |how: String| Err(Broken::Chain(how));
        match before {
            Some((sequence, _)) if sequence + 1 != link.sequence => broken(format!(
                "record {} of the writer {} comes after its record {sequence}",
                link.sequence, link.writer
            )),
            Some((_, digest)) if link.previous != Some(digest) => broken(format!(
                "the record before it of the writer {} was changed",
                link.writer
            )),
            Some(_) => Ok(()),
            // What the first line looks back at was put away, and so were earlier records
            // of writers that went on.
            None if self.is_begun && (is_first || link.sequence > 1) => Ok(()),
            None if link.sequence != 1 => broken(format!(
                "the writer {} begins with its record {}",
                link.writer, link.sequence
            )),
            None => match link.previous {
                None if is_first => Ok(()),
                Some(previous) if self.lines.contains(&previous) => Ok(()),
                _ => broken("what came before it was changed or removed".to_owned()),
            },
        }
    }
}
