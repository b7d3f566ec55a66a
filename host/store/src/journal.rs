//! The journal: one signed entry per change, each holding the hash of the one
//! before, and the root of the tree of documents as it is after the change.
//!
//! An entry may hand the power to write to another key: it is signed by the one
//! before, and what follows by the new one. Whoever trusts an earlier key and has
//! the journal therefore knows whom to trust now.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Revision;
use crate::anchor::Mark;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::{Fault, Tampering};
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
    /// The root of the tree of all documents after it.
    pub documents: Digest,
    /// How many documents there are after it.
    pub count: u64,
    /// The key that signs from the next entry on, if it is another: its public
    /// half as SubjectPublicKeyInfo in PEM form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusts: Option<String>,
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
    /// Reads an entry that is signed by a key that may.
    pub(crate) fn verify(row: &SignedRow, verifier: &Verifier) -> Result<Self, Tampering> {
        if let Err(how) = verifier.check_row(PayloadType::JournalEntry, row) {
            return Err(Self::tampering(row.revision, how));
        }
        Self::parse(row)
    }

    /// Reads an entry whose bytes are known to be the right ones.
    pub(crate) fn parse(row: &SignedRow) -> Result<Self, Tampering> {
        let tampered = |how| Err(Self::tampering(row.revision, how));
        let Ok(entry) = serde_json::from_slice::<Entry>(&row.payload) else {
            return tampered("has a form that this version does not know");
        };
        if entry.revision != row.revision {
            return tampered("has another revision than its row says");
        }
        Ok(entry)
    }

    pub(crate) fn tampering(revision: Revision, how: &str) -> Tampering {
        let what = format_args!("journal entry {revision}").to_string();
        Tampering::new(Fault::Forged, what, how)
    }

    /// Whether this is the entry after that of `mark`. Numbers are left out only
    /// where a change said so when it was made.
    pub(crate) fn follows(&self, mark: Mark) -> bool {
        self.previous == mark.entry && self.revision > mark.revision
    }

    /// The key that signs from the next entry on, if it is another.
    pub(crate) fn successor(&self) -> Result<Option<Verifier>, Tampering> {
        let Some(pem) = &self.trusts else {
            return Ok(None);
        };
        match Verifier::from_pem(pem) {
            Some(verifier) => Ok(Some(verifier)),
            None => Err(Self::tampering(
                self.revision,
                "hands the power to write to what is no key",
            )),
        }
    }

    pub(crate) fn sign(&self, signer: &Signer) -> Result<SignedRow, serde_json::Error> {
        let payload = serde_json::to_vec(self)?;
        Ok(signer.sign_row(PayloadType::JournalEntry, self.revision, payload))
    }
}
