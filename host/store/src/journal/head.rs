//! The verified end of the journal, and how to advance it: each entry is checked against
//! the hash of the previous one, the signature of the current key, and the position in the
//! anchor.

use crate::digest::Digest;
use crate::journal::entry::JournalEntry;
use crate::journal::position::JournalPosition;
use crate::row::SignedRow;
use crate::signing::Verifier;
use crate::tampering::{Fault, Tampering};
use crate::tree;

/// The newest verified journal entry, and the trusted keys.
#[derive(Clone)]
pub(crate) struct JournalHead {
    pub(crate) position: JournalPosition,
    /// The root of the document tree and the number of documents; `None` before the entry was
    /// read.
    pub(crate) documents: Option<(Digest, u64)>,
    /// The keys whose signatures are trusted, the current one first.
    pub(crate) verifiers: Vec<Verifier>,
}

/// The position of a journal row.
pub(crate) fn position_of(row: &SignedRow) -> JournalPosition {
    JournalPosition {
        revision: row.revision,
        entry: Some(Digest::of(&row.payload)),
    }
}

/// The journal ends before an entry that was seen.
pub(crate) fn rolled_back() -> Tampering {
    Tampering::new(
        Fault::Stale,
        "the journal",
        "was rolled back: it ends before an entry that existed",
    )
}

impl JournalHead {
    /// The root of the document tree.
    pub(crate) fn root(&self) -> Digest {
        self.documents
            .map_or_else(tree::empty_root, |(root, _)| root)
    }

    /// The number of documents.
    pub(crate) fn count(&self) -> u64 {
        self.documents.map_or(0, |(_, count)| count)
    }

    /// Fails if the journal ends before the anchor, or has another entry at its revision.
    pub(crate) fn check_anchor(&self, anchored: JournalPosition) -> Result<(), Tampering> {
        if self.position.revision < anchored.revision {
            return Err(rolled_back());
        }
        if self.position.revision == anchored.revision && self.position != anchored {
            return Err(JournalEntry::tampering(
                anchored.revision,
                "was replaced by another entry",
            ));
        }
        Ok(())
    }

    /// Verifies `rows`, the journal from the current entry on, and returns the new head.
    pub(crate) fn advance(
        mut self,
        rows: &[SignedRow],
        anchored: JournalPosition,
    ) -> Result<Self, Tampering> {
        let mut rows = rows.iter();
        if self.position.revision > 0 {
            let row = rows.next().ok_or_else(rolled_back)?;
            if row.revision != self.position.revision {
                return Err(rolled_back());
            }
            if position_of(row) != self.position {
                return Err(JournalEntry::tampering(
                    row.revision,
                    "was replaced by another entry",
                ));
            }
            // The hash matches, so the bytes are right. The signature columns may still have been
            // changed, but they are not needed here.
            if self.documents.is_none() {
                let entry = JournalEntry::parse(row)?;
                self.documents = Some((entry.documents, entry.count));
            }
        }
        for row in rows {
            let entry = self.verify_entry(row)?;
            if !entry.follows(self.position) {
                return Err(JournalEntry::tampering(
                    row.revision,
                    "does not follow the previous entry",
                ));
            }
            if let Some(successor) = entry.successor()? {
                self.verifiers.retain(|key| key.id() != successor.id());
                self.verifiers.insert(0, successor);
            }
            let is_past_anchor =
                self.position.revision < anchored.revision && row.revision > anchored.revision;
            if is_past_anchor {
                return Err(rolled_back());
            }
            self.position = position_of(row);
            self.documents = Some((entry.documents, entry.count));
            if self.position.revision == anchored.revision {
                self.check_anchor(anchored)?;
            }
        }
        Ok(self)
    }

    /// Verifies an entry signed by the current key. New keys are saved before the anchor
    /// advances, so the entry that transferred the right to the current key may be read again;
    /// that entry is signed by the previous key.
    fn verify_entry(&self, row: &SignedRow) -> Result<JournalEntry, Tampering> {
        let current = self.verifiers.first().ok_or_else(rolled_back)?;
        let previous = self.verifiers.iter().skip(1);
        let Some(previous) = previous
            .into_iter()
            .find(|previous| previous.id().as_str() == row.signer)
        else {
            return JournalEntry::verify(row, current);
        };
        let entry = JournalEntry::verify(row, previous)?;
        match entry.successor()? {
            Some(successor) if successor.id() == current.id() => Ok(entry),
            _ => Err(JournalEntry::tampering(
                row.revision,
                "is signed by a key that is no longer allowed to write",
            )),
        }
    }
}
