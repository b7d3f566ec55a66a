//! Planning a change of keys: the checks of the change itself, and how much it would renew.

use entail_store::{Recipient, Role};

use super::identity::replace;
use super::renewal::PAGE;
use super::renewing::Renewing;
use crate::documents::scope::{self, Credential, Scope};
use crate::error::Error;
use crate::home::FIRST_LABEL;
use entail_decision::name::ScopePath;

/// A change of keys or recipients.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// [`StoreKeys::rotate_identity`](super::StoreKeys::rotate_identity).
    RotateIdentity,
    /// [`StoreKeys::rotate_signer`](super::StoreKeys::rotate_signer).
    RotateSigner,
    /// [`StoreKeys::rotate_owner`](super::StoreKeys::rotate_owner).
    RotateOwner,
    /// [`StoreKeys::add_recipient`](super::StoreKeys::add_recipient); `None` if its key is not
    /// generated yet.
    AddRecipient(Option<Recipient>),
    /// [`StoreKeys::remove_recipient`](super::StoreKeys::remove_recipient), by its name, label
    /// or key.
    RemoveRecipient(String),
    /// [`StoreKeys::reseal`](super::StoreKeys::reseal).
    Reseal,
}

/// What a change of keys would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Whether it was begun earlier and would be finished.
    pub resumed: bool,
    /// How many secrets it would seal again.
    pub to_renew: usize,
}

impl Renewing {
    /// [`StoreKeys::plan`](super::StoreKeys::plan).
    pub(crate) async fn plan(&self, change: KeyChange) -> Result<KeyPlan, Error> {
        // Resealing writes only if a secret needs it, and never the keyring.
        let changes_keyring = !matches!(change, KeyChange::Reseal);
        if changes_keyring {
            self.documents.check_can_commit_keyring().await?;
        }
        let keyring = self.store().keyring().await?;
        let list = keyring.recipients();
        let mut resumed = false;
        let epoch = match change {
            KeyChange::RotateSigner => return self.plan_signing_rotation(Role::Signer).await,
            KeyChange::RotateOwner => return self.plan_signing_rotation(Role::Owner).await,
            KeyChange::RotateIdentity => {
                self.store().keys().check_can_rotate()?;
                let keys = self.store().keys();
                keys.check_identity_is_local()?;
                resumed = self.is_identity_rotation_begun(&keys).await?;
                match keys.own_recipients(FIRST_LABEL, 0)?.split_first() {
                    Some((newest, before)) if resumed => replace(list, before, newest)?.epoch,
                    _ => list.epoch + 1,
                }
            }
            KeyChange::AddRecipient(Some(recipient)) => list.with(recipient)?.epoch,
            KeyChange::AddRecipient(None) => {
                list.check_room()?;
                list.epoch + 1
            }
            KeyChange::RemoveRecipient(which) => self.list_without(list, &which)?.epoch,
            KeyChange::Reseal => list.epoch,
        };
        let to_renew = self.count_not_sealed_to(epoch).await?;
        if !changes_keyring && to_renew > 0 {
            self.documents.check_can_commit().await?;
        }
        Ok(KeyPlan { resumed, to_renew })
    }

    /// How many secrets are sealed to another list of recipients than that of `epoch`.
    pub(crate) async fn count_not_sealed_to(&self, epoch: u32) -> Result<usize, Error> {
        let paths: Vec<ScopePath> = self.documents.scopes(None).await?;
        let mut count = 0;
        for page in paths.chunks(PAGE) {
            let keys: Vec<_> = page.iter().map(scope::document_key).collect();
            let snapshot = self.store().read(&keys).await?;
            for document in snapshot.documents.iter().flatten() {
                let scope = document.body::<Scope>()?;
                let versions = scope.all_credentials().flat_map(Credential::versions);
                count += versions.filter(|version| version.epoch != epoch).count();
            }
        }
        Ok(count)
    }

    async fn plan_signing_rotation(&self, role: Role) -> Result<KeyPlan, Error> {
        self.store().keys().check_can_rotate()?;
        Ok(KeyPlan {
            resumed: self.is_signing_rotation_begun(role).await?,
            to_renew: 0,
        })
    }
}
