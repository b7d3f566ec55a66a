//! Signatures of bundles: Ed25519 over the pre-authentication encoding of DSSE v1.0.2
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{BundleError, malformed};

/// The type of the signed bytes.
pub const PAYLOAD_TYPE: &str = "application/vnd.entail.bundle+json";

/// RFC 8410: the SubjectPublicKeyInfo of an Ed25519 key is this, followed by the key.
const KEY_INFO: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A signature of a bundle, as in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The fingerprint of the key: `ed25519:` and hexadecimal digits.
    pub keyid: String,
    /// The 32 bytes of the public key, in base64.
    pub key: String,
    /// The 64 bytes of the signature, in base64.
    pub sig: String,
}

impl Signature {
    /// A signature by that key.
    pub fn new(key: &[u8; 32], signature: &[u8; 64]) -> Self {
        Signature {
            keyid: fingerprint(key),
            key: STANDARD.encode(key),
            sig: STANDARD.encode(signature),
        }
    }

    /// Fails unless one of `trusted` signed `payload`.
    pub(crate) fn verify(&self, payload: &[u8], trusted: &[String]) -> Result<(), BundleError> {
        let key: [u8; 32] = decode(&self.key)?
            .try_into()
            .map_err(|_| malformed("a key does not have 32 bytes"))?;
        if fingerprint(&key) != self.keyid {
            return Err(BundleError::InvalidSignature);
        }
        if !trusted.contains(&self.keyid) {
            return Err(BundleError::UntrustedSigner(self.keyid.clone()));
        }
        let signature = ed25519_dalek::Signature::from_slice(&decode(&self.sig)?)
            .map_err(|_| BundleError::InvalidSignature)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| BundleError::InvalidSignature)?;
        key.verify_strict(&signed_bytes(payload), &signature)
            .map_err(|_| BundleError::InvalidSignature)
    }
}

/// The bytes that a signature covers.
pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    )
    .into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

/// The fingerprint of an Ed25519 key: `ed25519:` and the SHA-256 of its SubjectPublicKeyInfo in
/// hexadecimal digits.
pub fn fingerprint(key: &[u8; 32]) -> String {
    format!("ed25519:{}", sha256(&[&KEY_INFO[..], key].concat()))
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Decodes canonical base64.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, BundleError> {
    STANDARD
        .decode(text)
        .map_err(|_| malformed("a value is not in canonical base64"))
}
