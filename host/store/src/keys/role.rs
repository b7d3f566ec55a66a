//! What a signing key of a machine is for.

use super::error::KeyError;
use super::names::{NEXT_OWNER, NEXT_SIGNER, OWNER, SIGNER};
use crate::keyring::authority::{Authority, LabelledKey};
use crate::signing::KeyId;

/// What a signing key of a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs the keyring.
    Owner,
    /// It signs changes.
    Signer,
}

impl Role {
    /// The name of the key in errors.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner key",
            Role::Signer => "signer",
        }
    }

    /// The name of the key's file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Role::Owner => OWNER,
            Role::Signer => SIGNER,
        }
    }

    /// The name of the file with the key that a rotation puts in its place.
    pub(super) fn next_file(self) -> &'static str {
        match self {
            Role::Owner => NEXT_OWNER,
            Role::Signer => NEXT_SIGNER,
        }
    }

    /// The key with that fingerprint in this role.
    pub(crate) fn find_key(self, authority: &mut Authority, id: KeyId) -> Option<&mut LabelledKey> {
        let is_meant = |listed: &&mut LabelledKey| listed.key.id() == id;
        match self {
            Role::Owner => authority.owners.keys.iter_mut().find(is_meant),
            Role::Signer => {
                let mut keys = authority.signers.iter_mut().map(|signer| &mut signer.key);
                keys.find(is_meant)
            }
        }
    }

    /// The error that this machine has no key in this role.
    pub(crate) fn missing(self) -> KeyError {
        match self {
            Role::Owner => KeyError::NoOwner,
            Role::Signer => KeyError::NoSigner,
        }
    }

    /// The error that this machine's key is not in the keyring in this role.
    pub(crate) fn not_in_keyring(self) -> KeyError {
        match self {
            Role::Owner => KeyError::OldOwner,
            Role::Signer => KeyError::OldSigner,
        }
    }
}
