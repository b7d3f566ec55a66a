//! Reads of verified documents, blobs and journal entries.

use std::sync::Arc;

use super::Store;
use super::cache::{Snapshot, VerifiedIn};
use crate::backend::Rows;
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::journal::checkpoint::{Checkpoint, rolled_back};
use crate::journal::entry::JournalEntry;
use crate::journal::head::JournalHead;
use crate::journal::history::History;
use crate::journal::position::{JournalPosition, Revision};
use crate::journal::search::was_written;
use crate::keyring::Keyring;
use crate::row::DocumentKey;
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
            freshness: fetched.head.freshness(),
            keyring: fetched.head.keyring,
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

    /// Returns the keyring that is in force.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Error> {
        Ok(self.read(&[]).await?.keyring)
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
            let checkpoint = Checkpoint::parse(row)?;
            if before.is_some_and(|before| !checkpoint.follows(before)) {
                return Err(row.tampering("does not follow the previous entry").into());
            }
            before = Some(row.position());
            entries.push(JournalEntry::parse(row)?);
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
            Some(row) if row.position() == position => Ok(Some(JournalEntry::parse(row)?)),
            Some(row) => Err(row.tampering("was replaced by another entry").into()),
            None => Err(rolled_back().into()),
        }
    }

    /// The present state of the anchor and the database. The anchor comes first, since it is
    /// updated after the database.
    pub(super) async fn state(&self) -> Result<VerifiedIn, Error> {
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
    async fn fetch_in(&self, now: VerifiedIn, keys: &[DocumentKey]) -> Result<Fetched, Error> {
        match self.fetch_verified(now, keys).await {
            Err(error @ Error::Tampered(_)) => {
                Err(self.restored_elsewhere().await.unwrap_or(error))
            }
            fetched => fetched,
        }
    }

    /// The error if the database is not in the state that this machine saw last because owners
    /// that it trusts restored an earlier one: the keyrings lead from the one that it knows to one
    /// of a new lineage. That is no reason to believe the database, and a person decides. Reads the
    /// whole journal.
    pub(super) async fn restored_elsewhere(&self) -> Option<Error> {
        let known = self.known_keyring();
        let anchored = self.local.anchor.read_record().ok()?;
        let history = History::of(&*self.backend).await.ok()?;
        let keyring = history.keyring();
        let is_new_lineage =
            keyring.lineage() != known.lineage() && keyring.lineage() != anchored.lineage();
        let is_restored = is_new_lineage
            && keyring.number() > known.number()
            && history.descends_from(&known)
            && !history.has(anchored.position());
        is_restored.then(|| Error::RestoredElsewhere {
            found: history.position().revision,
            seen: anchored.position().revision,
        })
    }

    async fn fetch_verified(
        &self,
        mut now: VerifiedIn,
        keys: &[DocumentKey],
    ) -> Result<Fetched, Error> {
        loop {
            let (mut head, verified_in) = self.local.cache().journal();
            // The anchor is read before the database, since it is updated after it. It
            // need not be read again in the state that `head` was verified in.
            let anchored = if verified_in == Some(now) {
                head.position
            } else {
                self.local.anchor.read()?
            };
            self.check_leads_to(&head, anchored).await?;
            let state = verified_in.map(|verified| verified.state);
            let rows = self.backend.read(keys, head.start(), state).await?;
            if let Some(journal) = &rows.journal {
                head = head.advance_to(journal, anchored)?;
                if head.position.revision < journal.newest {
                    let head = self.catch_up(head, anchored).await?;
                    self.local.cache().advance_to(head, None);
                    now = self.state().await?;
                    continue;
                }
            }
            head.check_anchor(anchored)?;
            let (tree, documents) = self.verify(&head, keys, &rows).await?;
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

    /// Fails unless the anchored entry leads to `head`, if `head` does not come before it. It does,
    /// unless the store was restored, which alone moves the anchor back: then the entries that
    /// this process has verified are those of a store that was given up.
    async fn check_leads_to(
        &self,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> Result<(), Error> {
        let end = head.position;
        if anchored == end || anchored.revision == 0 || anchored.revision > end.revision {
            return Ok(());
        }
        let mut before: Option<JournalPosition> = None;
        let mut after = anchored.revision - 1;
        while after < end.revision {
            let rows = self.backend.journal(after, PAGE).await?;
            after = rows.last().ok_or_else(rolled_back)?.revision;
            for row in rows.iter().filter(|row| row.revision <= end.revision) {
                let position = row.position();
                let is_linked = match before {
                    None => position == anchored,
                    Some(before) => Checkpoint::parse(row)?.follows(before),
                };
                if !is_linked || position.revision == end.revision && position != end {
                    return Err(row.tampering("was replaced by another entry").into());
                }
                before = Some(position);
            }
        }
        Ok(())
    }

    /// Verifies the journal from `head` to its end.
    pub(super) async fn catch_up(
        &self,
        mut head: JournalHead,
        anchored: JournalPosition,
    ) -> Result<JournalHead, Error> {
        loop {
            let start = head.start();
            let rows = self
                .backend
                .journal(start.revision.saturating_sub(1), PAGE)
                .await?;
            // After the entries, since they name these.
            let keyrings = self.backend.keyrings(start.keyring).await?;
            head = head.advance(&rows, &keyrings, anchored)?;
            if head.position.revision == start.revision {
                return Ok(head);
            }
        }
    }

    /// Verifies documents against the document tree.
    async fn verify(
        &self,
        head: &JournalHead,
        keys: &[DocumentKey],
        rows: &Rows,
    ) -> Result<(Tree, Documents), Error> {
        let root = head.root();
        let mut tree = Tree::default();
        let mut documents = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(&rows.documents) {
            let expected = tree.load(root, key, &found.nodes)?;
            let document = match (expected, &found.bytes) {
                (None, None) => None,
                (None, Some(bytes)) => return Err(self.unexpected(key, bytes).await),
                (Some(_), None) => {
                    return Err(Tampering::new(Fault::Missing, key, "is missing").into());
                }
                (Some(expected), Some(bytes)) => {
                    let cached = self.local.cache().matching(key, bytes, expected);
                    Some(match cached {
                        Some(document) => document,
                        None => match Document::verify(key, bytes, expected) {
                            Ok(document) => Arc::new(document),
                            Err(error) => return Err(self.changed(key, bytes, error).await),
                        },
                    })
                }
            };
            documents.push(document);
        }
        Ok((tree, documents))
    }

    /// Reports a document that does not exist according to the journal.
    async fn unexpected(&self, key: &DocumentKey, bytes: &[u8]) -> Error {
        match self.was_written(key, bytes).await {
            Ok(true) => removed_document(key).into(),
            // It may be a document from another place.
            Ok(false) => match Document::verify(key, bytes, Digest::of(&[])) {
                Err(error) if error.fault() == Fault::Swapped => error.into(),
                _ => unknown_document(key).into(),
            },
            Err(error) => error,
        }
    }

    /// Reports a document that is not the one that the journal names.
    async fn changed(&self, key: &DocumentKey, bytes: &[u8], error: Tampering) -> Error {
        if error.fault() == Fault::Newer {
            return error.into();
        }
        match self.was_written(key, bytes).await {
            Ok(true) => old_document(key).into(),
            Ok(false) => error.into(),
            Err(error) => error,
        }
    }

    /// Whether any change wrote these bytes as the document `key`. Reads the whole journal.
    async fn was_written(&self, key: &DocumentKey, bytes: &[u8]) -> Result<bool, Error> {
        was_written(|after| self.backend.journal(after, PAGE), key, bytes).await
    }

    /// Records a verified head in the anchor, off the async runtime.
    pub(super) async fn advance_anchor(&self, head: &JournalHead) -> Result<(), Error> {
        let (local, head) = (Arc::clone(&self.local), head.clone());
        let advanced = off_runtime(move || local.advance_anchor(&head));
        Ok(advanced.await??)
    }
}

/// Reports an earlier version of a document in the place of the newest.
pub(crate) fn old_document(key: &DocumentKey) -> Tampering {
    Tampering::new(
        Fault::Stale,
        key,
        "is not the newest version in the journal",
    )
}

/// Reports a document that was removed.
pub(crate) fn removed_document(key: &DocumentKey) -> Tampering {
    let reason = "was removed, but is in the database again";
    Tampering::new(Fault::Extra, key, reason)
}

/// Reports a document that no change wrote.
pub(crate) fn unknown_document(key: &DocumentKey) -> Tampering {
    Tampering::new(Fault::Extra, key, "is not in the journal")
}
