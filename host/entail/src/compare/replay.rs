//! Deciding again what was decided: what another policy would have answered.
//!
//! A record of the decision log holds the facts of its decision, so a policy that
//! was never in service can be asked the very same questions. The answers on record
//! are those of the policies that were in service then, the guard's verdict included.
//! A record of a policy that failed is a failure, also where it was because too much
//! was to do just then.
//!
//! All processors work on it. The log is read in batches, each line is parsed once,
//! and what is kept of it are counts and the changes grouped, so the memory it takes
//! does not grow with the log, nor with what stands in it.
//!
//! # Security
//!
//! The log is believed; whether it is what was written is for [`verify_log`] to say.
//! A line that is no record is counted and passed over.
//!
//! [`verify_log`]: crate::verify_log

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use entail_policy::{Code, Facts, Grant, Policy};
use serde::{Deserialize, Serialize};

use crate::audit::{Filter, LineKind, LogLines, OutcomeFilter, RecordedRequest};
use crate::compare::decision::{Answer, Counts, Difference};
use crate::error::Error;
use crate::home::Home;

/// Bytes read at a time: some hundred records, so that the reader is seldom waited
/// for.
const BATCH_BYTES: usize = 256 * 1024;

/// The most groups of changes that are kept; far more than a person reads.
const MAX_GROUPS: usize = 10_000;

/// The most bytes of text in them, on each processor: a thousand for each group is far
/// more than names are long.
const MAX_GROUP_BYTES: usize = 10 * 1024 * 1024;

/// What deciding again came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replay {
    /// How the records that were decided again compare.
    pub counts: Counts,
    /// The changes, those that widen first, then those that come most often.
    pub changes: Vec<ReplayedChange>,
    /// Records that changed and fit into no group, because there are too many.
    pub ungrouped: u64,
    /// Lines that are no records.
    pub unreadable: u64,
}

/// Records that changed alike.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedChange {
    /// The scope that asked.
    pub scope: String,
    /// For which provider.
    pub provider: String,
    /// What differs.
    pub difference: Difference,
    /// The answer on record.
    pub from: Answer,
    /// The answer now.
    pub to: Answer,
    /// How many records.
    pub times: u64,
    /// The earliest of them.
    pub example: RecordPlace,
}

/// Where a record stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RecordPlace {
    /// When it was decided, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who wrote it.
    pub writer: String,
    /// Its number among that writer's.
    pub sequence: u64,
}

/// A line, as far as it matters here; what else stands in it is passed over.
#[derive(Deserialize)]
struct Recorded<'a> {
    #[serde(borrow)]
    writer: Cow<'a, str>,
    sequence: u64,
    at_ms: u64,
    #[serde(borrow)]
    principal: Cow<'a, str>,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    provider: Cow<'a, str>,
    #[serde(default)]
    decision: Option<RecordedOutcome>,
    #[serde(default)]
    failure: Option<String>,
    facts: Facts,
}

/// A decision on record, less its trail.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RecordedOutcome {
    #[serde(default)]
    granted: Option<Grant>,
    #[serde(default)]
    refused: Option<RecordedRefusal>,
}

#[derive(Deserialize)]
struct RecordedRefusal {
    code: Code,
}

impl Recorded<'_> {
    fn answer(&self) -> Answer {
        match (&self.decision, &self.failure) {
            (
                Some(RecordedOutcome {
                    granted: Some(grant),
                    ..
                }),
                _,
            ) => Answer::granted(&self.facts, grant),
            (
                Some(RecordedOutcome {
                    refused: Some(refusal),
                    ..
                }),
                _,
            ) => Answer::refused(&refusal.code),
            (_, failure) => Answer::failed(failure.as_deref().unwrap_or_default()),
        }
    }

    /// Whether it is wanted, given its answer.
    fn fits(&self, filter: &Filter, answer: &Answer) -> bool {
        let outcome = |wanted: &OutcomeFilter| match (wanted, answer) {
            (OutcomeFilter::Granted, answer) => matches!(answer, Answer::Granted { .. }),
            (OutcomeFilter::Failed, answer) => matches!(answer, Answer::Failed { .. }),
            (OutcomeFilter::Refused, answer) => matches!(answer, Answer::Refused { .. }),
            (OutcomeFilter::Code(wanted), Answer::Refused { code }) => *code == wanted.as_str(),
            (OutcomeFilter::Code(_), _) => false,
        };
        let request = RecordedRequest {
            scope: &self.scope,
            provider: &self.provider,
            principal: &self.principal,
            at_ms: self.at_ms,
        };
        filter.fits_request(&request) && filter.outcome.as_ref().is_none_or(outcome)
    }
}

/// Decides the records of a home's log that `filter` fits again, by `policy`, and
/// compares.
///
/// Blocks while all processors are at work: some ten thousand records a second on
/// each, if the policy takes no longer than the built-in one.
///
/// # Errors
///
/// When a file of the log cannot be read.
pub fn replay(home: &Home, policy: &Policy, filter: &Filter) -> Result<Replay, Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    let source = Mutex::new(Source {
        lines: LogLines::all(home.decision_log()),
    });
    let parts = on_all_processors(|| {
        let mut tally = Tally::default();
        loop {
            // One who panicked left at most an incomplete batch behind.
            let batch = source
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .batch()?;
            let Some((batch, too_long)) = batch else {
                return Ok(tally);
            };
            tally.unreadable += too_long;
            for line in batch.split(|byte| *byte == b'\n') {
                tally.take(line, policy, filter);
            }
        }
    });
    let mut whole = Tally::default();
    for part in parts {
        whole.add(part.map_err(failed)?);
    }
    Ok(whole.finish())
}

/// The lines of the log, a batch at a time.
struct Source {
    lines: LogLines,
}

impl Source {
    /// The next whole lines, each with its newline, and how many were left out because
    /// they are too long; `None` at the end.
    fn batch(&mut self) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        let mut too_long = 0;
        let mut line = Vec::new();
        while batch.len() < BATCH_BYTES {
            match self.lines.next(&mut line)? {
                Some(LineKind::Whole) => {
                    batch.extend_from_slice(&line);
                    batch.push(b'\n');
                }
                Some(_) => too_long += 1,
                None if batch.is_empty() && too_long == 0 => return Ok(None),
                None => break,
            }
        }
        Ok(Some((batch, too_long)))
    }
}

/// What one processor has found.
#[derive(Default)]
struct Tally {
    counts: Counts,
    groups: HashMap<Group, Members>,
    /// Bytes of text in the groups.
    bytes: usize,
    ungrouped: u64,
    unreadable: u64,
}

/// What records have in common that changed alike.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Group {
    scope: String,
    provider: String,
    difference: Difference,
    from: Answer,
    to: Answer,
}

struct Members {
    times: u64,
    example: RecordPlace,
}

impl Group {
    /// How much text it holds.
    fn bytes(&self) -> usize {
        let of = |answer: &Answer| match answer {
            Answer::Absent => 0,
            Answer::Granted { credentials, model } => {
                let texts = credentials.iter().flat_map(|c| [&c.id, &c.holder, &c.name]);
                let model = model.as_ref().map_or(0, String::len);
                texts.map(String::len).sum::<usize>() + model
            }
            Answer::Refused { code } => code.as_str().len(),
            Answer::Failed { cause } => cause.len(),
        };
        self.scope.len() + self.provider.len() + of(&self.from) + of(&self.to)
    }
}

impl Tally {
    fn take(&mut self, line: &[u8], policy: &Policy, filter: &Filter) {
        if line.is_empty() {
            return;
        }
        let Ok(recorded) = serde_json::from_slice::<Recorded<'_>>(line) else {
            self.unreadable += 1;
            return;
        };
        let from = recorded.answer();
        if !recorded.fits(filter, &from) {
            return;
        }
        let to = Answer::of(policy, &recorded.facts);
        let difference = Difference::between(&from, &to);
        self.counts.add(difference);
        if difference == Difference::Same {
            return;
        }
        let group = Group {
            scope: recorded.scope.into_owned(),
            provider: recorded.provider.into_owned(),
            difference,
            from,
            to,
        };
        let member = Members {
            times: 1,
            example: RecordPlace {
                at_ms: recorded.at_ms,
                writer: recorded.writer.into_owned(),
                sequence: recorded.sequence,
            },
        };
        self.join(group, member);
    }

    fn join(&mut self, group: Group, more: Members) {
        let bytes = self.bytes + group.bytes();
        let is_full = self.groups.len() >= MAX_GROUPS || bytes > MAX_GROUP_BYTES;
        match self.groups.get_mut(&group) {
            Some(members) => {
                members.times += more.times;
                if more.example < members.example {
                    members.example = more.example;
                }
            }
            None if is_full => self.ungrouped += more.times,
            None => {
                self.bytes = bytes;
                self.groups.insert(group, more);
            }
        }
    }

    fn add(&mut self, other: Tally) {
        self.counts.add_all(&other.counts);
        self.ungrouped += other.ungrouped;
        self.unreadable += other.unreadable;
        for (group, members) in other.groups {
            self.join(group, members);
        }
    }

    fn finish(self) -> Replay {
        let changes = self.groups.into_iter().map(|(group, members)| {
            let Group {
                scope,
                provider,
                difference,
                from,
                to,
            } = group;
            ReplayedChange {
                scope,
                provider,
                difference,
                from,
                to,
                times: members.times,
                example: members.example,
            }
        });
        let mut changes: Vec<ReplayedChange> = changes.collect();
        changes.sort_by(|a, b| {
            let kind = a.difference.cmp(&b.difference);
            kind.then_with(|| b.times.cmp(&a.times))
                .then_with(|| (&a.scope, &a.provider).cmp(&(&b.scope, &b.provider)))
                .then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
        });
        Replay {
            counts: self.counts,
            changes,
            ungrouped: self.ungrouped,
            unreadable: self.unreadable,
        }
    }
}

/// Does the same on every processor at the same time, the caller's thread among
/// them; `work` shares out what there is to do.
pub(crate) fn on_all_processors<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        // If the system gives no more threads, those that are there do all of it.
        let threads: Vec<_> = (1..processors)
            .map_while(|_| {
                let thread = std::thread::Builder::new().name("entail-compare".to_owned());
                thread.spawn_scoped(scope, &work).ok()
            })
            .collect();
        let mut results = vec![work()];
        for thread in threads {
            match thread.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"writer":"a","sequence":1,"previous":null,"at_ms":5,"purpose":"lease","principal":"local:owner","scope":"acme/evals","provider":"openai","revision":3,"policy":"sha256:00","result":"decided","decision":{"refused":{"code":"expired","message":"it is over"},"trail":[]},"facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme/evals"}]}}
{"writer":"a","sequence":2,"previous":null,"at_ms":6,"purpose":"status","principal":"local:owner","scope":"acme/evals","provider":"openai","revision":3,"policy":"sha256:00","result":"failed","failure":"the policy \"x\" trapped","facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme/evals"}]}}
{"writer":"a","sequence":3,"previous":null,"at_ms":7,"purpose":"status","principal":"local:owner","scope":"acme","provider":"openai","revision":3,"policy":"sha256:00","result":"decided","decision":{"granted":{"credential":"1"},"trail":[{"credential":"1","code":"chosen"}]},"granted":{"holder":"acme","credential":"default","version":1},"facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme","credentials":[{"id":"1","name":"default"}]}]}}"#;

    #[test]
    fn a_record_is_a_grant_a_refusal_or_a_failure_and_is_filtered_by_it() {
        let records: Vec<Recorded<'_>> = LINES
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let answers: Vec<String> = records.iter().map(|r| r.answer().to_string()).collect();
        assert_eq!(
            answers,
            [
                "refused: expired",
                "failed: the policy \"x\" trapped",
                "default of acme"
            ]
        );
        let fitting = |filter: Filter| -> Vec<u64> {
            let fits = |record: &&Recorded<'_>| record.fits(&filter, &record.answer());
            records.iter().filter(fits).map(|r| r.sequence).collect()
        };
        let of = |outcome: &str| Filter {
            outcome: Some(outcome.into()),
            ..Filter::default()
        };
        assert_eq!(fitting(Filter::default()), [1, 2, 3]);
        assert_eq!(fitting(of("refused")), [1]);
        assert_eq!(fitting(of("expired")), [1]);
        assert_eq!(fitting(of("failed")), [2]);
        assert_eq!(fitting(of("granted")), [3]);
        let below = Filter {
            scope: Some("acme/evals".parse().unwrap()),
            since_ms: Some(6),
            until_ms: Some(7),
            ..Filter::default()
        };
        assert_eq!(fitting(below), [2]);
    }

    #[test]
    fn a_batch_ends_with_a_whole_line_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.jsonl");
        let line = format!("{}\n", "x".repeat(999));
        let count = 2_000;
        std::fs::write(&path, line.repeat(count) + "unfinished").unwrap();
        std::fs::copy(&path, folder.path().join("decisions.000001.jsonl")).unwrap();
        let mut source = Source {
            lines: LogLines::all(path),
        };
        let mut found = 0;
        while let Some((batch, _)) = source.batch().unwrap() {
            assert!(batch.ends_with(b"\n") && batch.len() < BATCH_BYTES + 1_000);
            for line in batch.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
                assert_eq!(line.len(), 999);
                found += 1;
            }
        }
        assert_eq!(found, 2 * count);
    }

    #[test]
    fn changes_that_are_alike_are_one_group_with_its_earliest_record() {
        let group = |scope: &str| Group {
            scope: scope.to_owned(),
            provider: "openai".to_owned(),
            difference: Difference::Narrowed,
            from: Answer::failed("a"),
            to: Answer::Absent,
        };
        let member = |at_ms| Members {
            times: 1,
            example: RecordPlace {
                at_ms,
                writer: "a".to_owned(),
                sequence: 1,
            },
        };
        let mut one = Tally::default();
        one.join(group("acme"), member(5));
        one.join(group("acme/evals"), member(4));
        let mut other = Tally::default();
        other.join(group("acme"), member(3));
        one.add(other);
        let changes = one.finish().changes;
        let found: Vec<(&str, u64, u64)> = changes
            .iter()
            .map(|c| (c.scope.as_str(), c.times, c.example.at_ms))
            .collect();
        assert_eq!(found, [("acme", 2, 3), ("acme/evals", 1, 4)]);
    }
}
