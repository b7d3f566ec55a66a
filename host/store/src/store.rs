//! Reading what is verified, writing what is signed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use crate::Revision;
use crate::backend::{Backend, BackendError, HeadRow, SignedRow, Writes};
use crate::digest::Digest;
use crate::document::{Document, DocumentKey};
use crate::error::{Error, Tampering};
use crate::journal::{Author, Effect, Entry};
use crate::keys::Keys;

/// Documents kept verified and parsed; some ten megabytes. When there are more,
/// all are let go, which costs a signature check each to get back.
const KEPT_DOCUMENTS: usize = 2_000;

/// A database, with the keys to believe it and to change it.
pub struct Store {
    backend: Arc<dyn Backend>,
    keys: Keys,
    kept: Mutex<Kept>,
}

/// What has been verified, and when.
#[derive(Default)]
struct Kept {
    /// The state of the database that all this is of.
    state: Option<u64>,
    head: Head,
    documents: HashMap<DocumentKey, Option<Arc<Document>>>,
}

/// The newest journal entry.
#[derive(Clone, Copy, Default, PartialEq)]
struct Head {
    revision: Revision,
    digest: Option<Digest>,
}

/// Verified documents as of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The documents asked for, in the order asked.
    pub documents: Vec<Option<Arc<Document>>>,
}

/// What a change writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Documents to write, in place of what was there.
    pub put: Vec<(DocumentKey, Box<RawValue>)>,
    /// Documents to remove.
    pub remove: Vec<DocumentKey>,
    /// Blobs to add.
    pub add_blobs: Vec<Vec<u8>>,
    /// Blobs to overwrite and remove.
    pub remove_blobs: Vec<Digest>,
}

impl Store {
    /// Joins a database and keys. Nothing is read before it is asked for, so
    /// this takes the same time however much there is.
    pub fn new(backend: Arc<dyn Backend>, keys: Keys) -> Self {
        Store {
            backend,
            keys,
            kept: Mutex::default(),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Reads documents, all as of one revision.
    ///
    /// What was read and verified earlier is used again for as long as the
    /// database has not changed, whoever would have changed it.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn read(&self, keys: &[DocumentKey]) -> Result<Snapshot, Error> {
        let state = self.backend.state().await?;
        let (known_state, known) = {
            let kept = self.kept();
            if let Some(snapshot) = kept.snapshot(state, keys) {
                return Ok(snapshot);
            }
            (kept.state, kept.head)
        };
        let rows = self.backend.read(keys, known_state).await?;
        let head = self.verify_head(&rows.head, known)?;
        let mut documents = Vec::with_capacity(keys.len());
        for (key, row) in keys.iter().zip(&rows.documents) {
            let document = match row {
                Some(row) => Some(Arc::new(Document::verify(key, row, self.keys.verifier())?)),
                None => None,
            };
            if document
                .as_ref()
                .is_some_and(|document| document.revision() > head.revision)
            {
                return Err(Tampering::new(key, "is newer than the journal").into());
            }
            documents.push(document);
        }
        self.kept().take_over(rows.state, head, keys, &documents);
        Ok(Snapshot {
            revision: head.revision,
            documents,
        })
    }

    /// The names of the documents of `kind` that are `under` or lie below it,
    /// after `after`, in byte order, at most `limit`. A name that was planted is
    /// found out when its document is read.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`].
    pub async fn names(
        &self,
        kind: &str,
        under: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        Ok(self.backend.names(kind, under, after, limit).await?)
    }

    /// The revision that the store is at.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.read(&[]).await?.revision)
    }

    /// Reads a blob that a document names.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`] if it is missing or is something else.
    pub async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let tampered = |how| Error::from(Tampering::new(format_args!("blob {digest}"), how));
        let bytes = self
            .backend
            .blob(digest)
            .await?
            .ok_or_else(|| tampered("is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(tampered("holds other bytes than its name says"));
        }
        Ok(bytes)
    }

    /// Reads and verifies journal entries after `after`, oldest first, at most
    /// `limit`, each against the one before within what is read.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<Entry>, Error> {
        let rows = self.backend.journal(after, limit).await?;
        let mut entries = Vec::with_capacity(rows.len());
        let mut before: Option<&SignedRow> = None;
        for row in &rows {
            let entry = Entry::verify(row, self.keys.verifier())?;
            let follows = match before {
                Some(before) => {
                    entry.previous == Some(Digest::of(&before.payload))
                        && entry.revision == before.revision + 1
                }
                None => after > 0 || (entry.revision == 1 && entry.previous.is_none()),
            };
            if !follows {
                let what = format_args!("journal entry {}", entry.revision).to_string();
                return Err(Tampering::new(what, "does not follow the one before").into());
            }
            entries.push(entry);
            before = Some(row);
        }
        Ok(entries)
    }

    /// Applies a change to the store as it was at `expected`, signs and journals
    /// it, and returns the new revision.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the store is at another revision; read again, and
    /// try again. [`Error::Key`] without a signer. In each case nothing was
    /// written.
    pub async fn commit(
        &self,
        expected: Revision,
        batch: Batch,
        author: Author<'_>,
    ) -> Result<Revision, Error> {
        let signer = self.keys.signer()?;
        let revision = expected + 1;
        let touched: Vec<DocumentKey> = batch
            .put
            .iter()
            .map(|(key, _)| key)
            .chain(&batch.remove)
            .cloned()
            .collect();
        let before = self.read(&touched).await?;
        let head = self.kept().head;
        if before.revision != expected || head.revision != expected {
            return Err(Error::Conflict {
                expected,
                found: before.revision,
            });
        }
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
        let after = put.iter().map(|(_, row)| Some(Digest::of(&row.payload)));
        let effects = touched
            .iter()
            .zip(&before.documents)
            .zip(after.chain(std::iter::repeat(None)))
            .map(|((key, before), after)| Effect {
                key: key.clone(),
                before: before.as_ref().map(|document| document.digest()),
                after,
            })
            .collect();
        let entry = Entry {
            revision,
            previous: head.digest,
            at_ms: author.at_ms,
            principal: author.principal.to_owned(),
            change: author.change.to_owned(),
            effects,
            blobs_added: add_blobs.iter().map(|(digest, _)| *digest).collect(),
            blobs_removed: batch.remove_blobs.clone(),
        };
        let writes = Writes {
            entry: entry.sign(signer).map_err(encoding)?,
            put,
            remove: batch.remove,
            add_blobs,
            remove_blobs: batch.remove_blobs,
        };
        match self.backend.commit(expected, writes).await {
            Ok(()) => Ok(revision),
            Err(BackendError::Conflict(found)) => Err(Error::Conflict { expected, found }),
            Err(error) => Err(error.into()),
        }
    }

    /// `known` is the head that this process knew of before it read `row`.
    fn verify_head(&self, row: &HeadRow, known: Head) -> Result<Head, Error> {
        let head = match row {
            HeadRow::Unchanged => return Ok(known),
            HeadRow::Empty => Head::default(),
            HeadRow::Entry(row) => {
                let entry = Entry::verify(row, self.keys.verifier())?;
                Head {
                    revision: entry.revision,
                    digest: Some(Digest::of(&row.payload)),
                }
            }
        };
        if head.revision < known.revision {
            return Err(Tampering::new("the journal", "has gone back to an earlier entry").into());
        }
        if head.revision == known.revision && head != known {
            return Err(
                Tampering::new("the journal", "has another newest entry than before").into(),
            );
        }
        Ok(head)
    }

    /// Nothing in here can be half done when a thread panics.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// All of `keys`, if they have been read at this very state.
    fn snapshot(&self, state: u64, keys: &[DocumentKey]) -> Option<Snapshot> {
        if self.state != Some(state) {
            return None;
        }
        let documents = keys
            .iter()
            .map(|key| self.documents.get(key).cloned())
            .collect::<Option<_>>()?;
        Some(Snapshot {
            revision: self.head.revision,
            documents,
        })
    }

    fn take_over(
        &mut self,
        state: u64,
        head: Head,
        keys: &[DocumentKey],
        documents: &[Option<Arc<Document>>],
    ) {
        // A slower reader must not bring back what a faster one has seen pass.
        if head.revision < self.head.revision {
            return;
        }
        if self.state != Some(state) || self.documents.len() + keys.len() > KEPT_DOCUMENTS {
            self.documents.clear();
        }
        self.state = Some(state);
        self.head = head;
        self.documents
            .extend(keys.iter().cloned().zip(documents.iter().cloned()));
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
