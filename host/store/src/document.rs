//! Signed documents.
//!
//! A document's kind, name and revision stand inside the signed bytes and must
//! match the row they were found in: a row can be dropped, but not forged,
//! edited, renamed, or passed off as a newer one.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use entail_text::sanitized;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Revision;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::error::{Error, Fault, Tampering};
use crate::signing::{PayloadType, Signer, Verifier};

/// Names a document: what kind of thing it is, and which one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentKey {
    /// Such as `scope`.
    pub kind: String,
    /// Such as `acme/evals`.
    pub name: String,
}

impl DocumentKey {
    /// Names a document.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        DocumentKey {
            kind: kind.into(),
            name: name.into(),
        }
    }
}

/// For a person: a name in a database may be anybody's.
impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", sanitized(&self.kind), sanitized(&self.name))
    }
}

/// A verified document.
pub struct Document {
    key: DocumentKey,
    revision: Revision,
    digest: Digest,
    signature: Vec<u8>,
    signer: String,
    body: Box<RawValue>,
    parsed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// The signed bytes, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload<Body> {
    kind: String,
    name: String,
    revision: Revision,
    body: Body,
}

impl Document {
    /// What kind of thing it is, and which one.
    pub fn key(&self) -> &DocumentKey {
        &self.key
    }

    /// The change of the store that wrote it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The SHA-256 of its signed bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it says, parsed once for as long as the document is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], when it does not say a `T`: it was signed, but by
    /// something that means another form.
    pub fn body<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        let unfit = || {
            Tampering::new(
                Fault::Forged,
                &self.key,
                "has a form that this version does not know",
            )
        };
        if let Some(parsed) = self.parsed.get() {
            return Arc::clone(parsed).downcast().map_err(|_| unfit().into());
        }
        let parsed: Arc<T> = Arc::new(serde_json::from_str(self.body.get()).map_err(|_| unfit())?);
        // Two readers at once parse twice and keep either.
        let _ = self
            .parsed
            .set(Arc::clone(&parsed) as Arc<dyn Any + Send + Sync>);
        Ok(parsed)
    }

    /// Reads the document `key` from its row: signed by one of `verifiers`, and
    /// having the digest that the journal tells of.
    pub(crate) fn verify(
        key: &DocumentKey,
        row: &SignedRow,
        verifiers: &[Verifier],
        told: Digest,
    ) -> Result<Self, Tampering> {
        let tampered = |fault, how| Err(Tampering::new(fault, key, how));
        // Of another key it is worth no more than of none.
        let verifier = verifiers
            .iter()
            .find(|verifier| verifier.id().as_str() == row.signer);
        let Some(verifier) = verifier else {
            return tampered(Fault::Forged, "is signed by a key that is not trusted");
        };
        if let Err(how) = verifier.check_row(PayloadType::Document, row) {
            return tampered(Fault::Forged, how);
        }
        let Ok(payload) = serde_json::from_slice::<Payload<Box<RawValue>>>(&row.payload) else {
            return tampered(Fault::Forged, "has a form that this version does not know");
        };
        if payload.kind != key.kind || payload.name != key.name {
            return tampered(Fault::Swapped, "holds another document");
        }
        if payload.revision != row.revision {
            return tampered(Fault::Forged, "has another revision than its row says");
        }
        let digest = Digest::of(&row.payload);
        if digest != told {
            return tampered(Fault::Stale, "is not the newest that the journal tells of");
        }
        Ok(Document {
            key: key.clone(),
            revision: payload.revision,
            digest,
            signature: row.signature.clone(),
            signer: row.signer.clone(),
            body: payload.body,
            parsed: OnceLock::new(),
        })
    }

    /// Whether this is what `row` holds, verified earlier.
    pub(crate) fn is_of(&self, row: &SignedRow, told: Digest) -> bool {
        self.digest == told
            && self.revision == row.revision
            && self.signer == row.signer
            && self.signature == row.signature
            && Digest::of(&row.payload) == told
    }

    /// Names the key that signed it.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// What it says, as it stands in the signed bytes.
    pub fn raw(&self) -> &RawValue {
        &self.body
    }

    /// Signs `body` as the document `key` at `revision`.
    pub(crate) fn sign(
        key: &DocumentKey,
        revision: Revision,
        body: &RawValue,
        signer: &Signer,
    ) -> Result<SignedRow, serde_json::Error> {
        let payload = serde_json::to_vec(&Payload {
            kind: key.kind.clone(),
            name: key.name.clone(),
            revision,
            body,
        })?;
        Ok(signer.sign_row(PayloadType::Document, revision, payload))
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("key", &self.key)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
