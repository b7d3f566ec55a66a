//! The verification of the journal.

use super::check::{Check, PAGE};
use super::expected::JournalState;
use crate::error::Error;
use crate::journal::entry::JournalEntry;
use crate::journal::head::{JournalHead, position_of, rolled_back};
use crate::journal::position::JournalPosition;
use crate::row::SignedRow;
use crate::signing::Verifier;
use crate::tampering::Fault;

/// A walk through the journal.
struct JournalWalk {
    state: JournalState,
    /// The keys that the journal named so far, the newest first.
    signers: Vec<Verifier>,
    last: Option<(JournalPosition, JournalEntry)>,
    /// How many of the entries that this machine has seen are there.
    met: usize,
    /// Whether every entry so far is valid.
    is_valid: bool,
}

impl Check<'_> {
    /// Walks through the journal. Returns the state that it describes and the keys whose
    /// signatures are valid; `None` if the journal cannot be trusted.
    pub(super) async fn journal(
        &mut self,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> Result<Option<(JournalState, Vec<Verifier>)>, Error> {
        let mut walk = JournalWalk {
            state: JournalState::default(),
            // Without an entry to begin from, the first one must be signed by a trusted key.
            signers: match head.position.revision {
                0 => head.verifiers.clone(),
                _ => Vec::new(),
            },
            last: None,
            met: 0,
            is_valid: true,
        };
        loop {
            let after = walk.position().revision;
            let rows = self.snapshot.journal(after, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            self.step(rows.len());
            for row in &rows {
                if !self.journal_row(row, &mut walk, head, anchored) {
                    return Ok(None);
                }
            }
        }
        Ok(self.journal_end(walk, head, anchored))
    }

    /// Verifies one row of the journal. Returns `false` if the walk cannot continue.
    fn journal_row(
        &mut self,
        row: &SignedRow,
        walk: &mut JournalWalk,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> bool {
        let is_after_head = row.revision > head.position.revision;
        let entry = self.entry(row, walk.position(), &mut walk.signers, is_after_head);
        walk.is_valid &= entry.is_some();
        // The entries after an invalid one are still verified.
        let Some(entry) = entry.or_else(|| JournalEntry::parse(row).ok()) else {
            return false;
        };
        walk.state.apply(&entry);
        let position = position_of(row);
        walk.last = Some((position, entry));
        for seen in [head.position, anchored] {
            if seen == position {
                walk.met += 1;
            } else if seen.revision == row.revision {
                walk.is_valid = false;
                self.fault(
                    Fault::Forged,
                    format_args!("journal entry {}", row.revision),
                    "was replaced by another entry",
                );
            }
        }
        if position == head.position {
            // The entries up to here were verified before, so one of the trusted keys signs
            // the next: the previous one if a hand-over was interrupted.
            let mut trusted = head.verifiers.iter().map(Verifier::id);
            let signer = walk.signers.first().map(Verifier::id);
            if !trusted.any(|trusted| Some(trusted) == signer) {
                walk.is_valid = false;
                self.fault(
                    Fault::Forged,
                    "the journal",
                    "leads to a key that is not trusted",
                );
            }
        }
        true
    }

    /// Verifies the end of the journal against `head` and the anchored position.
    fn journal_end(
        &mut self,
        mut walk: JournalWalk,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> Option<(JournalState, Vec<Verifier>)> {
        let position = walk.position();
        self.report.revision = position.revision;
        if self.progress.done != self.report.counts.entries && !self.is_damaged {
            self.fault(Fault::Extra, "the journal", "has entries before its first");
        }
        let seen = [head.position.revision, anchored.revision];
        let expected = seen.into_iter().filter(|revision| *revision > 0).count();
        let ends_before = seen
            .into_iter()
            .any(|revision| revision > position.revision);
        // Another entry at such a revision is reported there.
        if ends_before || walk.is_valid && walk.met < expected {
            self.report.faults.push(rolled_back());
            return None;
        }
        let (_, entry) = walk.last.filter(|_| walk.is_valid)?;
        if u64::try_from(walk.state.documents.len()).ok() != Some(entry.count) {
            self.fault(
                Fault::Forged,
                "the journal",
                "describes a number of documents other than its newest entry's",
            );
        }
        walk.state.root = Some(entry.documents);
        Some((walk.state, walk.signers))
    }

    /// Verifies one entry; `None` if it is invalid.
    fn entry(
        &mut self,
        row: &SignedRow,
        before: JournalPosition,
        signers: &mut Vec<Verifier>,
        is_after_head: bool,
    ) -> Option<JournalEntry> {
        let parsed = JournalEntry::parse(row).and_then(|entry| entry.successor());
        let successor = match parsed {
            Ok(successor) => successor,
            Err(error) => {
                self.report.faults.push(error);
                return None;
            }
        };
        // The previous key signs the transfer to the next. The first key signs its own
        // entry, and so does the new key of a store that was restored without the old one:
        // never after an entry that this machine has seen, since anyone can make a key.
        let self_signed = successor
            .clone()
            .filter(|key| key.id().as_str() == row.signer && !is_after_head);
        let signer = self_signed.or_else(|| signers.first().cloned());
        let verified = match signer {
            Some(signer) => JournalEntry::verify(row, &signer),
            None => Err(JournalEntry::tampering(
                row.revision,
                "is the first entry and names no key",
            )),
        };
        if let Some(successor) = successor {
            signers.retain(|known| known.id() != successor.id());
            signers.insert(0, successor);
        }
        match verified {
            Err(error) => {
                self.report.faults.push(error);
                None
            }
            Ok(entry) if !entry.follows(before) => {
                self.fault(
                    Fault::Forged,
                    format_args!("journal entry {}", row.revision),
                    "does not follow the previous entry",
                );
                None
            }
            Ok(entry) => Some(entry),
        }
    }
}

impl JournalWalk {
    /// The position of the last entry.
    fn position(&self) -> JournalPosition {
        self.last
            .as_ref()
            .map(|(position, _)| *position)
            .unwrap_or_default()
    }
}
