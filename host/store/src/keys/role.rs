//! What a signing key of a machine is for.

use super::error::KeyError;
use super::names::{NEXT_OWNER, NEXT_SIGNER, OWNER, SIGNER};
use crate::keyring::{Authority, LabelledKey};

/// What a signing key of a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs the keyring.
    Owner,
    /// It signs changes.
    Signer,
}

impl Role {
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

    /// The keys in this role.
    pub(crate) fn keys_of(self, authority: &mut Authority) -> &mut Vec<LabelledKey> {
        match self {
            Role::Owner => &mut authority.owners.keys,
            Role::Signer => &mut authority.signers,
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
