//! What a database has to do for a store: keep rows, hand them out as of one
//! moment, and apply a change whole or not at all. It is trusted with none of
//! it.
//!
//! The trait has one implementation, [`Sqlite`](crate::Sqlite), and is there so
//! that a database on another machine can be the second without a change above.

use std::collections::BTreeMap;

use async_trait::async_trait;
use entail_text::sanitized;

use crate::Revision;
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::Tampering;

/// A document or a journal entry as a row: what was signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The journal; none if the database is in the state that the reader knows it of.
    pub journal: Option<JournalRows>,
    /// The documents asked for, in the order asked.
    pub documents: Vec<FoundDocument>,
}

/// The journal, as read.
#[derive(Debug)]
pub struct JournalRows {
    /// The revision of the newest entry; 0 if there is none.
    pub newest: Revision,
    /// Entries from the one on that the reader knows, oldest first; not all of them if
    /// there are many.
    pub entries: Vec<SignedRow>,
}

/// What there is for the name of a document.
#[derive(Debug)]
pub struct FoundDocument {
    /// The document.
    pub row: Option<SignedRow>,
    /// The nodes of the tree of documents above it, from the root down.
    pub nodes: Vec<Vec<u8>>,
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
    /// Nodes of the tree of documents to write, or to remove, by their path.
    pub tree: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
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
    /// Another process has it, and did not let go of it in time.
    #[error(
        "the database is in use by another process, which has it for itself or has been writing for long"
    )]
    Busy,
    /// It is damaged, or its tables mean something else than what was written to them.
    #[error("{0}")]
    Tampered(Tampering),
    /// Anything else. The text is the database's; no statement contains a
    /// secret.
    #[error("{}", sanitized(.0))]
    Failed(String),
}

impl From<Tampering> for BackendError {
    fn from(tampering: Tampering) -> Self {
        BackendError::Tampered(tampering)
    }
}

/// A database.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A number that differs whenever the database has changed since it was
    /// last asked, whoever changed it. Cheap: it is asked before every use of a
    /// document that was read earlier.
    async fn state(&self) -> Result<u64, BackendError>;

    /// Reads documents, with the nodes of the tree above them, and the journal from
    /// `from` on, all as of one moment. The journal is left out if the state is still
    /// `known`.
    async fn read(
        &self,
        keys: &[DocumentKey],
        from: Revision,
        known: Option<u64>,
    ) -> Result<Rows, BackendError>;

    /// Reads a blob.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError>;

    /// Reads journal entries after `after`, oldest first, at most `limit`.
    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError>;

    /// The database as it is at this moment, whatever is written afterwards.
    async fn freeze(&self) -> Result<Box<dyn Frozen>, BackendError>;

    /// Writes a copy of the database, as it is at one moment, to a new file that
    /// only the owner can use, fsyncs it, and opens what was written. Fails, and leaves no
    /// file, unless that has the rows that were read.
    async fn copy_to(&self, file: &std::path::Path) -> Result<Box<dyn Frozen>, BackendError>;

    /// Puts all rows that a copy holds in the place of those that there are, in one
    /// transaction: readers see the one or the other.
    async fn replace_by(&self, copy: &std::path::Path) -> Result<(), BackendError>;

    /// Applies a change, if the newest journal entry is that of `expected`
    /// (0: there is none).
    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError>;
}

/// A database as it was at one moment. Rows come in the order of their names, in
/// pages of at most `limit`, from after the last name of the page before.
#[async_trait]
pub trait Frozen: Send + Sync {
    /// How many journal entries, documents, blobs and nodes there are.
    async fn counts(&self) -> Result<Counts, BackendError>;

    /// What the database itself finds wrong with what it is stored in.
    async fn damages(&self) -> Result<Vec<Tampering>, BackendError>;

    /// Journal entries after a revision.
    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError>;

    /// The names of documents of every kind.
    async fn names(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<DocumentKey>, BackendError>;

    /// Documents of every kind.
    async fn documents(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, SignedRow)>, BackendError>;

    /// Blobs, in the order of their places, from after the last of the page before.
    async fn blobs(&self, after: Option<i64>, limit: usize) -> Result<Vec<BlobRow>, BackendError>;

    /// Nodes of the tree of documents.
    async fn nodes(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError>;

    /// One blob.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError>;
}

/// A blob as a row.
#[derive(Clone, Debug)]
pub struct BlobRow {
    /// Where it is among the others.
    pub place: i64,
    /// The name that it has, whatever that is.
    pub name: Vec<u8>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How much there is in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Journal entries.
    pub entries: u64,
    /// Documents.
    pub documents: u64,
    /// Blobs.
    pub blobs: u64,
    /// Nodes of the tree of documents.
    pub nodes: u64,
}
