//! Planning a change of keys: the checks of the change itself, and how much it would renew.

use entail_store::{
    Authority, Keyring, LabelledKey, Readers, Recipient, Role, StoreSigner, check_recipient_room,
    with_recipient,
};

use super::identity::replace;
use super::owners::{requiring, with_owner, without_owner};
use super::readers::{edited, unreadable};
use super::renewal::PAGE;
use super::renewing::Renewing;
use super::signer::{with_signer, without_signer};
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
    /// [`StoreKeys::add_owner`](super::StoreKeys::add_owner).
    AddOwner {
        /// The key.
        owner: LabelledKey,
        /// How many owners must sign from then on.
        required: Option<usize>,
    },
    /// [`StoreKeys::remove_owner`](super::StoreKeys::remove_owner).
    RemoveOwner {
        /// Its fingerprint or label.
        which: String,
        /// How many owners must sign from then on.
        required: Option<usize>,
    },
    /// [`StoreKeys::require_owners`](super::StoreKeys::require_owners).
    RequireOwners(usize),
    /// [`StoreKeys::add_signer`](super::StoreKeys::add_signer).
    AddSigner(StoreSigner),
    /// [`StoreKeys::remove_signer`](super::StoreKeys::remove_signer), by its fingerprint or label.
    RemoveSigner(String),
    /// [`StoreKeys::add_recipient`](super::StoreKeys::add_recipient).
    AddRecipient {
        /// The recipient; `None` if its key is not generated yet.
        recipient: Option<Recipient>,
        /// The organization; `None` for all.
        organization: Option<ScopePath>,
    },
    /// [`StoreKeys::remove_recipient`](super::StoreKeys::remove_recipient).
    RemoveRecipient {
        /// Its id, label or key.
        which: String,
        /// The organization; `None` for all.
        organization: Option<ScopePath>,
    },
    /// [`StoreKeys::reseal`](super::StoreKeys::reseal).
    Reseal,
}

/// What a change of keys would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// Whether it was begun earlier and would be finished.
    pub resumed: bool,
    /// How many secrets it would seal again.
    pub to_renew: usize,
    /// How many owners would have to sign it besides those whose keys this machine has.
    pub missing_owners: usize,
    /// The organizations with secrets that this machine's identity does not open, and would not
    /// open afterwards; only a rotation of the identity finds them.
    pub unreadable: Vec<String>,
}

impl Renewing {
    /// [`StoreKeys::plan`](super::StoreKeys::plan).
    pub(crate) async fn plan(&self, change: KeyChange) -> Result<KeyPlan, Error> {
        // Resealing writes only if a secret needs it, and never the keyring.
        let changes_keyring = !matches!(change, KeyChange::Reseal);
        let mut missing_owners = if changes_keyring {
            self.documents.missing_owners().await?
        } else {
            0
        };
        let keyring = self.store().keyring().await?;
        let authority = keyring.authority();
        // As many must sign as before, and as many as afterwards.
        let mut missing_later = |next: &Authority| {
            let missing = self.store().keys().missing_owners(&next.owners);
            missing_owners = missing_owners.max(missing.unwrap_or(next.owners.threshold));
        };
        let mut resumed = false;
        let mut not_open = Vec::new();
        let to_renew = match change {
            KeyChange::RotateSigner => {
                resumed = self.plan_signing_rotation(Role::Signer).await?;
                0
            }
            KeyChange::RotateOwner => {
                resumed = self.plan_signing_rotation(Role::Owner).await?;
                0
            }
            KeyChange::AddOwner { owner, required } => {
                missing_later(&with_owner(authority, owner, required)?);
                0
            }
            KeyChange::RemoveOwner { which, required } => {
                missing_later(&without_owner(authority, &which, required)?);
                0
            }
            KeyChange::RequireOwners(required) => {
                missing_later(&requiring(authority, required)?);
                0
            }
            KeyChange::AddSigner(signer) => {
                with_signer(authority, signer)?;
                0
            }
            KeyChange::RemoveSigner(which) => {
                let own = self.store().keys().id_of(Role::Signer);
                without_signer(authority, &which, own)?;
                0
            }
            KeyChange::RotateIdentity => {
                let keys = self.store().keys();
                keys.check_can_rotate()?;
                keys.check_identity_is_local()?;
                not_open = unreadable(authority, &keys);
                resumed = self.is_identity_rotation_begun(&keys).await?;
                match keys.own_recipients(FIRST_LABEL, 0)?.split_first() {
                    // The new epochs exist already if that was done before.
                    Some((newest, before)) if resumed => {
                        let edit = |list: &[Recipient]| replace(list, before, newest);
                        let (_, changed) = edited(authority, None, &edit)?;
                        self.count_in_other_epochs(&keyring, &changed).await?
                    }
                    _ => {
                        let own =
                            |readers: &&Readers| keys.identity_ids().any(|id| readers.has(id));
                        let changed = authority.readers.iter().filter(own);
                        let changed: Vec<_> = changed
                            .map(|readers| readers.organization.clone())
                            .collect();
                        self.count_in_other_epochs(&keyring, &changed).await?
                    }
                }
            }
            KeyChange::AddRecipient {
                recipient: Some(recipient),
                organization,
            } => {
                let edit = |list: &[Recipient]| with_recipient(list, recipient.clone());
                edited(authority, organization.as_ref(), &edit)?;
                self.check_opens(authority, organization.as_ref(), &self.store().keys())
                    .await?;
                0
            }
            KeyChange::AddRecipient {
                recipient: None,
                organization,
            } => {
                let edit = |list: &[Recipient]| check_recipient_room(list).map(|()| list.to_vec());
                edited(authority, organization.as_ref(), &edit)?;
                self.check_opens(authority, organization.as_ref(), &self.store().keys())
                    .await?;
                0
            }
            KeyChange::RemoveRecipient {
                which,
                organization,
            } => {
                let next = self.without(authority, &which, organization.as_ref())?;
                let changed = authority.readers.iter().zip(&next.readers);
                let changed = changed.filter(|(before, after)| before != after);
                let changed: Vec<_> = changed
                    .map(|(readers, _)| readers.organization.clone())
                    .collect();
                self.count_in_other_epochs(&keyring, &changed).await?
            }
            KeyChange::Reseal => self.count_in_other_epochs(&keyring, &[]).await?,
        };
        if !changes_keyring && to_renew > 0 {
            self.documents.check_can_commit().await?;
        }
        Ok(KeyPlan {
            resumed,
            to_renew,
            missing_owners,
            unreadable: not_open,
        })
    }

    /// How many secrets are not sealed to the newest epoch of their organization, or belong to one
    /// of `beginning`, whose next epoch begins.
    pub(crate) async fn count_in_other_epochs(
        &self,
        keyring: &Keyring,
        beginning: &[String],
    ) -> Result<usize, Error> {
        let paths: Vec<ScopePath> = self.documents.scopes(None).await?;
        let mut count = 0;
        for page in paths.chunks(PAGE) {
            let keys: Vec<_> = page.iter().map(scope::document_key).collect();
            let snapshot = self.store().read(&keys).await?;
            for (path, document) in page.iter().zip(&snapshot.documents) {
                let Some(document) = document else { continue };
                let organization = path.organization();
                let readers = keyring.readers(organization.as_str());
                let newest = readers
                    .and_then(Readers::newest)
                    .map(|newest| newest.number);
                let begins = beginning.iter().any(|begun| begun == organization.as_str());
                // One that cannot be read stays as it is.
                let Ok(scope) = document.body::<Scope>() else {
                    continue;
                };
                let versions = scope.all_credentials().flat_map(Credential::versions);
                count += versions
                    .filter(|version| begins || Some(version.epoch) != newest)
                    .count();
            }
        }
        Ok(count)
    }

    /// Returns whether the rotation was begun earlier.
    async fn plan_signing_rotation(&self, role: Role) -> Result<bool, Error> {
        self.store().keys().check_can_rotate()?;
        self.is_signing_rotation_begun(role).await
    }
}
