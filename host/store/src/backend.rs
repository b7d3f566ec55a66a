//! What a database has to do for a store: keep rows, hand them out as of one
//! moment, and apply a change whole or not at all. It is trusted with none of
//! it.
//!
//! The trait has one implementation, [`Sqlite`](crate::Sqlite), and is there so
//! that a database on another machine can be the second without a change above.

use async_trait::async_trait;

use crate::Revision;
use crate::digest::Digest;
use crate::document::DocumentKey;

/// A document or a journal entry as a row: what was signed, and the signature.
#[derive(Clone, Debug)]
pub struct SignedRow {
    /// The change that wrote it.
    pub revision: Revision,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The id of the signing key.
    pub signer: String,
}

/// Rows as of one moment.
#[derive(Debug)]
pub struct Rows {
    /// The state of the database that they were read at; see
    /// [`Backend::state`].
    pub state: u64,
    /// The newest journal entry.
    pub head: HeadRow,
    /// The documents asked for, in the order asked.
    pub documents: Vec<Option<SignedRow>>,
}

/// The newest journal entry, as read.
#[derive(Debug)]
pub enum HeadRow {
    /// The database is in the state that the reader knows; it was not read again.
    Unchanged,
    /// There is none.
    Empty,
    /// This is it.
    Entry(SignedRow),
}

/// One change, as rows.
#[derive(Debug)]
pub struct Writes {
    /// The entry that records the change.
    pub entry: SignedRow,
    /// Documents to write, in place of what was there.
    pub put: Vec<(DocumentKey, SignedRow)>,
    /// Documents to remove.
    pub remove: Vec<DocumentKey>,
    /// Blobs to add.
    pub add_blobs: Vec<(Digest, Vec<u8>)>,
    /// Blobs to overwrite and remove.
    pub remove_blobs: Vec<Digest>,
}

/// What a database answers when it does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// It is at another revision; nothing was written.
    #[error("the database is at revision {0}")]
    Conflict(Revision),
    /// It was made by a newer version.
    #[error("the database has schema version {found}, and this version knows {known}")]
    TooNew {
        /// What it has.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// It has been emptied.
    #[error("the database is empty; put it back from a copy")]
    Empty,
    /// Anything else. The text is the database's; no statement contains a
    /// secret.
    #[error("{0}")]
    Failed(String),
}

/// A database.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A number that differs whenever the database has changed since it was
    /// last asked, whoever changed it. Cheap: it is asked before every use of a
    /// document that was read earlier.
    async fn state(&self) -> Result<u64, BackendError>;

    /// Reads documents and the journal's head, all as of one moment; the head is
    /// left out if the state is still `known`.
    async fn read(&self, keys: &[DocumentKey], known: Option<u64>) -> Result<Rows, BackendError>;

    /// The names of the documents of `kind` that are `under` or start with
    /// `under/`, after `after`, in byte order, at most `limit`. An empty `under`
    /// is all of the kind.
    async fn names(
        &self,
        kind: &str,
        under: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BackendError>;

    /// Reads a blob.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError>;

    /// Reads journal entries after `after`, oldest first, at most `limit`.
    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError>;

    /// Applies a change, if the newest journal entry is that of `expected`
    /// (0: there is none).
    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError>;
}
