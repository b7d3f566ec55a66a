//! What became of granted secrets: the second records of decisions, found beside them.
//!
//! The record of an opening follows its decision, with few records between them. It is
//! searched for among the next [`REACH`] lines, so memory does not grow with the log.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use serde::Deserialize;

use super::lines::LineKind;
use super::log_lines::LogLines;
use super::recorded_decision::RecordedDecision;
use super::recorded_opening::RecordedOpening;

/// How many lines after its decision an opening may be: those that all processes write
/// while one secret is opened, at ten thousand records a second, for more than a second.
const REACH: u64 = 16_384;

/// The longest record of an opening; other lines are not parsed.
const MAX_OPENING_BYTES: usize = 1024;

/// What such a record contains. Few others do, since text in JSON has no quotation marks.
const MARK: &[u8] = b",\"kind\":\"opening\",";

/// A record of an opening.
#[derive(Deserialize)]
struct OpeningLine<'a> {
    #[serde(borrow)]
    writer: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    of: u64,
    at_ms: u64,
    #[serde(borrow)]
    result: Cow<'a, str>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
}

/// The decision of an opening: its writer and sequence number.
type DecisionKey = (String, u64);

/// Whether a line is the record of an opening.
pub(crate) fn is_opening(line: &[u8]) -> bool {
    parse(line).is_some()
}

fn parse(line: &[u8]) -> Option<(DecisionKey, RecordedOpening)> {
    if line.len() > MAX_OPENING_BYTES || memchr::memmem::find(line, MARK).is_none() {
        return None;
    }
    let line: OpeningLine<'_> = serde_json::from_slice(line).ok()?;
    let at_ms = line.at_ms;
    let opening = match (line.kind.as_ref(), line.result.as_ref(), line.code) {
        ("opening", "opened", None) => RecordedOpening::Opened { at_ms },
        ("opening", "failed", Some(code)) => RecordedOpening::Failed {
            at_ms,
            code: code.into_owned(),
        },
        _ => return None,
    };
    Some(((line.writer.into_owned(), line.of), opening))
}

/// Openings among the lines that were read last.
#[derive(Default)]
pub(super) struct Openings {
    /// With the numbers of their lines.
    found: HashMap<DecisionKey, (u64, RecordedOpening)>,
    /// Their keys with the numbers of their lines, in the order of reading.
    order: VecDeque<(u64, DecisionKey)>,
}

impl Openings {
    /// Adds a line, if it is an opening. Returns whether it is.
    pub(super) fn add(&mut self, number: u64, line: &[u8]) -> bool {
        let Some((key, opening)) = parse(line) else {
            return false;
        };
        self.order.push_back((number, key.clone()));
        self.found.insert(key, (number, opening));
        true
    }

    /// Drops those of lines with a smaller number.
    pub(super) fn drop_before(&mut self, number: u64) {
        while let Some((line, key)) = self.order.pop_front_if(|(line, _)| *line < number) {
            // A forged log may have another one for the same decision.
            if self
                .found
                .get(&key)
                .is_some_and(|(found, _)| *found == line)
            {
                self.found.remove(&key);
            }
        }
    }

    /// Drops those that are too far from line `number` to belong to it.
    pub(super) fn drop_far_from(&mut self, number: u64) {
        self.drop_before(number.saturating_sub(REACH));
    }

    /// Tells a granted decision what became of its secret. Returns whether it is known.
    pub(super) fn complete(&mut self, record: &mut RecordedDecision) -> bool {
        if !record.is_granted() {
            return true;
        }
        let found = self.found.remove(&record.key());
        let is_known = found.is_some();
        record.set_opening(found.map_or(RecordedOpening::Unknown, |(_, opening)| opening));
        is_known
    }
}

/// Reads ahead of a reader of the log to find openings.
#[derive(Default)]
pub(super) struct LookAhead {
    /// The reader, and how many lines are before its position.
    lines: Option<(LogLines, u64)>,
    openings: Openings,
    line: Vec<u8>,
}

impl LookAhead {
    /// Tells a decision, which is the last of the `read` lines that `lines` has returned, what
    /// became of its secret. Returns whether it is known, or cannot become known.
    pub(super) fn complete(
        &mut self,
        record: &mut RecordedDecision,
        lines: &LogLines,
        read: u64,
    ) -> std::io::Result<bool> {
        self.openings.drop_before(read);
        if self.openings.complete(record) {
            return Ok(true);
        }
        let (mut ahead, mut position) = match self.lines.take() {
            Some((ahead, position)) if position >= read => (ahead, position),
            _ => (lines.fork()?, read),
        };
        let mut is_at_end = false;
        let mut is_known = false;
        while !is_known && !is_at_end && position - read < REACH {
            match ahead.next(&mut self.line)? {
                None => is_at_end = true,
                Some(kind) => {
                    position += 1;
                    is_known = kind == LineKind::Complete
                        && self.openings.add(position, &self.line)
                        && self.openings.complete(record);
                }
            }
        }
        self.lines = Some((ahead, position));
        Ok(is_known || !is_at_end)
    }
}
