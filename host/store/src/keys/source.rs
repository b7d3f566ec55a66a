//! Where the keys of a machine come from.

use std::sync::Arc;

use super::identity::Identity;
use super::service::OpeningService;
use crate::recipients::{Recipient, RecipientError, RecipientId};
use crate::secret::Secret;
use crate::signing::Signer;

/// The identities of a machine, as far as they are available.
pub(super) enum Identities {
    Absent,
    /// Encrypted with a passphrase that was not given.
    Locked(Vec<u8>),
    Open(Vec<Identity>),
    /// A service has the identity.
    Elsewhere(ServiceIdentity),
}

/// An identity that a service has.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // a service has no debug output
pub struct ServiceIdentity {
    /// Its recipient: `age1…`.
    pub(super) recipient: String,
    pub(super) id: RecipientId,
    pub(super) service: Arc<dyn OpeningService>,
}

/// The source of the identities.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds a secret
pub enum IdentitySource {
    /// The key directory.
    Directory,
    /// The caller: identities in the format of the age tools.
    Given(Secret),
    /// A service that decrypts.
    Service(ServiceIdentity),
}

/// The source of a key that signs.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds a secret
pub enum SignerSource {
    /// The key directory.
    Directory,
    /// The caller: a private key in PKCS #8 PEM form.
    Given(Secret),
    /// A service that signs ([`Signer::elsewhere`]).
    Service(Box<Signer>),
}

/// The sources of the keys of a machine.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds secrets
pub struct KeySources {
    /// The source of the identities.
    pub identity: IdentitySource,
    /// The source of the key that signs changes.
    pub signer: SignerSource,
    /// The source of the key that signs the keyring.
    pub owner: SignerSource,
}

impl Default for KeySources {
    /// All in the key directory.
    fn default() -> Self {
        KeySources {
            identity: IdentitySource::Directory,
            signer: SignerSource::Directory,
            owner: SignerSource::Directory,
        }
    }
}

impl From<IdentitySource> for KeySources {
    fn from(identity: IdentitySource) -> Self {
        KeySources {
            identity,
            ..KeySources::default()
        }
    }
}

impl ServiceIdentity {
    /// An identity that a service has; `recipient` is its public key, `age1…`.
    ///
    /// # Errors
    ///
    /// If that is not a recipient.
    pub fn new(recipient: &str, service: Arc<dyn OpeningService>) -> Result<Self, RecipientError> {
        let recipient = Recipient::new(recipient, "", 0)?;
        Ok(ServiceIdentity {
            id: recipient.id(),
            recipient: recipient.key,
            service,
        })
    }
}
