//! Ed25519 signatures over a DSSE pre-authentication encoding.
//!
//! The encoding binds the payload type to the exact bytes: `DSSEv1 LEN(type) type LEN(body)
//! body`, as defined by the DSSE protocol v1.0.2
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>). So a signature
//! of a document is never valid for a journal entry.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::digest::Digest;
use crate::journal::position::Revision;
use crate::row::SignedRow;
use crate::secret::Secret;

/// The type of the signed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadType {
    Document,
    JournalEntry,
}

impl PayloadType {
    fn name(self) -> &'static str {
        match self {
            PayloadType::Document => "application/vnd.entail.document+json",
            PayloadType::JournalEntry => "application/vnd.entail.journal-entry+json",
        }
    }

    /// The bytes that are signed.
    fn encode(self, payload: &[u8]) -> Vec<u8> {
        let name = self.name();
        let mut encoded = format!("DSSEv1 {} {name} {} ", name.len(), payload.len()).into_bytes();
        encoded.extend_from_slice(payload);
        encoded
    }
}

/// Identifies a signing key: the first 16 hexadecimal digits of the SHA-256 of its public
/// key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    fn of(key: &VerifyingKey) -> Self {
        let digest = Digest::of(key.as_bytes()).to_string();
        KeyId(digest.chars().take(16).collect())
    }

    /// The id as text, as stored with a signature.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a key id.
#[derive(Debug, thiserror::Error)]
#[error("a key id is 16 lower-case hexadecimal digits")]
pub struct InvalidKeyId;

impl std::str::FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 16 && text.bytes().all(is_digit) {
            Ok(KeyId(text.to_owned()))
        } else {
            Err(InvalidKeyId)
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signs documents and journal entries.
pub struct Signer {
    key: SigningKey,
    id: KeyId,
}

impl Signer {
    /// Generates a new key from the system's randomness.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn generate() -> std::io::Result<Self> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(std::io::Error::other)?;
        Ok(Self::from_key(SigningKey::from_bytes(&seed)))
    }

    fn from_key(key: SigningKey) -> Self {
        Signer {
            id: KeyId::of(&key.verifying_key()),
            key,
        }
    }

    /// Parses a PKCS #8 private key in PEM form.
    pub fn from_pem(pem: &Secret) -> Option<Self> {
        SigningKey::from_pkcs8_pem(pem.expose_text()?)
            .ok()
            .map(Self::from_key)
    }

    /// Encodes the key as PKCS #8 in PEM form.
    pub fn to_pem(&self) -> Option<Secret> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).ok()?;
        Some(Secret::from(pem.as_str()))
    }

    /// The public key.
    pub fn verifier(&self) -> Verifier {
        Verifier {
            key: self.key.verifying_key(),
            id: self.id.clone(),
        }
    }

    /// The id of this key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    fn sign(&self, kind: PayloadType, payload: &[u8]) -> Vec<u8> {
        self.key.sign(&kind.encode(payload)).to_vec()
    }

    /// Signs `payload` and returns it as a row.
    pub(crate) fn sign_row(
        &self,
        kind: PayloadType,
        revision: Revision,
        payload: Vec<u8>,
    ) -> SignedRow {
        SignedRow {
            revision,
            signature: self.sign(kind, &payload),
            signer: self.id.to_string(),
            payload,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Verifies documents and journal entries.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: VerifyingKey,
    id: KeyId,
}

impl Verifier {
    /// Parses a public key (SubjectPublicKeyInfo) in PEM form.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = VerifyingKey::from_public_key_pem(pem).ok()?;
        Some(Verifier {
            id: KeyId::of(&key),
            key,
        })
    }

    /// Encodes the key as SubjectPublicKeyInfo in PEM form.
    pub fn to_pem(&self) -> Option<String> {
        self.key.to_public_key_pem(LineEnding::LF).ok()
    }

    /// The id of this key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Verifies the signature of a row. The error is the predicate of a sentence about the row.
    pub(crate) fn check_row(&self, kind: PayloadType, row: &SignedRow) -> Result<(), &'static str> {
        if row.signer != self.id.as_str() {
            return Err("is signed by a key that is not trusted");
        }
        if !self.verifies(kind, &row.payload, &row.signature) {
            return Err("has an invalid signature");
        }
        Ok(())
    }

    fn verifies(&self, kind: PayloadType, payload: &[u8], signature: &[u8]) -> bool {
        // Strict verification rejects every other signature of the same bytes.
        Signature::from_slice(signature).is_ok_and(|signature| {
            self.key
                .verify_strict(&kind.encode(payload), &signature)
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_follows_the_dsse_protocol() {
        let encoded = PayloadType::Document.encode(b"hello");
        assert_eq!(
            encoded,
            b"DSSEv1 36 application/vnd.entail.document+json 5 hello"
        );
    }

    #[test]
    fn a_signature_is_valid_only_for_its_bytes_type_and_key() {
        let signer = Signer::generate().unwrap();
        let verifier = signer.verifier();
        let signature = signer.sign(PayloadType::Document, b"bytes");
        assert!(verifier.verifies(PayloadType::Document, b"bytes", &signature));
        assert!(!verifier.verifies(PayloadType::Document, b"other", &signature));
        assert!(!verifier.verifies(PayloadType::JournalEntry, b"bytes", &signature));
        assert!(!verifier.verifies(PayloadType::Document, b"bytes", &signature[1..]));
        let other_key = Signer::generate().unwrap().verifier();
        assert!(!other_key.verifies(PayloadType::Document, b"bytes", &signature));
    }

    #[test]
    fn a_key_id_is_sixteen_lower_case_hexadecimal_digits() {
        let signer = Signer::generate().unwrap();
        let name = signer.id().to_string();
        assert_eq!(&name.parse::<KeyId>().unwrap(), signer.id());
        let wrong = [
            String::new(),
            name.chars().skip(1).collect(),
            format!("{name}0"),
            "0123456789ABCDEF".to_owned(),
            "0123456789abcdeg".to_owned(),
        ];
        for name in wrong {
            assert!(name.parse::<KeyId>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_debug_output_of_a_signer_is_its_id() {
        let signer = Signer::generate().unwrap();
        let shown = format!("{signer:?}");
        assert_eq!(shown, format!("Signer {{ id: {:?}, .. }}", signer.id()));
    }

    #[test]
    fn keys_round_trip_through_pem() {
        let signer = Signer::generate().unwrap();
        let parsed = Signer::from_pem(&signer.to_pem().unwrap()).unwrap();
        assert_eq!(parsed.id(), signer.id());
        let verifier = Verifier::from_pem(&signer.verifier().to_pem().unwrap()).unwrap();
        assert_eq!(verifier.id(), signer.id());
    }
}
