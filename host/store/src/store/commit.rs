//! Commits of changes.

use std::sync::Arc;

use super::Store;
use super::batch::Batch;
use super::local_state::FileError;
use super::read::Documents;
use crate::backend::{BackendError, Writes};
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::journal::entry::{Author, Effect, JournalEntry};
use crate::journal::head::{JournalHead, position_of};
use crate::journal::position::{JournalPosition, Revision};
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::row::{DocumentKey, SignedRow};
use crate::signing::Verifier;
use crate::tampering::Tampering;
use crate::tree::Tree;

/// The state that a change is applied to.
struct Base<'a> {
    head: &'a JournalHead,
    tree: Tree,
    /// The documents that the change touches.
    documents: &'a Documents,
}

/// How a change affects the documents.
struct DocumentChanges {
    effects: Vec<Effect>,
    /// The new root of the document tree.
    root: Digest,
    /// The new number of documents.
    count: u64,
}

impl Store {
    /// Signs, journals and writes a change to the store as of revision `expected`, and
    /// returns the new revision.
    ///
    /// # Errors
    ///
    /// Nothing was written in case of [`Error::Conflict`] (the store is at another
    /// revision: read again and retry) and [`Error::Key`] (there is no signer).
    /// [`Error::NotAnchored`] means that the change was written, but the anchor could not
    /// be updated.
    pub async fn commit(
        &self,
        expected: Revision,
        batch: Batch,
        author: Author<'_>,
    ) -> Result<Revision, Error> {
        self.keys().check_can_write()?;
        let touched: Vec<DocumentKey> = batch
            .put
            .iter()
            .map(|(key, _)| key)
            .chain(&batch.remove)
            .cloned()
            .collect();
        let before = self.fetch(&touched).await?;
        let head = before.head;
        if head.position.revision != expected {
            return Err(Error::Conflict {
                expected,
                found: head.position.revision,
            });
        }
        let revision = expected.max(batch.after) + 1;
        let trust = batch.trust.clone();
        let base = Base {
            head: &head,
            tree: before.tree,
            documents: &before.documents,
        };
        let keys = self.keys_for_writing(&head).await;
        let writes = match keys.and_then(|keys| base.sign(&keys, revision, touched, batch, author))
        {
            // If the signer was rotated, the store has changed as well.
            Err(Error::Key(KeyError::OldSigner)) => {
                let found = self.fetch(&[]).await?.head.position.revision;
                if found == expected {
                    return Err(KeyError::OldSigner.into());
                }
                return Err(Error::Conflict { expected, found });
            }
            writes => writes?,
        };
        let position = position_of(&writes.entry);
        match self.backend.commit(expected, writes).await {
            Ok(()) => {}
            Err(BackendError::Conflict(found)) => {
                return Err(Error::Conflict { expected, found });
            }
            Err(error) => return Err(error.into()),
        }
        let mut verifiers = head.verifiers;
        if let Some(successor) = trust {
            verifiers.retain(|known| known.id() != successor.id());
            verifiers.insert(0, successor);
        }
        self.anchor_commit(position, verifiers).await?;
        Ok(revision)
    }

    /// Records a committed change in the anchor, off the async runtime.
    async fn anchor_commit(
        &self,
        position: JournalPosition,
        verifiers: Vec<Verifier>,
    ) -> Result<(), Error> {
        let local = Arc::clone(&self.local);
        off_runtime(move || local.advance_anchor(position, &verifiers))
            .await?
            .map_err(|error| match error {
                FileError::Anchor(error) => Error::NotAnchored(error),
                FileError::Key(error) => Error::Key(error),
            })
    }

    /// Returns keys with a signer that is allowed to write.
    async fn keys_for_writing(&self, head: &JournalHead) -> Result<Arc<Keys>, Error> {
        let keys = self.keys();
        let verifier = head.verifiers.first().ok_or(KeyError::NoSigner)?;
        match keys.signer_for(verifier) {
            // Another process may have rotated the signer since the keys were read.
            Err(KeyError::OldSigner) => self.reload_keys().await,
            _ => Ok(keys),
        }
    }
}

impl Base<'_> {
    /// Creates the rows of a change.
    fn sign(
        mut self,
        keys: &Keys,
        revision: Revision,
        touched: Vec<DocumentKey>,
        batch: Batch,
        author: Author<'_>,
    ) -> Result<Writes, Error> {
        let verifier = self.head.verifiers.first().ok_or(KeyError::NoSigner)?;
        let signer = keys.signer_for(verifier)?;
        let encoding = |error: serde_json::Error| BackendError::Failed(error.to_string());
        let mut put = Vec::with_capacity(batch.put.len());
        for (key, body) in batch.put {
            let row = Document::sign(&key, revision, &body, signer).map_err(encoding)?;
            put.push((key, row));
        }
        let add_blobs: Vec<(Digest, Vec<u8>)> = batch
            .add_blobs
            .into_iter()
            .map(|bytes| (Digest::of(&bytes), bytes))
            .collect();
        let changes = self.apply(touched, &put)?;
        let trusts = batch.trust.as_ref().map(|verifier| {
            verifier
                .to_pem()
                .ok_or_else(|| BackendError::Failed("a key cannot be encoded".to_owned()))
        });
        let entry = JournalEntry {
            revision,
            previous: self.head.position.entry,
            at_ms: author.at_ms,
            principal: author.principal.to_owned(),
            change: author.change.to_owned(),
            effects: changes.effects,
            blobs_added: add_blobs.iter().map(|(digest, _)| *digest).collect(),
            blobs_removed: batch.remove_blobs.clone(),
            documents: changes.root,
            count: changes.count,
            trusts: trusts.transpose()?,
        };
        Ok(Writes {
            entry: entry.sign(signer).map_err(encoding)?,
            put,
            remove: batch.remove,
            add_blobs,
            remove_blobs: batch.remove_blobs,
            tree: self.tree.into_changed(),
        })
    }

    /// Applies a change to the tree. `touched` begins with the keys of `put`; the other
    /// documents are removed.
    fn apply(
        &mut self,
        touched: Vec<DocumentKey>,
        put: &[(DocumentKey, SignedRow)],
    ) -> Result<DocumentChanges, Tampering> {
        let after = put.iter().map(|(_, row)| Some(Digest::of(&row.payload)));
        let mut changes = DocumentChanges {
            effects: Vec::with_capacity(touched.len()),
            root: self.head.root(),
            count: self.head.count(),
        };
        for ((key, document), after) in touched
            .into_iter()
            .zip(self.documents)
            .zip(after.chain(std::iter::repeat(None)))
        {
            changes.root = self.tree.set(&key, after)?;
            match (document, after) {
                (None, Some(_)) => changes.count += 1,
                (Some(_), None) => changes.count = changes.count.saturating_sub(1),
                _ => {}
            }
            changes.effects.push(Effect {
                key,
                before: document.as_ref().map(|document| document.digest()),
                after,
            });
        }
        Ok(changes)
    }
}
