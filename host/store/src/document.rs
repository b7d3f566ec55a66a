//! Signed documents.
//!
//! The signed bytes include the document's kind, name and revision, which must match its
//! row. So a document cannot be forged, edited, renamed, or presented as a newer one. It
//! can be deleted or replaced by an older version: the [tree](crate::tree) detects that.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::error::Error;
use crate::journal::position::Revision;
use crate::row::{DocumentKey, SignedRow};
use crate::signing::{PayloadType, Signer, Verifier};
use crate::tampering::{Fault, Tampering};

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
    /// The kind and name.
    pub fn key(&self) -> &DocumentKey {
        &self.key
    }

    /// The revision of the change that wrote it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The SHA-256 of the signed bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the parsed body. It is parsed once, and the result is cached in the document.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`] if the body does not parse as a `T`: it was signed, but in a format
    /// that this version does not support.
    pub fn body<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        let invalid = || {
            Tampering::new(
                Fault::Forged,
                &self.key,
                "has a format that this version does not support",
            )
        };
        if let Some(parsed) = self.parsed.get() {
            return Arc::clone(parsed).downcast().map_err(|_| invalid().into());
        }
        let parsed: Arc<T> =
            Arc::new(serde_json::from_str(self.body.get()).map_err(|_| invalid())?);
        // Two concurrent readers may both parse; either result is kept.
        let _ = self
            .parsed
            .set(Arc::clone(&parsed) as Arc<dyn Any + Send + Sync>);
        Ok(parsed)
    }

    /// Verifies the row of the document `key`: it must be signed by one of `verifiers` and have
    /// the expected digest.
    pub(crate) fn verify(
        key: &DocumentKey,
        row: &SignedRow,
        verifiers: &[Verifier],
        expected_digest: Digest,
    ) -> Result<Self, Tampering> {
        let tampered = |fault, reason| Err(Tampering::new(fault, key, reason));
        // A signature by any other key counts as no signature.
        let verifier = verifiers
            .iter()
            .find(|verifier| verifier.id().as_str() == row.signer);
        let Some(verifier) = verifier else {
            return tampered(Fault::Forged, "is signed by a key that is not trusted");
        };
        if let Err(reason) = verifier.check_row(PayloadType::Document, row) {
            return tampered(Fault::Forged, reason);
        }
        let Ok(payload) = serde_json::from_slice::<Payload<Box<RawValue>>>(&row.payload) else {
            return tampered(
                Fault::Forged,
                "has a format that this version does not support",
            );
        };
        if payload.kind != key.kind || payload.name != key.name {
            return tampered(Fault::Swapped, "contains another document");
        }
        if payload.revision != row.revision {
            return tampered(Fault::Forged, "has a revision other than its row's");
        }
        let digest = Digest::of(&row.payload);
        if digest != expected_digest {
            return tampered(Fault::Stale, "is not the newest version in the journal");
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

    /// Whether `row` holds the same bytes and signature as this verified document.
    pub(crate) fn matches(&self, row: &SignedRow, expected_digest: Digest) -> bool {
        self.digest == expected_digest
            && self.revision == row.revision
            && self.signer == row.signer
            && self.signature == row.signature
            && Digest::of(&row.payload) == expected_digest
    }

    /// The id of the key that signed it.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// The body as JSON, exactly as signed.
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
