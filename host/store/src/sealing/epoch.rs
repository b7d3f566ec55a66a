//! The keys of epochs: what the secrets of an organization are sealed to.
//!
//! The private key of an epoch is an age identity, in the format of the age tools, in an age file
//! that is encrypted to the recipients of the organization.

use std::sync::Arc;

use super::age_file::{decrypt, encrypt};
use super::context::{Fields, MAX_SECRET_FILE_BYTES, SealContext, SealError};
use super::frame;
use crate::digest::Digest;
use crate::keys::identity::{self, Identity};
use crate::recipients::{Epoch, Readers, Recipient, RecipientClass, ids};
use crate::secret::Secret;

/// The maximum size of the file with the key of an epoch: enough for a thousand recipients, or a
/// hundred with larger keys.
pub(crate) const MAX_EPOCH_FILE_BYTES: usize = 256 * 1024;

/// The private key of an epoch.
pub struct EpochKey {
    identity: Identity,
}

/// Readers whose epochs changed, and the files to add.
pub struct RenewedReaders {
    /// The readers.
    pub readers: Readers,
    /// The files with the keys of epochs.
    pub add_blobs: Vec<Vec<u8>>,
}

impl EpochKey {
    /// Opens the file of an epoch with any of `identities`.
    ///
    /// # Errors
    ///
    /// [`SealError::NotForThisIdentity`]; [`SealError::Damaged`], also if the file contains another
    /// key than that of the epoch.
    pub(crate) fn open<'a>(
        identities: impl IntoIterator<Item = &'a dyn age::Identity>,
        sealed: &[u8],
        epoch: &Epoch,
    ) -> Result<Self, SealError> {
        Self::parse(&decrypt(identities, sealed, MAX_EPOCH_FILE_BYTES)?, epoch)
    }

    /// Parses what the file of an epoch contains.
    ///
    /// # Errors
    ///
    /// [`SealError::Damaged`] if it is not the key of that epoch.
    pub(crate) fn parse(text: &Secret, epoch: &Epoch) -> Result<Self, SealError> {
        let mut found = identity::parse(text).ok_or(SealError::Damaged)?;
        let identity = found.pop().filter(|_| found.is_empty());
        let identity = identity.ok_or(SealError::Damaged)?;
        if identity.recipient() != epoch.key {
            return Err(SealError::Damaged);
        }
        Ok(EpochKey { identity })
    }

    /// Opens a sealed secret, if it was sealed for the context `expected`.
    ///
    /// # Errors
    ///
    /// [`SealError::Damaged`], [`SealError::NotForThisIdentity`],
    /// [`SealError::Misplaced`].
    pub fn unseal(&self, sealed: &[u8], expected: &SealContext) -> Result<Fields, SealError> {
        let key = std::iter::once(&self.identity.key as &dyn age::Identity);
        frame::decode(&decrypt(key, sealed, MAX_SECRET_FILE_BYTES)?, expected)
    }

    /// Seals the key to `recipients`.
    fn seal_to(&self, recipients: &[Recipient]) -> Result<Vec<u8>, SealError> {
        let text = identity::to_text([&self.identity]);
        encrypt(recipients.iter().map(|recipient| &*recipient.key), &text)
    }

    /// The epoch with this key, sealed to `recipients`, and its file.
    fn epoch(&self, number: u32, recipients: &[Recipient]) -> Result<(Epoch, Vec<u8>), SealError> {
        let sealed = self.seal_to(recipients)?;
        let epoch = Epoch {
            number,
            key: self.identity.recipient(),
            sealed: Digest::of(&sealed),
            sealed_to: ids(recipients),
        };
        Ok((epoch, sealed))
    }
}

impl Readers {
    /// The readers of a new organization, with a first epoch.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`].
    pub fn first(
        organization: &str,
        recipients: Vec<Recipient>,
    ) -> Result<RenewedReaders, SealError> {
        let readers = Readers {
            organization: organization.to_owned(),
            class: RecipientClass::X25519,
            recipients,
            epochs: Vec::new(),
        };
        readers.with_new_epoch(Vec::new())
    }

    /// Seals the keys of the epochs to the recipients again where they are sealed to others, and
    /// begins a new epoch if a recipient that was removed knows the newest. `open` returns the key
    /// of an epoch; an epoch that cannot be opened stays as it is.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`].
    pub fn renewed(
        mut self,
        mut open: impl FnMut(&Epoch) -> Option<Arc<EpochKey>>,
    ) -> Result<RenewedReaders, SealError> {
        let current = ids(&self.recipients);
        let is_known_to_others = self
            .newest()
            .is_none_or(|newest| newest.sealed_to.iter().any(|id| !current.contains(id)));
        let mut add_blobs = Vec::new();
        for epoch in &mut self.epochs {
            if epoch.is_sealed_to(&current) {
                continue;
            }
            if let Some(key) = open(epoch) {
                let (renewed, sealed) = key.epoch(epoch.number, &self.recipients)?;
                *epoch = renewed;
                add_blobs.push(sealed);
            }
        }
        if is_known_to_others {
            return self.with_new_epoch(add_blobs);
        }
        Ok(RenewedReaders {
            readers: self,
            add_blobs,
        })
    }

    /// The readers after a restore; `self` are those of the backup. They have the recipients of
    /// `present`, and the epochs of the backup. Begins a new epoch unless the newest one of the
    /// backup is also the newest one of `present`, sealed to the same recipients. Otherwise a
    /// recipient may know it that was added after the backup, and removed.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`].
    pub fn restored(mut self, present: &Readers) -> Result<RenewedReaders, SealError> {
        let is_newest = match (self.newest(), present.newest()) {
            (Some(backup), Some(now)) => {
                backup.key == now.key && backup.is_sealed_to(&now.sealed_to)
            }
            _ => false,
        };
        self.recipients.clone_from(&present.recipients);
        if is_newest {
            self.renewed(|_| None)
        } else {
            self.with_new_epoch(Vec::new())
        }
    }

    fn with_new_epoch(mut self, mut add_blobs: Vec<Vec<u8>>) -> Result<RenewedReaders, SealError> {
        let number = self.newest().map_or(1, |newest| newest.number + 1);
        let key = EpochKey {
            identity: Identity::generate(),
        };
        let (epoch, sealed) = key.epoch(number, &self.recipients)?;
        self.epochs.push(epoch);
        add_blobs.push(sealed);
        Ok(RenewedReaders {
            readers: self,
            add_blobs,
        })
    }
}

impl std::fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochKey").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RenewedReaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewedReaders")
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}
