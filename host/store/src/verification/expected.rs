//! The documents and blobs that exist according to the journal.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::journal::entry::JournalEntry;
use crate::row::DocumentKey;

/// The state of the store that the journal describes.
#[derive(Default)]
pub(super) struct JournalState {
    pub(super) documents: BTreeMap<DocumentKey, Digest>,
    pub(super) blobs: BTreeSet<Digest>,
    /// The root of the document tree according to the newest entry.
    pub(super) root: Option<Digest>,
}

impl JournalState {
    /// Applies the next entry.
    pub(super) fn apply(&mut self, entry: &JournalEntry) {
        for effect in &entry.effects {
            match effect.after {
                Some(digest) => self.documents.insert(effect.key.clone(), digest),
                None => self.documents.remove(&effect.key),
            };
        }
        for digest in &entry.blobs_removed {
            self.blobs.remove(digest);
        }
        self.blobs.extend(&entry.blobs_added);
    }
}
