//! The journal: one signed entry per change, each holding the hash of the one
//! before.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Revision;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::Tampering;
use crate::signing::{PayloadType, Signer, Verifier};

/// Who made a change, when, and what it was, in the words of whoever uses the
/// store.
#[derive(Clone, Debug)]
pub struct Author<'a> {
    /// Who.
    pub principal: &'a str,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// What, as JSON; it holds no secret.
    pub change: &'a RawValue,
}

/// One change of the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The revision that this change made; the first is 1.
    pub revision: Revision,
    /// The SHA-256 of the entry before; none for the first.
    pub previous: Option<Digest>,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who.
    pub principal: String,
    /// What, in the words of whoever uses the store.
    pub change: Box<RawValue>,
    /// What it did to documents.
    pub effects: Vec<Effect>,
    /// The blobs that it added.
    pub blobs_added: Vec<Digest>,
    /// The blobs that it destroyed.
    pub blobs_removed: Vec<Digest>,
}

/// What a change did to one document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Which document.
    #[serde(flatten)]
    pub key: DocumentKey,
    /// The digest of its signed bytes before, none if it was new.
    pub before: Option<Digest>,
    /// The digest of its signed bytes after, none if it is gone.
    pub after: Option<Digest>,
}

impl Entry {
    pub(crate) fn verify(row: &SignedRow, verifier: &Verifier) -> Result<Self, Tampering> {
        let tampered = |how| {
            Err(Tampering::new(
                format_args!("journal entry {}", row.revision),
                how,
            ))
        };
        if let Err(how) = verifier.check_row(PayloadType::JournalEntry, row) {
            return tampered(how);
        }
        let Ok(entry) = serde_json::from_slice::<Entry>(&row.payload) else {
            return tampered("has a form that this version does not know");
        };
        if entry.revision != row.revision {
            return tampered("has another revision than its row says");
        }
        Ok(entry)
    }

    pub(crate) fn sign(&self, signer: &Signer) -> Result<SignedRow, serde_json::Error> {
        let payload = serde_json::to_vec(self)?;
        Ok(signer.sign_row(PayloadType::JournalEntry, self.revision, payload))
    }
}
