//! Rotating the identity of a machine.

use entail_store::{KeyError, Keys, Recipient, RecipientError, Secret};
use serde_json::json;

use super::readers::unreadable;
use super::renewal::{Renewal, StaleSecret};
use super::renewing::Renewing;
use crate::error::Error;
use crate::home::FIRST_LABEL;

impl Renewing {
    /// [`StoreKeys::rotate_identity`](super::StoreKeys::rotate_identity).
    pub(crate) async fn rotate_identity(
        &self,
        passphrase: Option<&Secret>,
    ) -> Result<Renewal, Error> {
        self.store().keys().check_can_rotate()?;
        // Two rotations at once would create two keys and lose one.
        let _lock = self.store().keys().lock()?;
        self.store().keys().check_identity_is_local()?;
        let keyring = self.store().keyring().await?;
        self.store().keys().check_not_limited(&keyring)?;
        let mut keys = self.read_keys(passphrase)?;
        let resumed = self.is_identity_rotation_begun(&keys).await?;
        if !resumed {
            keys.begin_new_identity(passphrase)?;
            self.store().reload_keys().await?;
        }
        let own = keys.own_recipients(FIRST_LABEL, self.documents.now_ms())?;
        let (newest, before) = own.split_first().ok_or(KeyError::NoIdentity)?;
        let record = json!({"change": "rotate-identity", "recipient": newest.key});
        let edit = |list: &[Recipient]| replace(list, before, newest);
        let changed = self.change_readers(&record, None, &keys, &edit).await?;
        let mut renewal = self.reseal_with(&keys).await?;
        // Skipped secrets may be repaired later, and then only the old identity opens them.
        renewal.old_identity_kept = renewal.skipped.iter().any(StaleSecret::needs_old_identity);
        if !renewal.old_identity_kept {
            keys.end_old_identities(passphrase)?;
        }
        self.store().reload_keys().await?;
        renewal.resumed = resumed;
        renewal.organizations = changed;
        let keyring = self.store().keyring().await?;
        renewal.unreadable = unreadable(keyring.authority(), &self.store().keys());
        Ok(renewal)
    }

    /// Whether a rotation of the identity was begun earlier. Fails if no secret is sealed to
    /// the identity.
    pub(super) async fn is_identity_rotation_begun(&self, keys: &Keys) -> Result<bool, Error> {
        let own = keys.own_recipients(FIRST_LABEL, 0)?;
        let is_begun = own.len() > 1;
        let keyring = self.store().keyring().await?;
        match own.first() {
            Some(unlisted) if !is_begun && !keyring.has_reader(&unlisted.id()) => {
                Err(Error::NotARecipient {
                    recipient: unlisted.key.clone(),
                })
            }
            _ => Ok(is_begun),
        }
    }

    /// Reads the keys from their files, and unlocks the identity.
    fn read_keys(&self, passphrase: Option<&Secret>) -> Result<Keys, Error> {
        let mut keys = Keys::open(self.store().keys().directory())?;
        if let Some(passphrase) = passphrase {
            keys.unlock(passphrase)?;
        }
        Ok(keys)
    }
}

/// The list with `newest` instead of `old`; unchanged if that was done before.
pub(super) fn replace(
    list: &[Recipient],
    old: &[Recipient],
    newest: &Recipient,
) -> Result<Vec<Recipient>, RecipientError> {
    let is_old = |recipient: &Recipient| old.iter().any(|old| old.key == recipient.key);
    let Some(replaced) = list.iter().find(|recipient| is_old(recipient)) else {
        if list.iter().any(|recipient| recipient.key == newest.key) {
            return Ok(list.to_vec());
        }
        // The old identity opens nothing, so no secret could be sealed again.
        return Err(RecipientError::Unknown(newest.id()));
    };
    let newest = Recipient {
        label: replaced.label.clone(),
        ..newest.clone()
    };
    let others = list
        .iter()
        .filter(|recipient| !is_old(recipient) && recipient.key != newest.key);
    Ok(std::iter::once(newest.clone())
        .chain(others.cloned())
        .collect())
}
