//! The rows that a database keeps for a store. None of their contents is trusted.

use std::fmt;

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::journal::position::Revision;

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

/// A document or a journal entry as a row: the signed bytes and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRow {
    /// The revision of the change that wrote the row.
    pub revision: Revision,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The id of the signing key.
    pub signer: String,
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
