//! Heads of the log that were stored elsewhere, and must be positions of the log.

use std::path::Path;

use entail_store::{Digest, LogHead};

use super::report::LogReport;
use super::snapshot::Snapshot;
use crate::audit::heads::Position;

/// The heads that are not found yet.
pub(super) struct ExpectedHeads {
    /// Those ahead, the one with most lines first.
    ahead: Vec<LogHead>,
    /// Those before the oldest position.
    before: Vec<LogHead>,
}

impl ExpectedHeads {
    pub(super) fn new(heads: &[LogHead]) -> Self {
        let mut ahead = heads.to_vec();
        ahead.sort_by_key(|head| std::cmp::Reverse(head.lines));
        let before = Vec::new();
        ExpectedHeads { ahead, before }
    }

    /// Compares the heads with a position of the log, which comes after line `line` of `file`.
    pub(super) fn reach(&mut self, at: &Position, file: &Path, line: u64, report: &mut LogReport) {
        while let Some(head) = self.ahead.pop_if(|head| head.lines <= at.lines) {
            // The digest begins again where a loss was accepted.
            let is_begin = at.lines > 0 && at.digest == Digest::from([0; 32]);
            if head.lines < at.lines || is_begin && head.digest != at.digest {
                self.before.push(head);
            } else if head.digest == at.digest {
                report.heads_contained += 1;
            } else {
                let reason = format!(
                    "the log up to here is not what it was when it had {} lines, according to a head that was stored elsewhere",
                    head.lines
                );
                report.breach(file, line, reason);
            }
        }
    }

    /// Reports the heads that are not positions of the log.
    pub(super) fn finish(self, log: &Snapshot, report: &mut LogReport) {
        for head in self.before.into_iter().chain(self.ahead) {
            if head.lines == 0 {
                report.heads_contained += 1;
                continue;
            }
            // Only accepting a loss begins the heads after some lines.
            let is_before_begin = log
                .heads
                .as_ref()
                .is_some_and(|known| head.lines <= known.begin.at.lines);
            if is_before_begin || log.ledger.excuses(head.file) {
                report.heads_unchecked += 1;
                continue;
            }
            let reason = format!(
                "the log does not contain the first {} lines that it had, according to a head that was stored elsewhere",
                head.lines
            );
            report.breach(&log.paths.log, 0, reason);
        }
    }
}
