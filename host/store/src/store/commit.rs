//! Commits of changes.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Store;
use super::batch::{Batch, Form, NewKeyring};
use super::local_state::FileError;
use super::read::Documents;
use crate::backend::{BackendError, Writes};
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::journal::checkpoint::{Checkpoint, State};
use crate::journal::delegation;
use crate::journal::entry::{Author, ChangeRecord, Effect};
use crate::journal::head::JournalHead;
use crate::journal::position::Revision;
use crate::keyring::Keyring;
use crate::keyring::chain::KeyringChain;
use crate::keyring::proposal::{Contents, Proposal, ProposedDocument};
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::row::{DocumentKey, JournalRow};
use crate::statement;
use crate::tampering::Tampering;
use crate::tree::{self, Tree};

/// The state that a change is applied to.
struct Base {
    head: JournalHead,
    tree: Tree,
    /// The documents that the change touches.
    documents: Documents,
}

/// A new keyring, with the signatures that there are.
struct SignedKeyring {
    before: Vec<Arc<Keyring>>,
    keyring: Keyring,
    /// Whether enough owners signed it.
    is_complete: bool,
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
    /// revision: read again and retry), [`Error::Key`] (there is no signer), and
    /// [`Error::OwnersRequired`] (this machine has too few owner keys for a new keyring; the
    /// proposal in the error has the signatures of those that it has). [`Error::NotAnchored`]
    /// means that the change was written, but the anchor could not be updated.
    pub async fn commit(
        &self,
        expected: Revision,
        mut batch: Batch,
        author: Author<'_>,
    ) -> Result<Revision, Error> {
        self.keys().check_can_write()?;
        let own_documents = batch.put.len();
        batch.put.extend(batch.author.take());
        let touched: Vec<DocumentKey> = batch
            .put
            .iter()
            .map(|(key, _)| key)
            .chain(&batch.remove)
            .cloned()
            .collect();
        if let Some(key) = touched.iter().find(|key| !tree::is_valid(key)) {
            let error = format!("{key} is longer than a document's name can be");
            return Err(BackendError::Failed(error).into());
        }
        let before = self.fetch(&touched).await?;
        let head = before.head;
        if head.position.revision != expected {
            return Err(Error::Conflict {
                expected,
                found: head.position.revision,
            });
        }
        let keys = self.keys_for_writing(&head.keyring).await?;
        let base = Base {
            head,
            tree: before.tree,
            documents: before.documents,
        };
        let keyrings = match batch.keyring.take() {
            None => Vec::new(),
            Some(new) => {
                let contents = base.contents(&batch, own_documents, &touched, author.change);
                let signed = self.sign_keyring(&keys, &base, new, &contents, author.at_ms);
                let signed = signed.await?;
                if !signed.is_complete {
                    let proposal = self.propose(signed, contents, &base).await?;
                    return Err(Error::OwnersRequired(Box::new(proposal)));
                }
                signed
                    .before
                    .into_iter()
                    .chain([Arc::new(signed.keyring)])
                    .collect()
            }
        };
        let (principal, at_ms, log) = (author.principal, author.at_ms, author.log);
        let change = author.change.to_owned();
        // The signer may be elsewhere, and wait for somebody.
        let signed = off_runtime(move || {
            let author = Author {
                principal,
                at_ms,
                change: &change,
                log,
            };
            base.sign(&keys, touched, batch, keyrings, author)
        });
        let (writes, after) = match signed.await? {
            // If the signer was rotated, the store has changed as well.
            Err(Error::Key(KeyError::OldSigner)) => {
                let found = self.fetch(&[]).await?.head.position.revision;
                if found == expected {
                    return Err(KeyError::OldSigner.into());
                }
                return Err(Error::Conflict { expected, found });
            }
            signed => signed?,
        };
        match self.backend.commit(expected, writes).await {
            Ok(()) => {}
            Err(BackendError::Conflict(found)) => {
                return Err(Error::Conflict { expected, found });
            }
            Err(error) => return Err(error.into()),
        }
        let revision = after.position.revision;
        self.anchor_commit(after.clone()).await?;
        // What this process signed itself needs no proof, not even if it begins a lineage.
        self.local.cache().advance_to(after, None);
        Ok(revision)
    }

    /// Signs a new keyring with the owner keys of this machine, unless it is signed already.
    async fn sign_keyring(
        &self,
        keys: &Arc<Keys>,
        base: &Base,
        new: NewKeyring,
        contents: &Contents,
        at_ms: u64,
    ) -> Result<SignedKeyring, Error> {
        let current = &base.head.keyring;
        keys.check_not_limited(current)?;
        let previous = Arc::clone(new.before.last().unwrap_or(current));
        let keys = Arc::clone(keys);
        let before = Arc::clone(&previous);
        // The owner key may be elsewhere, and wait for somebody.
        let keyring = match new.form {
            Form::Signed(keyring) => Keyring::clone(&keyring),
            Form::Draft(mut draft) => {
                if keys.needs_other_owners(&before, &draft, new.takes_over) {
                    draft.proposal = Some(contents.digest());
                }
                off_runtime(move || keys.sign_keyring(&before, &draft, at_ms)).await??
            }
        };
        let signatures = keyring.signatures(&previous)?;
        let missing = if new.takes_over {
            signatures.missing_of_its_own
        } else {
            signatures.missing()
        };
        Ok(SignedKeyring {
            before: new.before,
            keyring,
            is_complete: missing == 0,
        })
    }

    /// Proposes a change of the keyring that more owners must sign.
    async fn propose(
        &self,
        signed: SignedKeyring,
        contents: Contents,
        base: &Base,
    ) -> Result<Proposal, Error> {
        let mut keyrings = self.backend.keyrings(0).await?;
        if keyrings.is_empty() {
            keyrings.push(base.head.keyring.statement().clone());
        }
        let before = signed.before.iter();
        keyrings.extend(before.map(|keyring| keyring.statement().clone()));
        Ok(Proposal {
            keyrings: KeyringChain::parse(None, None, &keyrings)?,
            keyring: signed.keyring,
            contents,
        })
    }

    /// Records a committed change in the anchor, off the async runtime.
    async fn anchor_commit(&self, after: JournalHead) -> Result<(), Error> {
        let local = Arc::clone(&self.local);
        off_runtime(move || local.advance_anchor(&after))
            .await?
            .map_err(|error| match error {
                FileError::Anchor(error) => Error::NotAnchored(error),
                FileError::Key(error) => Error::Key(error),
            })
    }

    /// Returns keys with a signer that is allowed to write under `keyring`, if there are any.
    pub(super) async fn keys_for_writing(&self, keyring: &Keyring) -> Result<Arc<Keys>, Error> {
        let keys = self.keys();
        match keys.signer_for(keyring) {
            // Another process may have rotated the signer since the keys were read.
            Err(KeyError::OldSigner) => self.reload_keys().await,
            _ => Ok(keys),
        }
    }
}

impl Base {
    /// What a change writes besides the keyring. `touched` begins with the documents of the batch,
    /// the first `own` of which belong to the change.
    fn contents(
        &self,
        batch: &Batch,
        own: usize,
        touched: &[DocumentKey],
        change: &RawValue,
    ) -> Contents {
        let bodies = batch.put.iter().map(|(_, body)| Some(body.clone()));
        let bodies = bodies.chain(std::iter::repeat(None));
        let documents = touched.iter().zip(&self.documents).zip(bodies).enumerate();
        let is_of_change = |at: usize| at < own || at >= batch.put.len();
        Contents {
            change: change.to_owned(),
            documents: documents
                .filter(|(at, _)| is_of_change(*at))
                .map(|(_, ((key, before), body))| ProposedDocument {
                    key: key.clone(),
                    before: before.as_ref().map(|before| before.digest()),
                    body,
                })
                .collect(),
            add_blobs: batch.add_blobs.clone(),
            remove_blobs: batch.remove_blobs.clone(),
        }
    }

    /// Creates the rows of a change. Also returns the head after it.
    fn sign(
        mut self,
        keys: &Keys,
        touched: Vec<DocumentKey>,
        batch: Batch,
        mut keyrings: Vec<Arc<Keyring>>,
        author: Author<'_>,
    ) -> Result<(Writes, JournalHead), Error> {
        let encoding = |error: serde_json::Error| BackendError::Failed(error.to_string());
        if self.head.position.revision == 0 {
            // The first keyring is in the database from the first change on.
            keyrings.insert(0, Arc::clone(&self.head.keyring));
        }
        let keyring = Arc::clone(keyrings.last().unwrap_or(&self.head.keyring));
        let signer = keys.signer_for(&keyring)?;
        let revision = self.head.position.revision + 1;
        let mut put = Vec::with_capacity(batch.put.len());
        for (key, body) in batch.put {
            let bytes = Document::encode(&key, revision, &body).map_err(encoding)?;
            put.push((key, bytes));
        }
        let add_blobs: Vec<(Digest, Vec<u8>)> = batch
            .add_blobs
            .into_iter()
            .map(|bytes| (Digest::of(&bytes), bytes))
            .collect();
        let scopes = keyring.scopes_of(&[signer.id()]);
        if let Some(scopes) = &scopes {
            check_delegation(scopes, &touched, !keyrings.is_empty())?;
        }
        let proof = scopes.map(|_| delegation::proof(&self.tree));
        let changes = self.apply(touched, &put)?;
        let record = ChangeRecord {
            version: statement::VERSION,
            principal: author.principal,
            change: author.change.to_owned(),
            effects: changes.effects,
            blobs_added: add_blobs.iter().map(|(digest, _)| *digest).collect(),
            blobs_removed: batch.remove_blobs.clone(),
            proof,
        };
        let change = serde_json::to_vec(&record).map_err(encoding)?;
        let state = State {
            change: Digest::of(&change),
            tree: changes.root,
            documents: changes.count,
            at_ms: author.at_ms,
            // Others must not have to believe a limited signer about a log.
            log: author.log.filter(|_| record.proof.is_none()),
        };
        let checkpoint = Checkpoint::after(self.head.position, &keyring, state);
        let entry = JournalRow {
            revision,
            checkpoint: checkpoint.sign(signer).map_err(KeyError::from)?,
            change,
        };
        let is_confirmed = keyring.scopes_of(&[signer.id()]).is_none();
        let after = JournalHead {
            position: entry.position(),
            checkpoint: Some(Arc::new(checkpoint)),
            is_confirmed,
            heartbeat: None,
            keyring,
        };
        let writes = Writes {
            entry,
            keyrings: keyrings
                .iter()
                .map(|keyring| (keyring.number(), keyring.statement().clone()))
                .collect(),
            put,
            remove: batch.remove,
            add_blobs,
            remove_blobs: batch.remove_blobs,
            tree: self.tree.into_changed(),
        };
        Ok((writes, after))
    }

    /// Applies a change to the tree. `touched` begins with the keys of `put`; the other
    /// documents are removed.
    fn apply(
        &mut self,
        touched: Vec<DocumentKey>,
        put: &[(DocumentKey, Vec<u8>)],
    ) -> Result<DocumentChanges, Tampering> {
        let after = put.iter().map(|(_, bytes)| Some(Digest::of(bytes)));
        let mut changes = DocumentChanges {
            effects: Vec::with_capacity(touched.len()),
            root: self.head.root(),
            count: self.head.count(),
        };
        for ((key, document), after) in touched
            .into_iter()
            .zip(&self.documents)
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

/// Fails if a change touches more than a signer of `scopes` may change.
fn check_delegation(
    scopes: &[String],
    touched: &[DocumentKey],
    changes_keyring: bool,
) -> Result<(), KeyError> {
    let outside = |what: String| KeyError::OutsideDelegation {
        scopes: scopes.to_owned(),
        what,
    };
    if changes_keyring {
        return Err(outside("the keyring".to_owned()));
    }
    let mut touched = touched.iter();
    match touched.find(|key| !delegation::is_within(scopes, key)) {
        Some(key) => Err(outside(key.to_string())),
        None => Ok(()),
    }
}
