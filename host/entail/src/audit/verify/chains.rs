//! The hash chains of the writers.

use std::collections::{BTreeSet, HashMap, VecDeque};

use entail_store::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How many lines before the first record of a chain may hold the line it continues from:
/// the last line, unless later ones are incomplete.
const LOOK_BACK_LINES: usize = 64;

/// How many writers are tracked, those that wrote last; each process is one. A chain that
/// continues after as many others is not checked against its earlier part; the heads still
/// cover it.
const KNOWN_WRITERS: usize = 50_000;

/// How many grants of a writer without an opening are remembered: more than requests that
/// are processed at a time, and those that were given up before. An opening of an older one
/// is not checked.
const OPEN_GRANTS: usize = 10_000;

/// The length of a writer's name.
const WRITER_CHARS: usize = 16;

/// The fields of a record that chain it, and that connect an opening with its decision.
#[derive(Deserialize)]
struct Link {
    writer: String,
    sequence: u64,
    previous: Option<Digest>,
    kind: String,
    #[serde(default)]
    granted: Option<IgnoredAny>,
    #[serde(default)]
    of: Option<u64>,
}

/// What a valid line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// A decision that grants something, or another one.
    Decision { is_grant: bool },
    /// What became of a granted secret.
    Opening,
    /// A kind that a newer version of this program writes.
    Newer,
}

/// The chains of the lines read so far.
#[derive(Default)]
pub(super) struct Chains {
    /// Whether older records exist that were archived.
    is_continued: bool,
    /// The chains of the writers that wrote last, by the digests of their names.
    writers: HashMap<Digest, Chain>,
    /// How many chains began.
    begun: usize,
    /// Whether chains were dropped from `writers`.
    has_dropped: bool,
    /// The digests of the last lines.
    lines: VecDeque<Digest>,
    /// How many lines were read.
    count: u64,
}

/// The last record of a writer.
struct Chain {
    sequence: u64,
    digest: Digest,
    /// Its line number among all lines.
    line: u64,
    /// The sequence numbers of grants without an opening.
    open: BTreeSet<u64>,
    /// Grants before this number are not remembered.
    known_from: u64,
}

impl Chain {
    /// Adds a record. Fails if it is an opening without its decision.
    fn connect(&mut self, link: &Link) -> Result<RecordKind, String> {
        match (link.kind.as_str(), link.of) {
            ("decision", _) => {
                let is_grant = link.granted.is_some();
                if is_grant {
                    self.open.insert(link.sequence);
                }
                if self.open.len() > OPEN_GRANTS
                    && let Some(oldest) = self.open.pop_first()
                {
                    self.known_from = oldest + 1;
                }
                Ok(RecordKind::Decision { is_grant })
            }
            ("opening", Some(of)) if of < self.known_from || self.open.remove(&of) => {
                Ok(RecordKind::Opening)
            }
            ("opening", of) => Err(format!(
                "it says what became of the record {} of the writer {}, which is not a grant without an outcome",
                of.map_or_else(|| "without a number".to_owned(), |of| of.to_string()),
                shown(&link.writer)
            )),
            _ => Ok(RecordKind::Newer),
        }
    }
}

/// Why a line does not continue a chain.
pub(super) enum InvalidLine {
    /// The line was not written completely.
    Incomplete,
    /// It was changed, or one before it was changed, removed or moved.
    Broken(String),
}

impl Chains {
    /// Starts at the oldest file. `is_continued` if older records were archived.
    pub(super) fn new(is_continued: bool) -> Self {
        Chains {
            is_continued,
            ..Chains::default()
        }
    }

    /// How many chains began.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Checks the next line.
    pub(super) fn add(&mut self, line: &[u8], digest: Digest) -> Result<RecordKind, InvalidLine> {
        let link = serde_json::from_slice::<Link>(line);
        let is_first = self.count == 0;
        self.count += 1;
        let previous_is_known = match &link {
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
        let link = link.map_err(|error| {
            if error.is_eof() {
                InvalidLine::Incomplete
            } else {
                InvalidLine::Broken("it is not a record".to_owned())
            }
        })?;
        let writer = Digest::of(link.writer.as_bytes());
        let before = self.writers.remove(&writer);
        let is_new = before.is_none();
        let chained = self.check(&link, before.as_ref(), previous_is_known, is_first);
        let (open, known_from) = match before {
            Some(before) => (before.open, before.known_from),
            // Its earlier records may have been archived, or are not remembered.
            None => (BTreeSet::new(), link.sequence),
        };
        let mut chain = Chain {
            sequence: link.sequence,
            digest,
            line: self.count,
            open,
            known_from,
        };
        let connected = chain.connect(&link);
        self.writers.insert(writer, chain);
        if is_new {
            self.begun += 1;
            self.drop_oldest();
        }
        chained.and(connected).map_err(InvalidLine::Broken)
    }

    /// Checks a record against the one before it of the same writer.
    fn check(
        &self,
        link: &Link,
        before: Option<&Chain>,
        previous_is_known: bool,
        is_first: bool,
    ) -> Result<(), String> {
        match before {
            Some(before) if before.sequence == link.sequence => Err(format!(
                "record {} of the writer {} occurs twice",
                link.sequence,
                shown(&link.writer)
            )),
            Some(before) if before.sequence + 1 != link.sequence => Err(format!(
                "record {} of the writer {} comes after its record {}",
                link.sequence,
                shown(&link.writer),
                before.sequence
            )),
            Some(before) if link.previous != Some(before.digest) => Err(format!(
                "the record before it of the writer {} was changed",
                shown(&link.writer)
            )),
            Some(_) => Ok(()),
            // The earlier records of this chain may have been archived.
            None if self.is_continued && (is_first || link.sequence > 1) => Ok(()),
            None if self.has_dropped && link.sequence > 1 => Ok(()),
            None if link.sequence != 1 => Err(format!(
                "the writer {} begins with its record {}",
                shown(&link.writer),
                link.sequence
            )),
            None => match link.previous {
                None if is_first => Ok(()),
                Some(_) if previous_is_known => Ok(()),
                _ => Err("what came before it was changed or removed".to_owned()),
            },
        }
    }

    /// Drops the chains that were idle longest, once there are twice too many.
    fn drop_oldest(&mut self) {
        if self.writers.len() < 2 * KNOWN_WRITERS {
            return;
        }
        let mut newest: Vec<u64> = self.writers.values().map(|chain| chain.line).collect();
        let (_, oldest_kept, _) = newest.select_nth_unstable(KNOWN_WRITERS);
        let oldest_kept = *oldest_kept;
        self.writers.retain(|_, chain| chain.line >= oldest_kept);
        self.has_dropped = true;
    }
}

/// The name of a writer, escaped and truncated.
fn shown(writer: &str) -> String {
    let start = writer.chars().take(WRITER_CHARS);
    start.flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(writer: u64, sequence: u64, previous: Option<Digest>) -> Vec<u8> {
        record(writer, sequence, previous, "\"kind\":\"decision\"")
    }

    fn record(writer: u64, sequence: u64, previous: Option<Digest>, rest: &str) -> Vec<u8> {
        let previous = match previous {
            Some(digest) => format!("\"{digest}\""),
            None => "null".to_owned(),
        };
        format!(
            "{{\"writer\":\"{writer:016x}\",\"sequence\":{sequence},\"previous\":{previous},{rest}}}"
        )
        .into_bytes()
    }

    /// Adds a line that follows one of the same writer, or the last one.
    fn add(chains: &mut Chains, writer: u64, sequence: u64, after: Option<Digest>) -> Digest {
        let line = line(writer, sequence, after);
        let digest = Digest::of(&line);
        assert!(chains.add(&line, digest).is_ok(), "{writer} {sequence}");
        digest
    }

    #[test]
    fn only_the_writers_that_wrote_last_are_tracked() {
        let mut chains = Chains::default();
        let first = add(&mut chains, 0, 1, None);
        let mut last = first;
        let mut second = first;
        let writers = u64::try_from(3 * KNOWN_WRITERS).unwrap();
        for writer in 1..writers {
            last = add(&mut chains, writer, 1, Some(last));
            if writer == 1 {
                second = last;
            }
            assert!(chains.writers.len() < 2 * KNOWN_WRITERS);
        }
        assert!(chains.has_dropped && chains.lines.len() == LOOK_BACK_LINES);
        // A dropped chain continues, and is checked from then on.
        let next = add(&mut chains, 0, 2, Some(first));
        let wrong = line(0, 3, Some(first));
        assert!(chains.add(&wrong, Digest::of(&wrong)).is_err());
        // A tracked chain is checked against its last line.
        let newest = writers - 1;
        let wrong = line(newest, 2, Some(next));
        assert!(chains.add(&wrong, Digest::of(&wrong)).is_err());
        // The first record of a chain is checked against the last lines.
        let wrong = line(writers, 1, Some(second));
        assert!(chains.add(&wrong, Digest::of(&wrong)).is_err());
    }

    const GRANT: &str = "\"kind\":\"decision\",\"granted\":{}";

    fn opening(of: u64) -> String {
        format!("\"kind\":\"opening\",\"of\":{of}")
    }

    #[test]
    fn an_opening_belongs_to_one_grant_of_its_writer() {
        let grant = RecordKind::Decision { is_grant: true };
        let other = RecordKind::Decision { is_grant: false };
        let opened = RecordKind::Opening;
        let refused = "\"kind\":\"decision\"".to_owned();
        let known = |kind| Ok::<RecordKind, ()>(kind);
        for (what, records, expected) in [
            (
                "its grant",
                [GRANT.to_owned(), opening(1)],
                [known(grant), known(opened)],
            ),
            ("a refusal", [refused, opening(1)], [known(other), Err(())]),
            (
                "no record",
                [GRANT.to_owned(), opening(7)],
                [known(grant), Err(())],
            ),
            (
                "itself",
                [GRANT.to_owned(), opening(2)],
                [known(grant), Err(())],
            ),
            (
                "a newer kind",
                [GRANT.to_owned(), "\"kind\":\"later\"".to_owned()],
                [known(grant), known(RecordKind::Newer)],
            ),
        ] {
            let mut chains = Chains::default();
            let mut previous = None;
            for ((sequence, rest), expected) in (1..).zip(&records).zip(expected) {
                let line = record(1, sequence, previous, rest);
                let digest = Digest::of(&line);
                previous = Some(digest);
                let found = chains.add(&line, digest).map_err(drop);
                assert_eq!(found, expected, "{what} {sequence}");
            }
        }
        // Twice.
        let mut chains = Chains::default();
        let mut previous = None;
        for (sequence, rest, is_valid) in [
            (1, GRANT.to_owned(), true),
            (2, opening(1), true),
            (3, opening(1), false),
        ] {
            let line = record(1, sequence, previous, &rest);
            previous = Some(Digest::of(&line));
            assert_eq!(chains.add(&line, Digest::of(&line)).is_ok(), is_valid);
        }
        // Of another writer.
        let mut chains = Chains::default();
        let first = record(1, 1, None, GRANT);
        let second = record(2, 1, Some(Digest::of(&first)), &opening(1));
        assert!(chains.add(&first, Digest::of(&first)).is_ok());
        assert!(chains.add(&second, Digest::of(&second)).is_err());
    }

    #[test]
    fn grants_without_an_opening_are_remembered_up_to_a_limit() {
        let mut chains = Chains::default();
        let mut previous = None;
        let mut add = |sequence, rest: &str| {
            let line = record(1, sequence, previous, rest);
            previous = Some(Digest::of(&line));
            chains.add(&line, Digest::of(&line)).is_ok()
        };
        let count = OPEN_GRANTS as u64 + 5;
        for sequence in 1..=count {
            assert!(add(sequence, GRANT));
        }
        assert!(add(count + 1, &opening(1)), "it is no longer remembered");
        assert!(add(count + 2, &opening(6)));
        assert!(!add(count + 3, &opening(6)), "it is remembered");
    }
}
