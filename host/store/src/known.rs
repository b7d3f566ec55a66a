//! What is known of the journal, and how one goes on along it: each entry by the hash
//! of the one before, by the signature of the key that may write, and by the mark that
//! the anchor remembers.

use crate::anchor::Mark;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::error::{Fault, Tampering};
use crate::journal::Entry;
use crate::signing::Verifier;
use crate::tree;

/// The newest journal entry, and whom to believe.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) mark: Mark,
    /// The root of the tree of documents, and how many there are; none before it was
    /// read.
    pub(crate) documents: Option<(Digest, u64)>,
    /// Whose signature holds: the present key first.
    pub(crate) verifiers: Vec<Verifier>,
}

pub(crate) fn mark_of(row: &SignedRow) -> Mark {
    Mark {
        revision: row.revision,
        entry: Some(Digest::of(&row.payload)),
    }
}

pub(crate) fn gone_back() -> Tampering {
    Tampering::new(
        Fault::Stale,
        "the journal",
        "has gone back behind an entry that was there",
    )
}

impl Known {
    /// The root of the tree of documents.
    pub(crate) fn root(&self) -> Digest {
        self.documents
            .map_or_else(tree::empty_root, |(root, _)| root)
    }

    /// How many documents there are.
    pub(crate) fn count(&self) -> u64 {
        self.documents.map_or(0, |(_, count)| count)
    }

    /// Goes on along `rows`, the journal from the entry on that is known.
    pub(crate) fn follow(mut self, rows: &[SignedRow], anchored: Mark) -> Result<Self, Tampering> {
        let mut rows = rows.iter();
        if self.mark.revision > 0 {
            let row = rows.next().ok_or_else(gone_back)?;
            if row.revision != self.mark.revision {
                return Err(gone_back());
            }
            if mark_of(row) != self.mark {
                return Err(Entry::tampering(
                    row.revision,
                    "is another one than was there before",
                ));
            }
            // The bytes are known to be the right ones; somebody may still have
            // changed what stands beside them.
            if self.documents.is_none() {
                let entry = Entry::parse(row)?;
                self.documents = Some((entry.documents, entry.count));
            }
        }
        for row in rows {
            let entry = self.believed(row)?;
            if !entry.follows(self.mark) {
                return Err(Entry::tampering(
                    row.revision,
                    "does not follow the one before",
                ));
            }
            if let Some(successor) = entry.successor()? {
                self.verifiers.retain(|known| known.id() != successor.id());
                self.verifiers.insert(0, successor);
            }
            self.mark = mark_of(row);
            self.documents = Some((entry.documents, entry.count));
            if self.mark.revision == anchored.revision && self.mark != anchored {
                return Err(Entry::tampering(
                    row.revision,
                    "is another one than was there before",
                ));
            }
        }
        Ok(self)
    }
}

impl Known {
    /// Reads an entry that is signed by the key that may write. Its keys are written
    /// down before the anchor is told, so the entry that hands on to the present key
    /// may have to be read once more: that one is signed by the key before.
    fn believed(&self, row: &SignedRow) -> Result<Entry, Tampering> {
        let present = self.verifiers.first().ok_or_else(gone_back)?;
        let former = self.verifiers.iter().skip(1);
        let Some(former) = former
            .into_iter()
            .find(|former| former.id().as_str() == row.signer)
        else {
            return Entry::verify(row, present);
        };
        let entry = Entry::verify(row, former)?;
        match entry.successor()? {
            Some(successor) if successor.id() == present.id() => Ok(entry),
            _ => Err(Entry::tampering(
                row.revision,
                "is signed by a key that may no longer write",
            )),
        }
    }
}
