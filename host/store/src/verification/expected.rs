//! The documents and blobs that exist according to the journal.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::journal::entry::ChangeRecord;
use crate::row::DocumentKey;

/// The state of the store that the journal describes.
#[derive(Default)]
pub(super) struct JournalState {
    pub(super) documents: BTreeMap<DocumentKey, Digest>,
    pub(super) blobs: BTreeSet<Digest>,
}

impl JournalState {
    /// Applies the next change.
    pub(super) fn apply(&mut self, record: &ChangeRecord) {
        for effect in &record.effects {
            match effect.after {
                Some(digest) => self.documents.insert(effect.key.clone(), digest),
                None => self.documents.remove(&effect.key),
            };
        }
        for digest in &record.blobs_removed {
            self.blobs.remove(digest);
        }
        self.blobs.extend(&record.blobs_added);
    }
}
