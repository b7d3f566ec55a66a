//! The hash chains of the writers.

use std::collections::{HashMap, VecDeque};

use entail_store::Digest;
use serde::Deserialize;

/// How many lines before the first record of a chain may hold the line it continues from:
/// the last line, unless later ones are incomplete.
const LOOK_BACK_LINES: usize = 64;

/// How many writers are tracked, those that wrote last; each process is one. A chain that
/// continues after as many others is not checked against its earlier part; the heads still
/// cover it.
const KNOWN_WRITERS: usize = 50_000;

/// The length of a writer's name.
const WRITER_CHARS: usize = 16;

/// The fields of a record that chain it.
#[derive(Deserialize)]
struct Link {
    writer: String,
    sequence: u64,
    previous: Option<Digest>,
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
    pub(super) fn add(&mut self, line: &[u8], digest: Digest) -> Result<(), InvalidLine> {
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
        let chain = Chain {
            sequence: link.sequence,
            digest,
            line: self.count,
        };
        let before = self.writers.insert(writer, chain);
        if before.is_none() {
            self.begun += 1;
            self.drop_oldest();
        }
        let broken = |reason: String| Err(InvalidLine::Broken(reason));
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
            // The earlier records of this chain may have been archived.
            None if self.is_continued && (is_first || link.sequence > 1) => Ok(()),
            None if self.has_dropped && link.sequence > 1 => Ok(()),
            None if link.sequence != 1 => broken(format!(
                "the writer {} begins with its record {}",
                shown(&link.writer),
                link.sequence
            )),
            None => match link.previous {
                None if is_first => Ok(()),
                Some(_) if previous_is_known => Ok(()),
                _ => broken("what came before it was changed or removed".to_owned()),
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
        let previous = match previous {
            Some(digest) => format!("\"{digest}\""),
            None => "null".to_owned(),
        };
        format!("{{\"writer\":\"{writer:016x}\",\"sequence\":{sequence},\"previous\":{previous}}}")
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
}
