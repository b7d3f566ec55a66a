//! Ed25519 keys that sign statements, and their fingerprints.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::digest::Digest;
use crate::hex;
use crate::keys::service::{ServiceError, SigningService};
use crate::secret::Secret;

/// The name of the algorithm, as in statements.
pub(crate) const ED25519: &str = "ed25519";

/// The fingerprint of a public key: `ed25519:` and the SHA-256 of the key's
/// SubjectPublicKeyInfo (DER) in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Digest);

impl KeyId {
    fn of(key: &VerifyingKey) -> Self {
        // RFC 8410: an Ed25519 key's SubjectPublicKeyInfo is this, followed by the key.
        const PREFIX: [u8; 12] = [
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        KeyId(Digest::of(&[&PREFIX[..], key.as_bytes()].concat()))
    }

    /// The first 16 hexadecimal digits, for display only: it identifies no key.
    pub fn short(&self) -> String {
        self.0.to_string().chars().take(16).collect()
    }
}

/// The text is not the fingerprint of a key.
#[derive(Debug, thiserror::Error)]
#[error("a key's fingerprint is ed25519: and 64 lower-case hexadecimal digits")]
pub struct InvalidKeyId;

impl std::str::FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let (algorithm, digits) = text.split_once(':').ok_or(InvalidKeyId)?;
        if algorithm != ED25519 {
            return Err(InvalidKeyId);
        }
        Ok(KeyId(digits.parse().map_err(|_| InvalidKeyId)?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ED25519}:{}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key that signs statements.
#[derive(Clone)]
pub struct Signer {
    key: PrivateKey,
    verifier: Verifier,
}

/// Where a private key is.
#[derive(Clone)]
enum PrivateKey {
    Here(Box<SigningKey>),
    Elsewhere(Arc<dyn SigningService>),
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
            verifier: Verifier::from_key(key.verifying_key()),
            key: PrivateKey::Here(Box::new(key)),
        }
    }

    /// A key that a service signs with; `verifier` is its public key.
    pub fn elsewhere(verifier: Verifier, service: Arc<dyn SigningService>) -> Self {
        Signer {
            verifier,
            key: PrivateKey::Elsewhere(service),
        }
    }

    /// Parses a PKCS #8 private key in PEM form.
    pub fn from_pem(pem: &Secret) -> Option<Self> {
        SigningKey::from_pkcs8_pem(pem.expose_text()?)
            .ok()
            .map(Self::from_key)
    }

    /// Encodes the key as PKCS #8 in PEM form, without the public key: `openssl` reads only
    /// this version of the form. `None` if the key is elsewhere.
    pub fn to_pem(&self) -> Option<Secret> {
        let PrivateKey::Here(key) = &self.key else {
            return None;
        };
        let pair = KeypairBytes {
            secret_key: key.to_bytes(),
            public_key: None,
        };
        let pem = pair.to_pkcs8_pem(LineEnding::LF).ok()?;
        Some(Secret::from(pem.as_str()))
    }

    /// The public key.
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// The fingerprint of this key.
    pub fn id(&self) -> KeyId {
        self.verifier.id
    }

    /// Signs `bytes`. May wait if the key is elsewhere.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], ServiceError> {
        let service = match &self.key {
            PrivateKey::Here(key) => return Ok(key.sign(bytes).to_bytes()),
            PrivateKey::Elsewhere(service) => service,
        };
        let signature = service.sign(bytes)?;
        if self.verifier.verifies(bytes, &signature) {
            Ok(signature)
        } else {
            Err(ServiceError {
                service: format!("the program that has the key {}", self.id()),
                reason: "it signs with another key than its public key".to_owned(),
            })
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// A public key that verifies statements.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    key: VerifyingKey,
    id: KeyId,
}

impl Verifier {
    /// Parses the 32 bytes of a public key in hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        VerifyingKey::from_bytes(&hex::decode(text)?)
            .ok()
            .map(Self::from_key)
    }

    fn from_key(key: VerifyingKey) -> Self {
        Verifier {
            id: KeyId::of(&key),
            key,
        }
    }

    /// Parses a public key (SubjectPublicKeyInfo) in PEM form.
    pub fn from_pem(pem: &str) -> Option<Self> {
        VerifyingKey::from_public_key_pem(pem)
            .ok()
            .map(Self::from_key)
    }

    /// The 32 bytes of the key.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Encodes the 32 bytes of the key in hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.key.as_bytes())
    }

    /// Encodes the key as SubjectPublicKeyInfo in PEM form.
    pub fn to_pem(&self) -> Option<String> {
        self.key.to_public_key_pem(LineEnding::LF).ok()
    }

    /// The fingerprint of this key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether no signature of the key is valid: it is of small order.
    pub(crate) fn is_weak(&self) -> bool {
        self.key.is_weak()
    }

    /// Whether the signature is valid. Strict verification rejects every other signature of the
    /// same bytes.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(bytes, &signature).is_ok())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_valid_only_for_its_bytes_and_key() {
        let signer = Signer::generate().unwrap();
        let verifier = signer.verifier();
        let signature = signer.sign(b"bytes").unwrap();
        assert!(verifier.verifies(b"bytes", &signature));
        assert!(!verifier.verifies(b"other", &signature));
        assert!(!verifier.verifies(b"bytes", &signature[1..]));
        let other_key = Signer::generate().unwrap().verifier();
        assert!(!other_key.verifies(b"bytes", &signature));
    }

    #[test]
    fn a_fingerprint_is_the_digest_of_the_key_with_its_algorithm() {
        let signer = Signer::generate().unwrap();
        let text = signer.id().to_string();
        assert_eq!(text.parse::<KeyId>().unwrap(), signer.id());
        assert!(text.starts_with("ed25519:"));
        let digits = text.strip_prefix("ed25519:").unwrap();
        assert_eq!(signer.id().short(), digits[..16]);
        let wrong = [
            String::new(),
            digits.to_owned(),
            signer.id().short(),
            format!("{text}0"),
            text.to_uppercase(),
            text.replace("ed25519", "ed448"),
        ];
        for text in wrong {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_debug_output_of_a_signer_is_its_fingerprint() {
        let signer = Signer::generate().unwrap();
        let shown = format!("{signer:?}");
        assert_eq!(shown, format!("Signer {{ id: {}, .. }}", signer.id()));
    }

    #[test]
    fn keys_round_trip_through_their_texts() {
        let signer = Signer::generate().unwrap();
        let parsed = Signer::from_pem(&signer.to_pem().unwrap()).unwrap();
        assert_eq!(parsed.id(), signer.id());
        let verifier = Verifier::from_hex(&signer.verifier().to_hex()).unwrap();
        assert_eq!(verifier, signer.verifier());
        let pem = verifier.to_pem().unwrap();
        assert_eq!(Verifier::from_pem(&pem), Some(verifier));
    }
}
