//! Replay: decides the recorded requests again with another policy.
//!
//! A record of the decision log holds the facts of its decision, so another policy can
//! decide on the same facts: with the text of the principal in place of its id. If its name was
//! erased, that is `unknown:` and the id, so a policy that depends on the name may decide
//! otherwise. The recorded decisions are those of the policies that were
//! active then, after the guard. A record of a policy that failed counts as a failure, even
//! if it failed because of the load at that time. What became of a granted secret is not part
//! of a decision, so records of that are skipped.
//!
//! All processors work in parallel. The log is read in batches, and each line is parsed
//! once. Only counts and grouped changes are kept, so memory does not grow with the log or
//! its contents.
//!
//! # Security
//!
//! The log is not verified; [`verify_log`] checks whether it is what was written. A line
//! that is not a record is counted and skipped.
//!
//! [`verify_log`]: crate::verify_log

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use entail_policy::{Code, Facts, Grant, Policy};
use serde::{Deserialize, Serialize};

use crate::audit::{
    Filter, LineKind, LogLines, OutcomeFilter, PrincipalNames, RecordedRequest, is_opening,
};
use crate::compare::decision::{Difference, DifferenceCounts, EffectiveDecision};
use crate::compare::parallel::on_all_processors;
use crate::error::Error;
use crate::home::Home;

/// Bytes read at a time: some hundred records, so that workers seldom wait for the reader.
const BATCH_BYTES: usize = 256 * 1024;

/// The most groups of changes that are kept; far more than anybody reads.
const MAX_GROUPS: usize = 10_000;

/// The most bytes of text in them, per processor: a thousand per group is far more than
/// names need.
const MAX_GROUP_BYTES: usize = 10 * 1024 * 1024;

/// The result of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replay {
    /// How the decisions differ, by number of records.
    pub counts: DifferenceCounts,
    /// The changes, by kind of difference, the most frequent first.
    pub changes: Vec<ReplayedChange>,
    /// Changed records that are in no group, because there are too many groups.
    pub ungrouped: u64,
    /// Lines that are not records.
    pub unreadable: u64,
}

/// Records with the same change.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedChange {
    /// The requesting scope.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// How the decisions differ.
    pub difference: Difference,
    /// The recorded decision.
    pub from: EffectiveDecision,
    /// The decision now.
    pub to: EffectiveDecision,
    /// The number of records.
    pub times: u64,
    /// The earliest of them.
    pub example: RecordPosition,
}

/// The position of a record in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RecordPosition {
    /// When it was decided, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The writer.
    pub writer: String,
    /// Its number among the writer's records.
    pub sequence: u64,
}

/// The fields of a record that are needed here.
#[derive(Deserialize)]
struct Recorded<'a> {
    #[serde(borrow)]
    writer: Cow<'a, str>,
    sequence: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
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
    /// The text of the principal, which the line does not contain.
    #[serde(skip)]
    shown_principal: String,
}

/// A recorded decision, without its trail.
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

impl<'a> Recorded<'a> {
    /// Parses a line, and puts the text of the principal back into the facts; `None` if it is
    /// not a decision.
    fn parse(line: &'a [u8], names: &mut PrincipalNames) -> Option<Self> {
        let mut recorded: Recorded<'_> = serde_json::from_slice(line).ok()?;
        if recorded.kind != "decision" {
            return None;
        }
        recorded.shown_principal = names.shown(&recorded.principal).into_owned();
        let decided_on = &mut recorded.facts.request.principal;
        *decided_on = names.shown(decided_on).into_owned();
        Some(recorded)
    }

    fn decision(&self) -> EffectiveDecision {
        match (&self.decision, &self.failure) {
            (
                Some(RecordedOutcome {
                    granted: Some(grant),
                    ..
                }),
                _,
            ) => EffectiveDecision::granted(&self.facts, grant),
            (
                Some(RecordedOutcome {
                    refused: Some(refusal),
                    ..
                }),
                _,
            ) => EffectiveDecision::refused(&refusal.code),
            (_, failure) => EffectiveDecision::failed(failure.as_deref().unwrap_or_default()),
        }
    }

    /// Whether it matches the filter, given its decision.
    fn matches(&self, filter: &Filter, decision: &EffectiveDecision) -> bool {
        let outcome = |wanted: &OutcomeFilter| match (wanted, decision) {
            (OutcomeFilter::Granted, decision) => {
                matches!(decision, EffectiveDecision::Granted { .. })
            }
            (OutcomeFilter::Failed, decision) => {
                matches!(decision, EffectiveDecision::Failed { .. })
            }
            (OutcomeFilter::Refused, decision) => {
                matches!(decision, EffectiveDecision::Refused { .. })
            }
            (OutcomeFilter::Code(wanted), EffectiveDecision::Refused { code }) => {
                *code == wanted.as_str()
            }
            // Replaying rejects all of these but the first.
            (
                OutcomeFilter::Code(_)
                | OutcomeFilter::Opened
                | OutcomeFilter::NotOpened
                | OutcomeFilter::Unknown,
                _,
            ) => false,
        };
        let request = RecordedRequest {
            scope: &self.scope,
            provider: &self.provider,
            recorded_principal: &self.principal,
            principal: &self.shown_principal,
            at_ms: self.at_ms,
        };
        filter.matches_request(&request) && filter.outcome.as_ref().is_none_or(outcome)
    }
}

/// Decides the records of a home's log that match `filter` again, with `policy`, and
/// compares.
///
/// Blocks the caller's thread while all processors work: some ten thousand records a second
/// each, if the policy is as fast as the built-in one.
///
/// # Errors
///
/// [`Error::Invalid`] if the filter depends on what became of a granted secret; fails if a file
/// of the log cannot be read.
pub fn replay(home: &Home, policy: &Policy, filter: &Filter) -> Result<Replay, Error> {
    if filter
        .outcome
        .as_ref()
        .is_some_and(OutcomeFilter::is_of_opening)
    {
        return Err(Error::Invalid(
            "a policy decides what is granted, not whether the secret opens; select granted"
                .to_owned(),
        ));
    }
    let failed = |error: std::io::Error| Error::Home(format!("the decision log: {error}"));
    let source = Mutex::new(Source {
        lines: LogLines::all(home.decision_log()),
    });
    let names = PrincipalNames::read(home);
    let parts = on_all_processors(|| {
        let mut names = names.clone();
        let mut tally = Tally::default();
        loop {
            // A thread that panicked left at most an incomplete batch.
            let batch = source
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .batch()?;
            let Some((batch, too_long)) = batch else {
                return Ok(tally);
            };
            tally.unreadable += too_long;
            for line in batch.split(|byte| *byte == b'\n') {
                tally.add_line(line, &mut names, policy, filter);
            }
        }
    });
    let mut whole = Tally::default();
    for part in parts {
        whole.merge(part.map_err(failed)?);
    }
    Ok(whole.finish())
}

/// The lines of the log, a batch at a time.
struct Source {
    lines: LogLines,
}

impl Source {
    /// The next complete lines, each with its newline, and the number of lines skipped
    /// because they are too long; `None` at the end.
    fn batch(&mut self) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        let mut too_long = 0;
        let mut line = Vec::new();
        while batch.len() < BATCH_BYTES {
            match self.lines.next(&mut line)? {
                Some(LineKind::Complete) => {
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

/// What one processor found.
#[derive(Default)]
struct Tally {
    counts: DifferenceCounts,
    groups: HashMap<Group, Members>,
    /// Bytes of text in the groups.
    bytes: usize,
    ungrouped: u64,
    unreadable: u64,
}

/// What records with the same change have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Group {
    scope: String,
    provider: String,
    difference: Difference,
    from: EffectiveDecision,
    to: EffectiveDecision,
}

struct Members {
    times: u64,
    example: RecordPosition,
}

impl Group {
    /// The size of its text.
    fn bytes(&self) -> usize {
        let of = |decision: &EffectiveDecision| match decision {
            EffectiveDecision::Absent => 0,
            EffectiveDecision::Granted { credentials, model } => {
                let texts = credentials.iter().flat_map(|c| [&c.id, &c.holder, &c.name]);
                let model = model.as_ref().map_or(0, String::len);
                texts.map(String::len).sum::<usize>() + model
            }
            EffectiveDecision::Refused { code } => code.as_str().len(),
            EffectiveDecision::Failed { cause } => cause.len(),
        };
        self.scope.len() + self.provider.len() + of(&self.from) + of(&self.to)
    }
}

impl Tally {
    fn add_line(
        &mut self,
        line: &[u8],
        names: &mut PrincipalNames,
        policy: &Policy,
        filter: &Filter,
    ) {
        if line.is_empty() || is_opening(line) {
            return;
        }
        let Some(recorded) = Recorded::parse(line, names) else {
            self.unreadable += 1;
            return;
        };
        let from = recorded.decision();
        if !recorded.matches(filter, &from) {
            return;
        }
        let to = EffectiveDecision::of(policy, &recorded.facts);
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
            example: RecordPosition {
                at_ms: recorded.at_ms,
                writer: recorded.writer.into_owned(),
                sequence: recorded.sequence,
            },
        };
        self.add_to_group(group, member);
    }

    fn add_to_group(&mut self, group: Group, more: Members) {
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

    fn merge(&mut self, other: Tally) {
        self.counts.add_all(&other.counts);
        self.ungrouped += other.ungrouped;
        self.unreadable += other.unreadable;
        for (group, members) in other.groups {
            self.add_to_group(group, members);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"writer":"a","sequence":1,"previous":null,"kind":"decision","at_ms":5,"purpose":"lease","principal":"local:owner","scope":"acme/evals","provider":"openai","revision":3,"policy":"sha256:00","result":"decided","decision":{"refused":{"code":"expired","message":"it is over"},"trail":[]},"facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme/evals"}]}}
{"writer":"a","sequence":2,"previous":null,"kind":"decision","at_ms":6,"purpose":"status","principal":"local:owner","scope":"acme/evals","provider":"openai","revision":3,"policy":"sha256:00","result":"failed","failure":"the policy \"x\" trapped","facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme/evals"}]}}
{"writer":"a","sequence":3,"previous":null,"kind":"decision","at_ms":7,"purpose":"status","principal":"local:owner","scope":"acme","provider":"openai","revision":3,"policy":"sha256:00","result":"decided","decision":{"granted":{"credential":"1"},"trail":[{"credential":"1","code":"chosen"}]},"granted":{"holder":"acme","credential":"default","version":1},"facts":{"request":{"provider":"openai","now_ms":5},"chain":[{"path":"acme","credentials":[{"id":"1","name":"default"}]}]}}"#;

    async fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home");
        let home = Home::create(&path, None).await.unwrap();
        (directory, home)
    }

    #[tokio::test]
    async fn a_policy_decides_on_the_text_of_the_principal_and_on_its_id_if_that_was_erased() {
        let (_directory, home) = home().await;
        let id = "0123456789abcdef0123456789abcdef";
        let line = LINES.lines().next().unwrap();
        let line = line.replace("local:owner", id);
        let in_facts = format!("\"request\":{{\"principal\":\"{id}\",");
        let line = line.replace("\"request\":{", &in_facts);
        let decided_on = || {
            let mut names = PrincipalNames::read(&home);
            let recorded = Recorded::parse(line.as_bytes(), &mut names).unwrap();
            assert_eq!(recorded.shown_principal, recorded.facts.request.principal);
            recorded.shown_principal
        };
        assert_eq!(decided_on(), format!("unknown:{id}"));
        let mapped = format!(
            "{{\"id\":\"{id}\",\"kind\":\"local\",\"issuer\":\"\",\"subject\":\"owner\"}}\n"
        );
        std::fs::write(home.principals_file(), mapped).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(home.principals_file(), private).unwrap();
        assert_eq!(decided_on(), "local:owner");
    }

    #[tokio::test]
    async fn records_are_filtered_by_their_outcome() {
        let (_directory, home) = home().await;
        let mut names = PrincipalNames::read(&home);
        let records: Vec<Recorded<'_>> = LINES
            .lines()
            .map(|line| Recorded::parse(line.as_bytes(), &mut names).unwrap())
            .collect();
        let decisions: Vec<String> = records.iter().map(|r| r.decision().to_string()).collect();
        assert_eq!(
            decisions,
            [
                "refused: expired",
                "failed: the policy \"x\" trapped",
                "default of acme"
            ]
        );
        let fitting = |filter: Filter| -> Vec<u64> {
            let matches = |record: &&Recorded<'_>| record.matches(&filter, &record.decision());
            records.iter().filter(matches).map(|r| r.sequence).collect()
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
    fn a_batch_ends_with_a_complete_line_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("decisions.jsonl");
        let line = format!("{}\n", "x".repeat(999));
        let count = 2_000;
        std::fs::write(&path, line.repeat(count) + "unfinished").unwrap();
        std::fs::copy(&path, directory.path().join("decisions.000001.jsonl")).unwrap();
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
    fn equal_changes_form_a_group_with_its_earliest_record() {
        let group = |scope: &str| Group {
            scope: scope.to_owned(),
            provider: "openai".to_owned(),
            difference: Difference::Narrowed,
            from: EffectiveDecision::failed("a"),
            to: EffectiveDecision::Absent,
        };
        let member = |at_ms| Members {
            times: 1,
            example: RecordPosition {
                at_ms,
                writer: "a".to_owned(),
                sequence: 1,
            },
        };
        let mut one = Tally::default();
        one.add_to_group(group("acme"), member(5));
        one.add_to_group(group("acme/evals"), member(4));
        let mut other = Tally::default();
        other.add_to_group(group("acme"), member(3));
        one.merge(other);
        let changes = one.finish().changes;
        let found: Vec<(&str, u64, u64)> = changes
            .iter()
            .map(|c| (c.scope.as_str(), c.times, c.example.at_ms))
            .collect();
        assert_eq!(found, [("acme", 2, 3), ("acme/evals", 1, 4)]);
    }
}
