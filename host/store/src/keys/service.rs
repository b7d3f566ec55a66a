//! Keys that live elsewhere: in hardware, in a key service, in another process.
//!
//! A service does one thing with a private key that this program never sees. It may fail, and it
//! may wait, for example until somebody touches a device. So it is never called on a thread of an
//! async runtime.

use crate::secret::Secret;

/// Signs with a private key that is elsewhere.
pub trait SigningService: Send + Sync {
    /// Signs `bytes` with Ed25519 (RFC 8032).
    ///
    /// # Errors
    ///
    /// If there is no signature. The caller verifies what is returned.
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], ServiceError>;
}

/// Decrypts with an age identity that is elsewhere.
pub trait OpeningService: Send + Sync {
    /// Decrypts an age file that is encrypted to the recipient of the identity.
    ///
    /// # Errors
    ///
    /// If it cannot be decrypted.
    fn open(&self, file: &[u8]) -> Result<Secret, ServiceError>;
}

/// Why a service did not do what it is for. The text never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{service}: {reason}")]
pub struct ServiceError {
    /// The service: the name of a program.
    pub service: String,
    /// What went wrong.
    pub reason: String,
}
