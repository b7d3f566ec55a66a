//! The cache of verified documents.

use std::collections::HashMap;
use std::sync::Arc;

use crate::anchor::AnchorStamp;
use crate::digest::Digest;
use crate::document::Document;
use crate::journal::head::JournalHead;
use crate::journal::heartbeat::Freshness;
use crate::journal::position::{JournalPosition, Revision};
use crate::keyring::Keyring;
use crate::row::DocumentKey;

/// The maximum number of cached documents, about ten megabytes. When it is exceeded,
/// the cache is cleared, and each document costs another signature verification.
const MAX_CACHED_DOCUMENTS: usize = 2_000;

/// Verified documents of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The keyring that is in force.
    pub keyring: Arc<Keyring>,
    /// When this state counts as the newest.
    pub freshness: Freshness,
    /// The requested documents, in the requested order; `None` for those that do not
    /// exist.
    pub documents: Vec<Option<Arc<Document>>>,
}

/// A verified list of documents.
pub(super) struct CachedList {
    /// The checkpoint whose tree contains it.
    pub(super) position: JournalPosition,
    /// The prefix of the keys.
    pub(super) prefix: Vec<u8>,
    /// The names of the documents, in order.
    pub(super) names: Arc<[String]>,
}

/// What was verified, and in which state of the database.
pub(super) struct Cache {
    pub(super) head: JournalHead,
    /// What `head` was verified in.
    verified_in: Option<VerifiedIn>,
    documents: HashMap<DocumentKey, CachedDocument>,
    /// The last list that was read.
    pub(super) list: Option<CachedList>,
}

/// A state of the database and of the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VerifiedIn {
    pub(super) state: u64,
    pub(super) anchor: AnchorStamp,
}

struct CachedDocument {
    /// The last state of the database that it was compared with.
    state: u64,
    document: Option<Arc<Document>>,
}

impl Cache {
    pub(super) fn new(head: JournalHead) -> Self {
        Cache {
            head,
            verified_in: None,
            documents: HashMap::new(),
            list: None,
        }
    }

    /// The head of the journal, and what it was verified in.
    pub(super) fn journal(&self) -> (JournalHead, Option<VerifiedIn>) {
        (self.head.clone(), self.verified_in)
    }

    /// The documents `keys`, if all of them were verified in this state of the database, and
    /// the anchor has not changed since.
    pub(super) fn snapshot(&self, now: VerifiedIn, keys: &[DocumentKey]) -> Option<Snapshot> {
        let cached = |key| {
            let cached = self.documents.get(key)?;
            (cached.state == now.state).then(|| cached.document.clone())
        };
        if self.verified_in != Some(now) {
            return None;
        }
        Some(Snapshot {
            revision: self.head.position.revision,
            keyring: Arc::clone(&self.head.keyring),
            freshness: self.head.freshness(),
            documents: keys.iter().map(cached).collect::<Option<_>>()?,
        })
    }

    /// Returns the cached document if `bytes` are still exactly that.
    pub(super) fn matching(
        &self,
        key: &DocumentKey,
        bytes: &[u8],
        expected: Digest,
    ) -> Option<Arc<Document>> {
        let document = self.documents.get(key)?.document.as_ref()?;
        let is_same = document.digest() == expected && Digest::of(bytes) == expected;
        is_same.then(|| Arc::clone(document))
    }

    /// Advances the head, unless it is already further: a slow reader must not undo the
    /// progress of a fast one. Returns whether `head` is current.
    pub(super) fn advance_to(
        &mut self,
        head: JournalHead,
        verified_in: Option<VerifiedIn>,
    ) -> bool {
        let is_current = head.position.revision >= self.head.position.revision;
        if is_current {
            self.head = head;
            self.verified_in = verified_in;
        }
        is_current
    }

    /// Adds documents that were verified in this state of the database.
    pub(super) fn insert(
        &mut self,
        head: &JournalHead,
        verified_in: VerifiedIn,
        keys: &[DocumentKey],
        documents: &[Option<Arc<Document>>],
    ) {
        if !self.advance_to(head.clone(), Some(verified_in)) {
            return;
        }
        let state = verified_in.state;
        if self.documents.len() + keys.len() > MAX_CACHED_DOCUMENTS {
            self.documents.clear();
        }
        for (key, document) in keys.iter().zip(documents) {
            let document = document.clone();
            self.documents
                .insert(key.clone(), CachedDocument { state, document });
        }
    }
}
