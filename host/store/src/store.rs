//! Reading what is verified, writing what is signed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::value::RawValue;

use crate::Revision;
use crate::anchor::{Anchor, Mark};
use crate::backend::{Backend, BackendError, Frozen, Rows, SignedRow, Writes};
use crate::digest::Digest;
use crate::document::{Document, DocumentKey};
use crate::error::{Error, Fault, Tampering};
use crate::files;
use crate::journal::{Author, Effect, Entry};
use crate::keys::{KeyError, Keys};
use crate::known::{Known, gone_back, mark_of};
use crate::recipients::{self, Recipients};
use crate::sealing::{Binding, Fields, SealError};
use crate::signing::Verifier;
use crate::tree::{self, Tree};
use crate::verification;

/// Documents kept verified and parsed; some ten megabytes. When there are more,
/// all are let go, which costs a signature check each to get back.
const KEPT_DOCUMENTS: usize = 2_000;

/// Journal entries read at a time, when there are many new ones.
const PAGE: usize = 1_000;

/// A database, with the keys to believe it and to change it, and the anchor that
/// remembers how far it had come.
pub struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    keys: RwLock<Arc<Keys>>,
    anchor: Anchor,
    kept: Mutex<Kept>,
}

/// What has been verified, and when.
struct Kept {
    known: Known,
    /// The state of the database that `known` is of.
    state: Option<u64>,
    documents: HashMap<DocumentKey, KeptDocument>,
    /// The names of all documents after one journal entry, in order.
    names: Option<(Mark, Names)>,
}

type Names = Arc<[DocumentKey]>;

struct KeptDocument {
    /// The state of the database that it was last held against.
    state: u64,
    document: Option<Arc<Document>>,
}

/// Verified documents as of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The documents asked for, in the order asked.
    pub documents: Vec<Option<Arc<Document>>>,
}

/// Documents in the order in which they were asked for; none where there is none.
type Documents = Vec<Option<Arc<Document>>>;

/// What was read anew.
struct Fetched {
    known: Known,
    /// The nodes above the documents.
    tree: Tree,
    documents: Vec<Option<Arc<Document>>>,
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
    /// The key that signs what comes after, if it is another.
    pub trust: Option<Verifier>,
    /// The revision that the new one comes after, if that is later than the
    /// newest: what was undone keeps its number for itself.
    pub after: Revision,
}

impl Store {
    /// Joins a database, keys and the anchor. The journal is held against the anchor
    /// before anything else is believed; no more is read than what is asked for, so
    /// this takes the same time however much there is.
    ///
    /// # Errors
    ///
    /// [`Error::Anchor`].
    pub fn open(backend: Arc<dyn Backend>, keys: Keys, anchor: Anchor) -> Result<Self, Error> {
        // As they are at one moment: the power to write may go to another key while
        // they are read.
        let (mark, keys) = loop {
            let mark = anchor.read()?;
            let keys = keys.again()?;
            if anchor.read()? == mark {
                break (mark, keys);
            }
        };
        let known = Known {
            mark,
            documents: None,
            verifiers: keys.verifiers().to_vec(),
        };
        Ok(Store {
            backend,
            keys: RwLock::new(Arc::new(keys)),
            anchor,
            kept: Mutex::new(Kept {
                known,
                state: None,
                documents: HashMap::new(),
                names: None,
            }),
        })
    }

    /// The keys.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files of the keys again: somebody else may have renewed them.
    ///
    /// # Errors
    ///
    /// [`Error::Key`].
    pub fn read_keys_again(&self) -> Result<Arc<Keys>, Error> {
        let keys = Arc::new(self.keys().again()?);
        self.use_keys(Arc::clone(&keys));
        Ok(keys)
    }

    pub(crate) fn use_keys(&self, keys: Arc<Keys>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Whose signature holds: the present key first, then the one of before while
    /// documents still have its signature.
    pub fn verifiers(&self) -> Vec<Verifier> {
        self.kept().known.verifiers.clone()
    }

    /// Opens a sealed secret, if it belongs to `expected`.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] without an open identity; else [`SealError`].
    pub fn unseal(
        &self,
        sealed: &[u8],
        expected: &Binding,
    ) -> Result<Result<Fields, SealError>, Error> {
        match self.keys().unseal(sealed, expected)? {
            // The identity may have been renewed since the keys were read.
            Err(SealError::NotForThisIdentity) => {
                Ok(self.read_keys_again()?.unseal(sealed, expected)?)
            }
            opened => Ok(opened),
        }
    }

    /// Who secrets are sealed to.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn recipients(&self) -> Result<Arc<Recipients>, Error> {
        let key = recipients::document_key();
        let snapshot = self.read(std::slice::from_ref(&key)).await?;
        match snapshot.documents.into_iter().next().flatten() {
            Some(document) => document.body(),
            None => Err(Tampering::new(Fault::Missing, key, "is missing").into()),
        }
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
        if let Some(snapshot) = self.kept().snapshot(state, keys) {
            return Ok(snapshot);
        }
        let fetched = self.fetch(keys).await?;
        Ok(Snapshot {
            revision: fetched.known.mark.revision,
            documents: fetched.documents,
        })
    }

    /// Reads documents from the database, and holds them against the journal, and
    /// that against the anchor.
    async fn fetch(&self, keys: &[DocumentKey]) -> Result<Fetched, Error> {
        loop {
            let (mut known, state) = self.kept().journal();
            // Before the database: it is told after it, so it is never ahead. What was
            // held against it in this very state need not be again.
            let anchored = match state == Some(self.backend.state().await?) {
                true => known.mark,
                false => self.anchor.read()?,
            };
            let rows = self.backend.read(keys, known.mark.revision, state).await?;
            if let Some(journal) = &rows.journal {
                known = known.follow(&journal.entries, anchored)?;
                if known.mark.revision < journal.newest {
                    let known = self.catch_up(known, anchored).await?;
                    self.kept().raise(known, None);
                    continue;
                }
            }
            if known.mark.revision < anchored.revision {
                return Err(gone_back().into());
            }
            let (tree, documents) = self.verify(&known, keys, &rows)?;
            self.tell_anchor(&known, anchored)?;
            self.kept().take_over(&known, rows.state, keys, &documents);
            return Ok(Fetched {
                known,
                tree,
                documents,
            });
        }
    }

    /// Follows the journal to its end.
    async fn catch_up(&self, mut known: Known, anchored: Mark) -> Result<Known, Error> {
        loop {
            let after = known.mark.revision;
            let rows = self.backend.journal(after.saturating_sub(1), PAGE).await?;
            known = known.follow(&rows, anchored)?;
            if known.mark.revision == after {
                return Ok(known);
            }
        }
    }

    /// Holds what was read against the tree of documents.
    fn verify(
        &self,
        known: &Known,
        keys: &[DocumentKey],
        rows: &Rows,
    ) -> Result<(Tree, Documents), Tampering> {
        let root = known.root();
        let mut tree = Tree::default();
        let mut documents = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(&rows.documents) {
            let told = tree.take(root, key, &found.nodes)?;
            let document = match (told, &found.row) {
                (None, None) => None,
                (None, Some(row)) => return Err(uninvited(key, row, &known.verifiers)),
                (Some(_), None) => {
                    return Err(Tampering::new(Fault::Missing, key, "is missing"));
                }
                (Some(told), Some(row)) => {
                    let kept = self.kept().verified(key, row, told);
                    Some(match kept {
                        Some(document) => document,
                        None => Arc::new(Document::verify(key, row, &known.verifiers, told)?),
                    })
                }
            };
            documents.push(document);
        }
        Ok((tree, documents))
    }

    /// Lets the anchor remember what is known; whom to believe is written down
    /// first, since the anchor is where the next look at the journal begins.
    fn tell_anchor(&self, known: &Known, anchored: Mark) -> Result<(), StoreFile> {
        if known.mark.revision <= anchored.revision {
            return Ok(());
        }
        self.anchor
            .advance(known.mark, || self.write_down(&known.verifiers))
    }

    /// Writes down whose signature holds, if it is another's than before. Only to be
    /// called on the way of the anchor, so that no slower process brings back what was.
    fn write_down(&self, verifiers: &[Verifier]) -> Result<(), StoreFile> {
        let present = |verifiers: &[Verifier]| verifiers.first().map(|key| key.id().clone());
        if present(self.keys().verifiers()) == present(verifiers) {
            return Ok(());
        }
        let mut keys = self.keys().again()?;
        if present(keys.verifiers()) != present(verifiers) {
            keys.set_verifiers(verifiers)?;
        }
        self.use_keys(Arc::new(keys));
        Ok(())
    }

    /// The names of the documents of `kind` that are `under` or lie below it,
    /// after `after`, in byte order, at most `limit`. An empty `under` is all of the kind.
    ///
    /// They are exactly those that the newest journal entry settles, however the database
    /// looks them up: the first call after a change reads the names of all documents and
    /// the whole tree, and holds the ones against the other.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn names(
        &self,
        kind: &str,
        under: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let all = self.all_names().await?;
        let is_under = |name: &str| match name.strip_prefix(under) {
            Some(below) => under.is_empty() || below.is_empty() || below.starts_with('/'),
            None => false,
        };
        let from = after.filter(|after| *after > under).unwrap_or(under);
        let start = all.partition_point(|key| (&*key.kind, &*key.name) < (kind, from));
        let names = all
            .iter()
            .skip(start)
            // What begins like `under` stands together.
            .take_while(|key| key.kind == kind && key.name.starts_with(under))
            .map(|key| &key.name)
            .filter(|name| is_under(name) && after.is_none_or(|after| name.as_str() > after))
            .take(limit);
        Ok(names.cloned().collect())
    }

    /// The names of all documents, in order.
    async fn all_names(&self) -> Result<Names, Error> {
        let mut known = self.fetch(&[]).await?.known;
        if let Some((mark, names)) = &self.kept().names
            && *mark == known.mark
        {
            return Ok(Arc::clone(names));
        }
        let anchored = self.anchor.read()?;
        let frozen = self.backend.freeze().await?;
        loop {
            let before = known.mark;
            let rows = frozen
                .journal(before.revision.saturating_sub(1), PAGE)
                .await?;
            known = known.follow(&rows, anchored)?;
            if known.mark == before {
                break;
            }
        }
        if known.mark.revision < anchored.revision {
            return Err(gone_back().into());
        }
        let names: Names = verified_names(&*frozen, &known).await?.into();
        self.kept().names = Some((known.mark, Arc::clone(&names)));
        Ok(names)
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
        let tampered = |fault, how| {
            let what = format_args!("blob {digest}").to_string();
            Error::from(Tampering::new(fault, what, how))
        };
        let bytes = self
            .backend
            .blob(digest)
            .await?
            .ok_or_else(|| tampered(Fault::Missing, "is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(tampered(
                Fault::Forged,
                "holds other bytes than its name says",
            ));
        }
        Ok(bytes)
    }

    /// Reads journal entries after `after`, oldest first, at most `limit`. Each
    /// follows the one before within what is read; that the last leads to the newest
    /// is for [`Store::check`] to say.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<Entry>, Error> {
        let rows = self.backend.journal(after, limit).await?;
        let mut entries = Vec::with_capacity(rows.len());
        let mut before: Option<Mark> = (after == 0).then(Mark::default);
        for row in &rows {
            let entry = Entry::parse(row)?;
            if before.is_some_and(|before| !entry.follows(before)) {
                return Err(
                    Entry::tampering(row.revision, "does not follow the one before").into(),
                );
            }
            before = Some(mark_of(row));
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Reads the newest journal entry; `None` if there was no change yet.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn newest_entry(&self) -> Result<Option<Entry>, Error> {
        self.read(&[]).await?;
        let mark = self.known().mark;
        let Some(before) = mark.revision.checked_sub(1) else {
            return Ok(None);
        };
        let rows = self.backend.journal(before, 1).await?;
        match rows.first() {
            Some(row) if mark_of(row) == mark => Ok(Some(Entry::parse(row)?)),
            Some(row) => {
                Err(Entry::tampering(row.revision, "is another one than was there before").into())
            }
            None => Err(gone_back().into()),
        }
    }

    /// Applies a change to the store as it was at `expected`, signs and journals
    /// it, and returns the new revision.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the store is at another revision; read again, and
    /// try again. [`Error::Key`] without a signer. In each case nothing was
    /// written. [`Error::NotAnchored`] when everything was, but the anchor could not
    /// be told.
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
        let known = before.known;
        if known.mark.revision != expected {
            return Err(Error::Conflict {
                expected,
                found: known.mark.revision,
            });
        }
        let revision = expected.max(batch.after) + 1;
        let trust = batch.trust.clone();
        let signed = self.sign(
            Expected {
                known: &known,
                tree: before.tree,
                documents: &before.documents,
            },
            revision,
            touched,
            batch,
            author,
        );
        let signed = match signed {
            // If the power to write has gone on meanwhile, so has the store.
            Err(Error::Key(KeyError::OldSigner)) => {
                let found = self.fetch(&[]).await?.known.mark.revision;
                return Err(match found == expected {
                    true => KeyError::OldSigner.into(),
                    false => Error::Conflict { expected, found },
                });
            }
            signed => signed?,
        };
        let mark = mark_of(&signed.entry);
        match self.backend.commit(expected, signed).await {
            Ok(()) => {}
            Err(BackendError::Conflict(found)) => {
                return Err(Error::Conflict { expected, found });
            }
            Err(error) => return Err(error.into()),
        }
        let mut verifiers = known.verifiers;
        if let Some(successor) = trust {
            verifiers.retain(|known| known.id() != successor.id());
            verifiers.insert(0, successor);
        }
        self.anchor
            .advance(mark, || self.write_down(&verifiers))
            .map_err(|file| match file {
                StoreFile::Anchor(error) => Error::NotAnchored(error),
                StoreFile::Key(error) => Error::Key(error),
            })?;
        Ok(revision)
    }

    /// Writes a copy of the database, as it is at one moment, to the file `file` that
    /// only the owner can use, while others may write; returns its revision. The file gets
    /// its name once it is written, on disk and verified: it holds what the database held,
    /// and that is what the journal says.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`]; [`Error::Unavailable`], also if there is such a file. Then
    /// there is no new one.
    pub async fn copy_to(&self, file: &Path) -> Result<Revision, Error> {
        let known = self.fetch(&[]).await?.known;
        let anchored = self.anchor.read()?;
        let failed =
            |error: std::io::Error| BackendError::Failed(format!("{}: {error}", file.display()));
        let made = files::unfinished_name(file).map_err(failed)?;
        let finish = async || -> Result<Revision, Error> {
            let copy = self.backend.copy_to(&made).await?;
            let report = verification::check_rows(&*copy, &known, anchored).await?;
            if let Some(fault) = report.faults.into_iter().next() {
                return Err(fault.into());
            }
            drop(copy);
            files::rename_to_new(&made, file).map_err(failed)?;
            Ok(report.revision)
        };
        finish().await.inspect_err(|_| {
            // Half a copy is none.
            let _ = std::fs::remove_file(&made);
        })
    }

    /// Hands the power to write to a new key: made if need be, trusted by one entry
    /// of the journal, and from then on the one that signs. Documents keep the
    /// signature of the old one, which holds until [`Store::end_old_signer`].
    ///
    /// Stopped at any point, it goes on from there when it is called again.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub async fn begin_new_signer(&self, author: Author<'_>) -> Result<(), Error> {
        let mut keys = self.keys().again()?;
        let next = keys.begin_new_signer()?;
        self.use_keys(Arc::new(keys));
        loop {
            let revision = self.fetch(&[]).await?.known.mark.revision;
            if self.verifiers().first().map(Verifier::id) == Some(next.id()) {
                break;
            }
            let batch = Batch {
                trust: Some(next.clone()),
                ..Batch::default()
            };
            match self.commit(revision, batch, author.clone()).await {
                Ok(_) | Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut keys = self.keys().again()?;
        keys.adopt_new_signer()?;
        self.use_keys(Arc::new(keys));
        Ok(())
    }

    /// Believes what is signed by these keys from now on, the present one first, and
    /// writes that down. The caller answers for them.
    ///
    /// # Errors
    ///
    /// [`Error::Key`].
    pub fn believe(&self, verifiers: &[Verifier]) -> Result<(), Error> {
        self.anchor.settle()?;
        let mut keys = self.keys().again()?;
        keys.set_verifiers(verifiers)?;
        self.use_keys(Arc::new(keys));
        self.kept().known.verifiers = verifiers.to_vec();
        Ok(())
    }

    /// No longer believes documents with the signature of an earlier key.
    ///
    /// # Errors
    ///
    /// [`Error::Key`], [`Error::Anchor`].
    pub fn end_old_signer(&self) -> Result<(), Error> {
        let present: Vec<Verifier> = self.verifiers().into_iter().take(1).collect();
        let ended = self.anchor.hold(|| -> Result<Keys, StoreFile> {
            self.anchor.settle()?;
            let mut keys = self.keys().again()?;
            let is_present = |key: &Verifier| present.iter().any(|known| known.id() == key.id());
            // Somebody else may have renewed it again meanwhile.
            if keys.verifiers().first().is_some_and(is_present) {
                keys.set_verifiers(&present)?;
            }
            Ok(keys)
        })?;
        self.use_keys(Arc::new(ended));
        self.kept().known.verifiers.truncate(1);
        Ok(())
    }

    /// Makes the rows of a change.
    fn sign(
        &self,
        mut before: Expected<'_>,
        revision: Revision,
        touched: Vec<DocumentKey>,
        batch: Batch,
        author: Author<'_>,
    ) -> Result<Writes, Error> {
        let keys = self.keys_to_write(before.known)?;
        let verifier = before.known.verifiers.first().ok_or(KeyError::NoSigner)?;
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
        let after = put.iter().map(|(_, row)| Some(Digest::of(&row.payload)));
        let mut root = before.known.root();
        let mut count = before.known.count();
        let mut effects = Vec::with_capacity(touched.len());
        for ((key, document), after) in touched
            .into_iter()
            .zip(before.documents)
            .zip(after.chain(std::iter::repeat(None)))
        {
            root = before.tree.set(&key, after)?;
            match (document, after) {
                (None, Some(_)) => count += 1,
                (Some(_), None) => count = count.saturating_sub(1),
                _ => {}
            }
            effects.push(Effect {
                key,
                before: document.as_ref().map(|document| document.digest()),
                after,
            });
        }
        let trusts = match &batch.trust {
            Some(verifier) => Some(
                verifier
                    .to_pem()
                    .ok_or_else(|| BackendError::Failed("a key cannot be encoded".to_owned()))?,
            ),
            None => None,
        };
        let entry = Entry {
            revision,
            previous: before.known.mark.entry,
            at_ms: author.at_ms,
            principal: author.principal.to_owned(),
            change: author.change.to_owned(),
            effects,
            blobs_added: add_blobs.iter().map(|(digest, _)| *digest).collect(),
            blobs_removed: batch.remove_blobs.clone(),
            documents: root,
            count,
            trusts,
        };
        Ok(Writes {
            entry: entry.sign(signer).map_err(encoding)?,
            put,
            remove: batch.remove,
            add_blobs,
            remove_blobs: batch.remove_blobs,
            tree: before.tree.into_changed(),
        })
    }

    /// The keys, with the signer that may write now.
    fn keys_to_write(&self, known: &Known) -> Result<Arc<Keys>, Error> {
        let keys = self.keys();
        let verifier = known.verifiers.first().ok_or(KeyError::NoSigner)?;
        match keys.signer_for(verifier) {
            // It may have been renewed since the keys were read.
            Err(KeyError::OldSigner) => self.read_keys_again(),
            _ => Ok(keys),
        }
    }

    /// What is known of the journal.
    pub(crate) fn known(&self) -> Known {
        self.kept().known.clone()
    }

    /// The anchor.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Nothing in here can be half done when a thread panics.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a change is made to.
struct Expected<'a> {
    known: &'a Known,
    tree: Tree,
    documents: &'a [Option<Arc<Document>>],
}

/// A file beside the database that could not be read or written.
enum StoreFile {
    Key(KeyError),
    Anchor(crate::anchor::AnchorError),
}

impl From<KeyError> for StoreFile {
    fn from(error: KeyError) -> Self {
        StoreFile::Key(error)
    }
}

impl From<crate::anchor::AnchorError> for StoreFile {
    fn from(error: crate::anchor::AnchorError) -> Self {
        StoreFile::Anchor(error)
    }
}

impl From<StoreFile> for Error {
    fn from(file: StoreFile) -> Self {
        match file {
            StoreFile::Key(error) => Error::Key(error),
            StoreFile::Anchor(error) => Error::Anchor(error),
        }
    }
}

/// Reads the names of all documents, and holds them against the tree that the newest
/// entry settles.
async fn verified_names(frozen: &dyn Frozen, known: &Known) -> Result<Vec<DocumentKey>, Error> {
    let mut nodes = BTreeMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = frozen.nodes(after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        nodes.extend(page);
    }
    let mut missing = tree::places(known.root(), &nodes)?;
    let mut names: Vec<DocumentKey> = Vec::with_capacity(missing.len());
    loop {
        let page = frozen.names(names.last(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for key in &page {
            if !missing.remove(&tree::place(key)) {
                return Err(Tampering::new(Fault::Extra, key, "is not in the journal").into());
            }
        }
        names.extend(page);
    }
    if missing.is_empty() {
        return Ok(names);
    }
    let (found, told) = (names.len(), names.len() + missing.len());
    let how = format!("has {found} entries, and the journal tells of {told}");
    Err(Tampering::new(Fault::Missing, "the list of documents", how).into())
}

/// A document that the journal does not tell of.
fn uninvited(key: &DocumentKey, row: &SignedRow, verifiers: &[Verifier]) -> Tampering {
    match Document::verify(key, row, verifiers, Digest::of(&row.payload)) {
        Ok(_) => Tampering::new(Fault::Extra, key, "was removed, and put back"),
        Err(error) if error.fault() == Fault::Swapped => error,
        Err(_) => Tampering::new(Fault::Extra, key, "is not in the journal"),
    }
}

impl Kept {
    /// What is known of the journal, and as of which state.
    fn journal(&self) -> (Known, Option<u64>) {
        (self.known.clone(), self.state)
    }

    /// All of `keys`, if they have been held against this very state.
    fn snapshot(&self, state: u64, keys: &[DocumentKey]) -> Option<Snapshot> {
        let held = |key| {
            let kept = self.documents.get(key)?;
            (kept.state == state).then(|| kept.document.clone())
        };
        if self.state != Some(state) {
            return None;
        }
        Some(Snapshot {
            revision: self.known.mark.revision,
            documents: keys.iter().map(held).collect::<Option<_>>()?,
        })
    }

    /// What was verified earlier, if it is what `row` holds.
    fn verified(&self, key: &DocumentKey, row: &SignedRow, told: Digest) -> Option<Arc<Document>> {
        let document = self.documents.get(key)?.document.as_ref()?;
        document.is_of(row, told).then(|| Arc::clone(document))
    }

    /// Takes over what is known, unless more is: a slower reader must not bring back
    /// what a faster one has seen pass.
    fn raise(&mut self, known: Known, state: Option<u64>) -> bool {
        let newer = known.mark.revision >= self.known.mark.revision;
        if newer {
            self.known = known;
            self.state = state;
        }
        newer
    }

    fn take_over(
        &mut self,
        known: &Known,
        state: u64,
        keys: &[DocumentKey],
        documents: &[Option<Arc<Document>>],
    ) {
        if !self.raise(known.clone(), Some(state)) {
            return;
        }
        if self.documents.len() + keys.len() > KEPT_DOCUMENTS {
            self.documents.clear();
        }
        for (key, document) in keys.iter().zip(documents) {
            let document = document.clone();
            self.documents
                .insert(key.clone(), KeptDocument { state, document });
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
