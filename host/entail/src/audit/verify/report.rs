//! What verifying the log found.

use std::path::{Path, PathBuf};

use crate::audit::ledger::LogEvent;

/// How many breaches a report lists: more than a person reads.
const MAX_BREACHES: usize = 1_000;

/// Something wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 for the file itself.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// What verifying the log found.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    /// How many files were read.
    pub files: usize,
    /// How many valid records they hold, of all kinds.
    pub records: u64,
    /// How many of them are decisions.
    pub decisions: u64,
    /// How many of them say what became of a granted secret.
    pub openings: u64,
    /// For how many grants there is no such record, so that nothing was revealed: the process
    /// was stopped, or the request given up, before there could be one. Or it is about to be
    /// written.
    pub without_opening: u64,
    /// How many records are of a kind that only a newer version of this program knows.
    pub newer: u64,
    /// How many chains the records form. A chain that continued after very many others
    /// counts more than once.
    pub writers: usize,
    /// How many lines are incomplete, because the disk was full or the machine crashed.
    /// Nothing was revealed for them.
    pub incomplete: u64,
    /// The number of the oldest file, if older ones were archived or are from before the
    /// heads began.
    pub first_file: Option<u64>,
    /// The events of the ledger, oldest first.
    pub events: Vec<LogEvent>,
    /// How many breaches were accepted.
    pub accepted: u64,
    /// Whether the log has a head. Without one, a truncated log cannot be distinguished from a
    /// complete one.
    pub has_head: bool,
    /// How many records come after the head: a process was stopped before it stored them,
    /// or they were written during the verification.
    pub after_head: u64,
    /// How many records are missing since a reboot: lost in a crash, or removed before the
    /// reboot.
    pub lost: u64,
    /// How many of the given heads the log contains.
    pub heads_contained: u64,
    /// How many of the given heads cannot be checked, because what they cover was archived, or
    /// its loss accepted.
    pub heads_unchecked: u64,
    /// The first breaches.
    pub breaches: Vec<Breach>,
    /// How many more breaches there are.
    pub more_breaches: u64,
}

impl LogReport {
    pub(super) fn breach(&mut self, file: &Path, line: u64, reason: impl Into<String>) {
        if self.breaches.len() >= MAX_BREACHES {
            self.more_breaches += 1;
            return;
        }
        self.breaches.push(Breach {
            file: file.to_owned(),
            line,
            reason: reason.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_breaches_are_listed_and_the_rest_is_counted() {
        let mut report = LogReport::default();
        for line in 0..1_234 {
            report.breach(Path::new("log"), line, "it is not a record");
        }
        assert_eq!((report.breaches.len(), report.more_breaches), (1_000, 234));
    }
}
