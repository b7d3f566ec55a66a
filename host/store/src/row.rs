//! The rows that a database keeps for a store. None of their contents is trusted.

use std::fmt;

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::journal::position::{JournalPosition, Revision};
use crate::statement::Statement;
use crate::tampering::{Fault, Tampering};

/// Identifies a document by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentKey {
    /// For example `scope`.
    pub kind: String,
    /// For example `acme/evals`.
    pub name: String,
}

impl DocumentKey {
    /// Creates a key from a kind and a name.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        DocumentKey {
            kind: kind.into(),
            name: name.into(),
        }
    }
}

/// Sanitized: a name in a tampered database can contain anything.
impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", sanitized(&self.kind), sanitized(&self.name))
    }
}

/// A journal entry as a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// The revision of the change.
    pub revision: Revision,
    /// The signed checkpoint.
    pub checkpoint: Statement,
    /// The record of the change.
    pub change: Vec<u8>,
}

impl JournalRow {
    /// The position of the entry.
    pub(crate) fn position(&self) -> JournalPosition {
        JournalPosition {
            revision: self.revision,
            checkpoint: Some(Digest::of(&self.checkpoint.payload)),
        }
    }

    /// The name of the entry in errors.
    pub(crate) fn what(&self) -> String {
        format!("journal entry {}", self.revision)
    }

    pub(crate) fn tampering(&self, reason: &str) -> Tampering {
        Self::tampering_at(self.revision, reason)
    }

    pub(crate) fn tampering_at(revision: Revision, reason: &str) -> Tampering {
        let what = format_args!("journal entry {revision}").to_string();
        Tampering::new(Fault::Forged, what, reason)
    }
}

/// A blob as a row.
#[derive(Clone, Debug)]
pub struct BlobRow {
    /// The position among the other blobs.
    pub place: i64,
    /// The stored name: the blob's digest, unless the database was tampered with.
    pub name: Vec<u8>,
    /// The bytes.
    pub bytes: Vec<u8>,
}
