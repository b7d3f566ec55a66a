//! What a database must do for a store: keep rows, return a consistent snapshot of
//! them, and apply a change atomically. The store does not trust it with anything.
//!
//! The trait has one implementation, [`Sqlite`](crate::Sqlite). It exists so that a
//! database server can be added without changing the store.

pub(crate) mod sqlite;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use entail_text::sanitized;

use crate::digest::Digest;
use crate::journal::position::Revision;
use crate::keyring::KeyringNumber;
use crate::row::{BlobRow, DocumentKey, JournalRow};
use crate::statement::Statement;
use crate::tampering::Tampering;

/// A consistent snapshot of rows.
#[derive(Debug)]
pub struct Rows {
    /// The state of the database at which they were read; see [`Backend::state`].
    pub state: u64,
    /// The journal; `None` if the database is still in the state that the caller passed.
    pub journal: Option<JournalRows>,
    /// The requested documents, in the requested order.
    pub documents: Vec<FoundDocument>,
}

/// A consistent snapshot of the nodes that prove a list of documents.
#[derive(Debug)]
pub struct ListRows {
    /// The state of the database at which they were read; see [`Backend::state`].
    pub state: u64,
    /// The journal.
    pub journal: JournalRows,
    /// The nodes of the document tree above and below the prefix, by their paths.
    pub nodes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// New entries of the journal.
#[derive(Debug)]
pub struct JournalRows {
    /// The revision of the newest entry; 0 if the journal is empty.
    pub newest: Revision,
    /// The entries from the requested revision on, oldest first. Limited in number.
    pub entries: Vec<JournalRow>,
    /// The keyrings after the requested one, in the order of their numbers.
    pub keyrings: Vec<Statement>,
    /// The newest heartbeat.
    pub heartbeat: Option<Statement>,
}

/// Where to begin to read the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStart {
    /// The revision of the first entry to read.
    pub revision: Revision,
    /// The number of the last keyring to leave out.
    pub keyring: KeyringNumber,
}

/// What the database holds for a document key.
#[derive(Debug)]
pub struct FoundDocument {
    /// The document's bytes.
    pub bytes: Option<Vec<u8>>,
    /// The nodes of the document tree above it, from the root down.
    pub nodes: Vec<Vec<u8>>,
}

/// The rows of one change.
#[derive(Debug)]
pub struct Writes {
    /// The journal entry of the change.
    pub entry: JournalRow,
    /// Keyrings to add, with their numbers.
    pub keyrings: Vec<(KeyringNumber, Statement)>,
    /// Documents to insert or replace, with their bytes.
    pub put: Vec<(DocumentKey, Vec<u8>)>,
    /// Documents to delete.
    pub remove: Vec<DocumentKey>,
    /// Blobs to add.
    pub add_blobs: Vec<(Digest, Vec<u8>)>,
    /// Blobs to overwrite and delete.
    pub remove_blobs: Vec<Digest>,
    /// Nodes of the document tree to write, or to delete if `None`, by their path.
    pub tree: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The database is at another revision. Nothing was written.
    #[error("the database is at revision {0}")]
    Conflict(Revision),
    /// The database was created by a newer version.
    #[error("the database has schema version {found}, but this program supports only {known}")]
    TooNew {
        /// The version of the database.
        found: u32,
        /// The newest version that this program supports.
        known: u32,
    },
    /// The database has been emptied.
    #[error("the database is empty; restore it from a backup")]
    Empty,
    /// Another process locked the database for too long.
    #[error("the database is locked by another process that opened it exclusively or is writing")]
    Busy,
    /// The database is damaged, or its definition was changed.
    #[error("{0}")]
    Tampered(Tampering),
    /// Any other error of the database. The text never contains a secret, since no statement
    /// does.
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
    /// Returns a number that changes whenever anyone changes the database. Must be cheap and
    /// must not wait: it is called before every use of a cached document.
    async fn state(&self) -> Result<u64, BackendError>;

    /// Reads documents with the tree nodes above them, and the journal from `from` on, in one
    /// snapshot. Leaves the journal out if the state is still `known`.
    async fn read(
        &self,
        keys: &[DocumentKey],
        from: JournalStart,
        known: Option<u64>,
    ) -> Result<Rows, BackendError>;

    /// Reads the nodes of the document tree above and below a prefix of the keys, and the journal
    /// from `from` on, in one snapshot.
    async fn read_list(&self, prefix: &[u8], from: JournalStart) -> Result<ListRows, BackendError>;

    /// Reads a blob; `None` if it does not exist.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError>;

    /// Reads at most `limit` journal entries after `after`, oldest first.
    async fn journal(&self, after: Revision, limit: usize)
    -> Result<Vec<JournalRow>, BackendError>;

    /// Reads the keyrings after a number, in order.
    async fn keyrings(&self, after: KeyringNumber) -> Result<Vec<Statement>, BackendError>;

    /// Begins a read transaction on the current state of the database.
    async fn begin_read(&self) -> Result<Box<dyn ReadTransaction>, BackendError>;

    /// Writes a consistent copy of the database to a new file with mode 0600, fsyncs it, and
    /// opens it. Fails and leaves no file unless the copy has the rows that were read.
    async fn copy_to(&self, file: &Path) -> Result<Box<dyn ReadTransaction>, BackendError>;

    /// Replaces all rows with those of a copy, in one transaction.
    async fn replace_by(&self, copy: &Path) -> Result<(), BackendError>;

    /// Replaces the heartbeat.
    async fn put_heartbeat(&self, heartbeat: Statement) -> Result<(), BackendError>;

    /// Applies a change if the revision of the newest journal entry is `expected` (0: no
    /// entry).
    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError>;
}

/// A snapshot of a database. Rows are returned in the order of their keys, in pages of at
/// most `limit`, starting after the last key of the previous page.
#[async_trait]
pub trait ReadTransaction: Send + Sync {
    /// Counts the rows.
    async fn counts(&self) -> Result<RowCounts, BackendError>;

    /// Returns the damages that the database's own integrity check finds.
    async fn damages(&self) -> Result<Vec<Tampering>, BackendError>;

    /// Reads journal entries after a revision.
    async fn journal(&self, after: Revision, limit: usize)
    -> Result<Vec<JournalRow>, BackendError>;

    /// Reads the keyrings after a number, in order.
    async fn keyrings(&self, after: KeyringNumber) -> Result<Vec<Statement>, BackendError>;

    /// Reads the heartbeat.
    async fn heartbeat(&self) -> Result<Option<Statement>, BackendError>;

    /// Reads documents of every kind.
    async fn documents(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, Vec<u8>)>, BackendError>;

    /// Reads blobs in the order of their places.
    async fn blobs(&self, after: Option<i64>, limit: usize) -> Result<Vec<BlobRow>, BackendError>;

    /// Nodes of the document tree.
    async fn nodes(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError>;

    /// Reads one blob.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError>;
}

/// The number of rows in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Journal entries.
    pub entries: u64,
    /// Keyrings.
    pub keyrings: u64,
    /// Documents.
    pub documents: u64,
    /// Blobs.
    pub blobs: u64,
    /// Nodes of the document tree.
    pub nodes: u64,
}
