//! Journal entries: one signed entry per change. Each contains the hash of the previous
//! entry and the root of the document tree after the change.
//!
//! An entry may transfer the right to write to another key. It is signed by the old key,
//! and the entries after it by the new one. A reader who trusts an earlier key can
//! therefore derive the current key from the journal.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::journal::position::{JournalPosition, Revision};
use crate::row::{DocumentKey, SignedRow};
use crate::signing::{PayloadType, Signer, Verifier};
use crate::tampering::{Fault, Tampering};

/// Who made a change, when, and what it was, as described by the caller.
#[derive(Clone, Debug)]
pub struct Author<'a> {
    /// The principal.
    pub principal: &'a str,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The change as JSON. It must not contain a secret.
    pub change: &'a RawValue,
}

/// One change of the store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalEntry {
    /// The revision of the change; the first is 1.
    pub revision: Revision,
    /// The SHA-256 of the previous entry; `None` for the first.
    pub previous: Option<Digest>,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The principal.
    pub principal: String,
    /// The change, as described by the caller.
    pub change: Box<RawValue>,
    /// The documents that the change touched.
    pub effects: Vec<Effect>,
    /// The blobs that the change added.
    pub blobs_added: Vec<Digest>,
    /// The blobs that the change deleted.
    pub blobs_removed: Vec<Digest>,
    /// The root of the document tree after the change.
    pub documents: Digest,
    /// The number of documents after the change.
    pub count: u64,
    /// The public key that signs from the next entry on, if it changes: SubjectPublicKeyInfo in
    /// PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusts: Option<String>,
}

/// What a change did to one document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The document.
    #[serde(flatten)]
    pub key: DocumentKey,
    /// The digest of its signed bytes before the change; `None` if it was created.
    pub before: Option<Digest>,
    /// The digest of its signed bytes after the change; `None` if it was removed.
    pub after: Option<Digest>,
}

impl JournalEntry {
    /// Parses an entry after verifying its signature.
    pub(crate) fn verify(row: &SignedRow, verifier: &Verifier) -> Result<Self, Tampering> {
        if let Err(reason) = verifier.check_row(PayloadType::JournalEntry, row) {
            return Err(Self::tampering(row.revision, reason));
        }
        Self::parse(row)
    }

    /// Parses an entry without verifying its signature. For bytes that are verified otherwise.
    pub(crate) fn parse(row: &SignedRow) -> Result<Self, Tampering> {
        let tampered = |reason| Err(Self::tampering(row.revision, reason));
        let Ok(entry) = serde_json::from_slice::<JournalEntry>(&row.payload) else {
            return tampered("has a format that this version does not support");
        };
        if entry.revision != row.revision {
            return tampered("has a revision other than its row's");
        }
        Ok(entry)
    }

    pub(crate) fn tampering(revision: Revision, reason: &str) -> Tampering {
        let what = format_args!("journal entry {revision}").to_string();
        Tampering::new(Fault::Forged, what, reason)
    }

    /// Whether this entry directly follows the one at `position`. Revisions may have gaps: a
    /// restore skips the numbers of lost changes.
    pub(crate) fn follows(&self, position: JournalPosition) -> bool {
        self.previous == position.entry && self.revision > position.revision
    }

    /// The key that signs from the next entry on, if it changes.
    pub(crate) fn successor(&self) -> Result<Option<Verifier>, Tampering> {
        let Some(pem) = &self.trusts else {
            return Ok(None);
        };
        match Verifier::from_pem(pem) {
            Some(verifier) => Ok(Some(verifier)),
            None => Err(Self::tampering(
                self.revision,
                "transfers the right to write to an invalid key",
            )),
        }
    }

    pub(crate) fn sign(&self, signer: &Signer) -> Result<SignedRow, serde_json::Error> {
        let payload = serde_json::to_vec(self)?;
        Ok(signer.sign_row(PayloadType::JournalEntry, self.revision, payload))
    }
}
