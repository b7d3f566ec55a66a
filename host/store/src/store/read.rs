//! Reads of verified documents, blobs and journal entries.

use std::sync::Arc;

use super::Store;
use super::cache::{Snapshot, VerifiedIn};
use crate::backend::Rows;
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::journal::entry::JournalEntry;
use crate::journal::head::{JournalHead, position_of, rolled_back};
use crate::journal::position::{JournalPosition, Revision};
use crate::recipients::{self, Recipients};
use crate::row::{DocumentKey, SignedRow};
use crate::signing::Verifier;
use crate::tampering::{Fault, Tampering};
use crate::tree::Tree;

/// The number of journal entries to read at once when there are many new ones.
pub(super) const PAGE: usize = 1_000;

/// Documents in the requested order; `None` for those that do not exist.
pub(super) type Documents = Vec<Option<Arc<Document>>>;

/// What was read from the database and verified.
pub(super) struct Fetched {
    pub(super) head: JournalHead,
    /// The tree nodes above the documents.
    pub(super) tree: Tree,
    pub(super) documents: Documents,
}

impl Store {
    /// Reads documents, all of one revision.
    ///
    /// Documents that were verified before are returned from the cache as long as nobody
    /// has changed the database.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`]; [`Error::Anchor`] and [`Error::Key`]
    /// if the files beside the database cannot be used.
    pub async fn read(&self, keys: &[DocumentKey]) -> Result<Snapshot, Error> {
        let now = self.state().await?;
        if let Some(snapshot) = self.local.cache().snapshot(now, keys) {
            return Ok(snapshot);
        }
        let fetched = self.fetch_in(now, keys).await?;
        Ok(Snapshot {
            revision: fetched.head.position.revision,
            documents: fetched.documents,
        })
    }

    /// Reads one document, and returns the revision that it was read at; `None` if it does not
    /// exist.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn read_one(
        &self,
        key: &DocumentKey,
    ) -> Result<(Revision, Option<Arc<Document>>), Error> {
        let snapshot = self.read(std::slice::from_ref(key)).await?;
        let document = snapshot.documents.into_iter().next().flatten();
        Ok((snapshot.revision, document))
    }

    /// Returns the current revision of the store.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.read(&[]).await?.revision)
    }

    /// Reads the recipients that secrets are sealed to.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn recipients(&self) -> Result<Arc<Recipients>, Error> {
        let key = recipients::document_key();
        match self.read_one(&key).await?.1 {
            Some(document) => document.body(),
            None => Err(Tampering::new(Fault::Missing, key, "is missing").into()),
        }
    }

    /// Reads a blob that a document refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`] if it is missing or has another digest; [`Error::Unavailable`].
    pub async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let tampered = |fault, reason| {
            let what = format_args!("blob {digest}").to_string();
            Error::from(Tampering::new(fault, what, reason))
        };
        let bytes = self
            .backend
            .blob(digest)
            .await?
            .ok_or_else(|| tampered(Fault::Missing, "is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(tampered(Fault::Forged, "does not match its digest"));
        }
        Ok(bytes)
    }

    /// Reads at most `limit` journal entries after `after`, oldest first. Verifies that
    /// each follows the previous one, but not that the last leads to the newest:
    /// [`Store::check`] does that.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<JournalEntry>, Error> {
        let rows = self.backend.journal(after, limit).await?;
        let mut entries = Vec::with_capacity(rows.len());
        let mut before: Option<JournalPosition> = (after == 0).then(JournalPosition::default);
        for row in &rows {
            let entry = JournalEntry::parse(row)?;
            if before.is_some_and(|before| !entry.follows(before)) {
                return Err(JournalEntry::tampering(
                    row.revision,
                    "does not follow the previous entry",
                )
                .into());
            }
            before = Some(position_of(row));
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Reads the newest journal entry; `None` if there are no changes.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn newest_entry(&self) -> Result<Option<JournalEntry>, Error> {
        self.read(&[]).await?;
        let position = self.journal_head().position;
        let Some(before) = position.revision.checked_sub(1) else {
            return Ok(None);
        };
        let rows = self.backend.journal(before, 1).await?;
        match rows.first() {
            Some(row) if position_of(row) == position => Ok(Some(JournalEntry::parse(row)?)),
            Some(row) => {
                Err(JournalEntry::tampering(row.revision, "was replaced by another entry").into())
            }
            None => Err(rolled_back().into()),
        }
    }

    /// The present state of the anchor and the database. The anchor comes first, since it is
    /// updated after the database.
    async fn state(&self) -> Result<VerifiedIn, Error> {
        let anchor = self.local.anchor.stamp()?;
        let state = self.backend.state().await?;
        Ok(VerifiedIn { state, anchor })
    }

    /// Reads documents from the database. Verifies them against the journal, and the
    /// journal against the anchor.
    pub(super) async fn fetch(&self, keys: &[DocumentKey]) -> Result<Fetched, Error> {
        let now = self.state().await?;
        self.fetch_in(now, keys).await
    }

    /// Reads and verifies documents, where `now` is the present state.
    async fn fetch_in(&self, mut now: VerifiedIn, keys: &[DocumentKey]) -> Result<Fetched, Error> {
        loop {
            let (mut head, verified_in) = self.local.cache().journal();
            // The anchor is read before the database, since it is updated after it. It
            // need not be read again in the state that `head` was verified in.
            let anchored = if verified_in == Some(now) {
                head.position
            } else {
                self.local.anchor.read()?
            };
            let state = verified_in.map(|verified| verified.state);
            let rows = self
                .backend
                .read(keys, head.position.revision, state)
                .await?;
            if let Some(journal) = &rows.journal {
                head = head.advance(&journal.entries, anchored)?;
                if head.position.revision < journal.newest {
                    let head = self.catch_up(head, anchored).await?;
                    self.local.cache().advance_to(head, None);
                    now = self.state().await?;
                    continue;
                }
            }
            head.check_anchor(anchored)?;
            let (tree, documents) = self.verify(&head, keys, &rows)?;
            if head.position.revision > anchored.revision {
                self.advance_anchor(&head).await?;
            }
            let verified_in = VerifiedIn {
                state: rows.state,
                ..now
            };
            self.local
                .cache()
                .insert(&head, verified_in, keys, &documents);
            return Ok(Fetched {
                head,
                tree,
                documents,
            });
        }
    }

    /// Verifies the journal from `head` to its end.
    async fn catch_up(
        &self,
        mut head: JournalHead,
        anchored: JournalPosition,
    ) -> Result<JournalHead, Error> {
        loop {
            let after = head.position.revision;
            let rows = self.backend.journal(after.saturating_sub(1), PAGE).await?;
            head = head.advance(&rows, anchored)?;
            if head.position.revision == after {
                return Ok(head);
            }
        }
    }

    /// Verifies documents against the document tree.
    fn verify(
        &self,
        head: &JournalHead,
        keys: &[DocumentKey],
        rows: &Rows,
    ) -> Result<(Tree, Documents), Tampering> {
        let root = head.root();
        let mut tree = Tree::default();
        let mut documents = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(&rows.documents) {
            let expected = tree.load(root, key, &found.nodes)?;
            let document = match (expected, &found.row) {
                (None, None) => None,
                (None, Some(row)) => return Err(unexpected_document(key, row, &head.verifiers)),
                (Some(_), None) => {
                    return Err(Tampering::new(Fault::Missing, key, "is missing"));
                }
                (Some(expected), Some(row)) => {
                    let cached = self.local.cache().matching(key, row, expected);
                    Some(match cached {
                        Some(document) => document,
                        None => Arc::new(Document::verify(key, row, &head.verifiers, expected)?),
                    })
                }
            };
            documents.push(document);
        }
        Ok((tree, documents))
    }

    /// Records a verified head in the anchor, off the async runtime.
    async fn advance_anchor(&self, head: &JournalHead) -> Result<(), Error> {
        let (local, head) = (Arc::clone(&self.local), head.clone());
        let advanced = off_runtime(move || local.advance_anchor(head.position, &head.verifiers));
        Ok(advanced.await??)
    }
}

/// Reports a document that does not exist according to the journal.
fn unexpected_document(key: &DocumentKey, row: &SignedRow, verifiers: &[Verifier]) -> Tampering {
    match Document::verify(key, row, verifiers, Digest::of(&row.payload)) {
        Ok(_) => Tampering::new(
            Fault::Extra,
            key,
            "was removed, but is in the database again",
        ),
        Err(error) if error.fault() == Fault::Swapped => error,
        Err(_) => Tampering::new(Fault::Extra, key, "is not in the journal"),
    }
}
