//! Ed25519 signatures over a DSSE pre-authentication encoding.
//!
//! The encoding binds the type of what is signed to its exact bytes:
//! `DSSEv1 LEN(type) type LEN(body) body`, as the DSSE protocol v1.0.2 has it
//! (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>). A
//! signature over a document can therefore never pass for one over a journal
//! entry.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::Revision;
use crate::backend::SignedRow;
use crate::digest::Digest;
use crate::secret::Secret;

/// What kind of bytes a signature is for.
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

/// Names a signing key: the first 16 hexadecimal digits of the SHA-256 of its
/// public half.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    fn of(key: &VerifyingKey) -> Self {
        let digest = Digest::of(key.as_bytes()).to_string();
        KeyId(digest.chars().take(16).collect())
    }

    /// As stored beside a signature.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that names no key.
#[derive(Debug, thiserror::Error)]
#[error("a key's name is 16 lower-case hexadecimal digits")]
pub struct NotAKeyId;

impl std::str::FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == 16 && text.bytes().all(is_digit) {
            true => Ok(KeyId(text.to_owned())),
            false => Err(NotAKeyId),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signs documents and journal entries: the power to write.
pub struct Signer {
    key: SigningKey,
    id: KeyId,
}

impl Signer {
    /// Makes a new key from the system's randomness.
    ///
    /// # Errors
    ///
    /// When the system has none to give.
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

    /// Reads a PKCS #8 private key in PEM form.
    pub fn from_pem(pem: &Secret) -> Option<Self> {
        SigningKey::from_pkcs8_pem(pem.expose_text()?)
            .ok()
            .map(Self::from_key)
    }

    /// The key as PKCS #8 in PEM form.
    pub fn to_pem(&self) -> Option<Secret> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).ok()?;
        Some(Secret::from(pem.as_str()))
    }

    /// The public half.
    pub fn verifier(&self) -> Verifier {
        Verifier {
            key: self.key.verifying_key(),
            id: self.id.clone(),
        }
    }

    /// Names this key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    fn sign(&self, kind: PayloadType, payload: &[u8]) -> Vec<u8> {
        self.key.sign(&kind.encode(payload)).to_vec()
    }

    /// Signs `payload` as the row of a revision.
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
    /// Reads a public key (SubjectPublicKeyInfo) in PEM form.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = VerifyingKey::from_public_key_pem(pem).ok()?;
        Some(Verifier {
            id: KeyId::of(&key),
            key,
        })
    }

    /// The key as SubjectPublicKeyInfo in PEM form.
    pub fn to_pem(&self) -> Option<String> {
        self.key.to_public_key_pem(LineEnding::LF).ok()
    }

    /// Names this key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Says what is wrong with the signature of a row.
    pub(crate) fn check_row(&self, kind: PayloadType, row: &SignedRow) -> Result<(), &'static str> {
        if row.signer != self.id.as_str() {
            return Err("is signed by a key that is not trusted");
        }
        if !self.verifies(kind, &row.payload, &row.signature) {
            return Err("has a signature that does not fit");
        }
        Ok(())
    }

    fn verifies(&self, kind: PayloadType, payload: &[u8], signature: &[u8]) -> bool {
        // Strict: no second signature is valid for the same bytes.
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
    fn the_encoding_is_that_of_the_protocol() {
        let encoded = PayloadType::Document.encode(b"hello");
        assert_eq!(
            encoded,
            b"DSSEv1 36 application/vnd.entail.document+json 5 hello"
        );
    }

    #[test]
    fn a_signature_holds_for_its_bytes_its_type_and_its_key_only() {
        let signer = Signer::generate().unwrap();
        let verifier = signer.verifier();
        let signature = signer.sign(PayloadType::Document, b"bytes");
        assert!(verifier.verifies(PayloadType::Document, b"bytes", &signature));
        assert!(!verifier.verifies(PayloadType::Document, b"other", &signature));
        assert!(!verifier.verifies(PayloadType::JournalEntry, b"bytes", &signature));
        assert!(!verifier.verifies(PayloadType::Document, b"bytes", &signature[1..]));
        let stranger = Signer::generate().unwrap().verifier();
        assert!(!stranger.verifies(PayloadType::Document, b"bytes", &signature));
    }

    #[test]
    fn a_key_is_named_by_sixteen_lower_case_digits() {
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
    fn a_signer_shows_its_name_and_nothing_else() {
        let signer = Signer::generate().unwrap();
        let shown = format!("{signer:?}");
        assert_eq!(shown, format!("Signer {{ id: {:?}, .. }}", signer.id()));
    }

    #[test]
    fn keys_survive_their_files() {
        let signer = Signer::generate().unwrap();
        let again = Signer::from_pem(&signer.to_pem().unwrap()).unwrap();
        assert_eq!(again.id(), signer.id());
        let verifier = Verifier::from_pem(&signer.verifier().to_pem().unwrap()).unwrap();
        assert_eq!(verifier.id(), signer.id());
    }
}
