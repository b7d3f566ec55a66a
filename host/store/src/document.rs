//! Documents: pieces of metadata, proven by the document tree.
//!
//! The newest checkpoint names the root of the [tree](crate::tree), which names the digest of
//! every document. So a document carries no signature. Its bytes contain its kind, name and
//! revision, which must match the place where it was found.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use entail_text::objects;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::error::Error;
use crate::journal::position::Revision;
use crate::row::DocumentKey;
use crate::statement;
use crate::tampering::{Fault, Tampering};

/// A verified document.
pub struct Document {
    key: DocumentKey,
    revision: Revision,
    digest: Digest,
    /// The error if the bytes are proven, but not a document that this version reads: who may
    /// write the document wrote it.
    body: Result<Box<RawValue>, Tampering>,
    parsed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

const MEMBERS: &[&str] = &["version", "critical", "kind", "name", "revision", "body"];

/// The stored bytes, as JSON.
#[derive(Serialize, Deserialize)]
struct Payload<Body> {
    version: u32,
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

    /// The revision of the change that wrote it; 0 if it cannot be read.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the parsed body. It is parsed once, and the result is cached in the document.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`] with [`Fault::Newer`] if the body does not parse as a `T`: a signer
    /// wrote it, but in a format that this version does not support.
    pub fn body<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        let invalid = || statement::newer(&self.key);
        if let Some(parsed) = self.parsed.get() {
            return Arc::clone(parsed).downcast().map_err(|_| invalid().into());
        }
        let body = self.check_readable()?.get();
        let parsed: Arc<T> = Arc::new(objects::from_slice(body.as_bytes()).map_err(|_| invalid())?);
        // Two concurrent readers may both parse; either result is kept.
        let _ = self
            .parsed
            .set(Arc::clone(&parsed) as Arc<dyn Any + Send + Sync>);
        Ok(parsed)
    }

    /// Fails if it is not a document that this version reads.
    pub(crate) fn check_readable(&self) -> Result<&RawValue, Tampering> {
        self.body.as_deref().map_err(Tampering::clone)
    }

    /// Verifies the bytes of the document `key`: they must have the expected digest. Then a document
    /// that cannot be read is no error, so that it does not prevent the reading of others.
    pub(crate) fn verify(
        key: &DocumentKey,
        bytes: &[u8],
        expected_digest: Digest,
    ) -> Result<Self, Tampering> {
        let digest = Digest::of(bytes);
        let parsed = || statement::parse::<Payload<Box<RawValue>>>(bytes, MEMBERS, key);
        let names_another =
            |payload: &Payload<_>| payload.kind != key.kind || payload.name != key.name;
        if digest != expected_digest {
            let (fault, reason) = match parsed() {
                Ok(payload) if names_another(&payload) => {
                    (Fault::Swapped, "contains another document")
                }
                _ => (Fault::Forged, "is not what the journal names"),
            };
            return Err(Tampering::new(fault, key, reason));
        }
        let (revision, body) = match parsed() {
            Ok(payload) if names_another(&payload) => {
                let error = Tampering::new(Fault::Forged, key, "names another document");
                (0, Err(error))
            }
            Ok(payload) => (payload.revision, Ok(payload.body)),
            Err(error) => (0, Err(error)),
        };
        Ok(Document {
            key: key.clone(),
            revision,
            digest,
            body,
            parsed: OnceLock::new(),
        })
    }

    /// Encodes `body` as the document `key` at `revision`.
    pub(crate) fn encode(
        key: &DocumentKey,
        revision: Revision,
        body: &RawValue,
    ) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Payload {
            version: statement::VERSION,
            kind: key.kind.clone(),
            name: key.name.clone(),
            revision,
            body,
        })
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
