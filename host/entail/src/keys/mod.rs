//! Rotating the keys of a home, and changing its recipients.
//!
//! Each operation puts a new keyring into force. A change of recipients then seals the secrets
//! again that were there before, a few scopes per commit. Everything stays readable meanwhile. An
//! interrupted operation continues when it is called again: the next key in its file, and the
//! epoch of a secret, say what is left to do.
//!
//! If more owners must sign than this machine has keys of, an operation fails with
//! [`Error::OwnersRequired`], which contains the [proposal](entail_store::Proposal) for the others.
//! [`StoreKeys::apply`] then makes the change.

mod heartbeats;
mod identity;
mod owners;
mod plan;
pub(crate) mod proposals;
pub(crate) mod readers;
mod renewal;
pub(crate) mod renewing;
mod reseal;
mod signer;

use std::sync::Arc;

use entail_store::{Keyring, Keys, LabelledKey, Receipt, Recipient, Role, Secret, StoreSigner};

use crate::authorize::authorize_whole;
use crate::blocking::run_with_progress;
use crate::entail::Entail;
use crate::error::Error;
use crate::error::hint::Hint;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;
use renewing::Renewing;

pub use plan::{KeyChange, KeyPlan};
pub use proposals::{ProposalReview, review_proposal, sign_proposal};
pub use renewal::{OnStep, Renewal, StaleSecret, Step};

/// The keys that secrets are sealed to and changes are signed with.
/// [`Entail::keys`] returns it.
///
/// The operations that change keys run on a separate thread, which continues if the future
/// is dropped.
#[derive(Clone, Copy, Debug)]
pub struct StoreKeys<'a> {
    entail: &'a Entail,
}

impl Entail {
    /// The keys that secrets are sealed to and changes are signed with.
    pub fn keys(&self) -> StoreKeys<'_> {
        StoreKeys { entail: self }
    }
}

impl StoreKeys<'_> {
    /// The keys of this machine.
    ///
    /// # Errors
    ///
    /// [`Error::NotAuthorized`].
    pub fn local(self, principal: &Principal) -> Result<Arc<Keys>, Error> {
        authorize_whole(principal, Action::Administer)?;
        Ok(self.entail.documents.store.keys())
    }

    /// The keyring that is in force: who may change the store, and who may read it.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn keyring(self, principal: &Principal) -> Result<Arc<Keyring>, Error> {
        authorize_whole(principal, Action::View)?;
        Ok(self.entail.documents.store.keyring().await?)
    }

    /// The organizations with secrets that this machine's identity does not open. Without an
    /// unlocked identity, these are all.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn unreadable(self, principal: &Principal) -> Result<Vec<String>, Error> {
        let keyring = self.keyring(principal).await?;
        let keys = self.local(principal)?;
        Ok(readers::unreadable(keyring.authority(), &keys))
    }

    /// What would let this machine open the secrets of an organization, or of all; `None` without
    /// an unlocked identity.
    ///
    /// # Errors
    ///
    /// [`Error::NotAuthorized`].
    pub fn access_hint(
        self,
        principal: &Principal,
        organization: Option<&str>,
    ) -> Result<Option<Hint>, Error> {
        authorize_whole(principal, Action::Administer)?;
        let own = self.entail.own_recipient();
        Ok(own.map(|recipient| Hint::AddOwnRecipient {
            recipient,
            organization: organization.map(str::to_owned),
        }))
    }

    /// What is known of the store now, for a recovery key
    /// ([`RecoveryFiles`](entail_store::RecoveryFiles)).
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn receipt(self, principal: &Principal) -> Result<Receipt, Error> {
        authorize_whole(principal, Action::View)?;
        Ok(self.entail.documents.store.receipt().await?)
    }

    /// Checks a change of keys, and counts what it would renew. Writes nothing and opens no
    /// secret, so it does not find secrets that fail to open.
    ///
    /// # Errors
    ///
    /// As the change.
    pub async fn plan(self, principal: &Principal, change: KeyChange) -> Result<KeyPlan, Error> {
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing.plan(change).await
        })
        .await
    }

    /// Rotates this machine's identity: creates a new one, replaces the old one's recipient,
    /// seals every secret again, and destroys the old identity. `passphrase` is the one that
    /// protects it, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without an identity, or if it is not in the directory of the keys.
    pub async fn rotate_identity(
        self,
        principal: &Principal,
        passphrase: Option<&Secret>,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        let passphrase = passphrase.cloned();
        self.run(principal, on_step, |renewing| async move {
            renewing.rotate_identity(passphrase.as_ref()).await
        })
        .await
    }

    /// Rotates the signer: creates a new one, and puts a keyring with it into force. What the old
    /// one signs from then on is refused everywhere. Takes the same time for a store of any size.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without a signer; [`Error::OwnersRequired`].
    pub async fn rotate_signer(self, principal: &Principal) -> Result<Renewal, Error> {
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing.rotate_signing_key(Role::Signer).await
        })
        .await
    }

    /// Adds a signer: another machine may change the store, or some scopes of it, from then on.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is a signer already; [`Error::UnknownScope`];
    /// [`Error::OwnersRequired`].
    pub async fn add_signer(self, principal: &Principal, signer: StoreSigner) -> Result<(), Error> {
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing.add_signer(signer).await
        })
        .await
    }

    /// Removes a signer, given by its fingerprint or label. What it signs from then on is refused
    /// everywhere.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSigner`], [`Error::OwnSigner`], [`Error::OwnersRequired`].
    pub async fn remove_signer(self, principal: &Principal, which: &str) -> Result<(), Error> {
        let which = which.to_owned();
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing.remove_signer(&which).await
        })
        .await
    }

    /// Adds an owner key, with the number of owners that must sign from then on; `None` leaves that
    /// number as it is. As many owners must sign the change, too.
    ///
    /// # Errors
    ///
    /// [`Error::OwnerExists`], [`Error::OwnersOutOfRange`], [`Error::OwnersRequired`].
    pub async fn add_owner(
        self,
        principal: &Principal,
        owner: LabelledKey,
        required: Option<usize>,
    ) -> Result<(), Error> {
        self.run(principal, &mut |_| {}, move |renewing| async move {
            renewing.add_owner(owner, required).await
        })
        .await
    }

    /// Removes an owner key, given by its fingerprint or label; `required` as in
    /// [`StoreKeys::add_owner`]. What it signs from then on is refused everywhere.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownOwner`], [`Error::OwnersOutOfRange`], [`Error::OwnersRequired`].
    pub async fn remove_owner(
        self,
        principal: &Principal,
        which: &str,
        required: Option<usize>,
    ) -> Result<(), Error> {
        let which = which.to_owned();
        self.run(principal, &mut |_| {}, move |renewing| async move {
            renewing.remove_owner(&which, required).await
        })
        .await
    }

    /// Sets how many owners must sign changes of keys and recipients. As many as before, and as
    /// many as from then on, must sign this one.
    ///
    /// # Errors
    ///
    /// [`Error::OwnersOutOfRange`], [`Error::OwnersRequired`].
    pub async fn require_owners(self, principal: &Principal, required: usize) -> Result<(), Error> {
        self.run(principal, &mut |_| {}, move |renewing| async move {
            renewing.require_owners(required).await
        })
        .await
    }

    /// Rotates the owner key: creates a new one, and puts a keyring with it into force, which both
    /// sign.
    ///
    /// # Errors
    ///
    /// As [`StoreKeys::rotate_signer`].
    pub async fn rotate_owner(self, principal: &Principal) -> Result<Renewal, Error> {
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing.rotate_signing_key(Role::Owner).await
        })
        .await
    }

    /// Adds a recipient that can open the secrets of an organization; of all, and of those that
    /// are created later, if `organization` is `None`. Seals one small file per organization.
    ///
    /// # Errors
    ///
    /// [`Error::Recipient`]; [`Error::Keys`] without a signer; [`Error::OwnersRequired`].
    pub async fn add_recipient(
        self,
        principal: &Principal,
        recipient: Recipient,
        organization: Option<ScopePath>,
    ) -> Result<Renewal, Error> {
        self.run(principal, &mut |_| {}, |renewing| async move {
            renewing
                .add_recipient(recipient, organization.as_ref())
                .await
        })
        .await
    }

    /// Removes a recipient, given by its id, label or key, of an organization, or of all. A new
    /// epoch begins, and every secret of these organizations is sealed to it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRecipient`]; [`Error::OwnRecipient`]; [`Error::Keys`] without a
    /// signer.
    pub async fn remove_recipient(
        self,
        principal: &Principal,
        which: &str,
        organization: Option<ScopePath>,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        let which = which.to_owned();
        self.run(principal, on_step, |renewing| async move {
            renewing
                .remove_recipient(&which, organization.as_ref())
                .await
        })
        .await
    }

    /// Seals every secret again that is not sealed to the newest epoch of its organization, and the
    /// keys of epochs that are sealed to other recipients than the present ones.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without a signer. Secrets that cannot be opened here are in
    /// [`Renewal::skipped`].
    pub async fn reseal(
        self,
        principal: &Principal,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        self.run(principal, on_step, |renewing| async move {
            renewing.reseal().await
        })
        .await
    }

    /// Runs an operation on a separate thread.
    async fn run<T: Send + 'static, F: Future<Output = Result<T, Error>>>(
        self,
        principal: &Principal,
        on_step: OnStep<'_>,
        operation: impl FnOnce(Renewing) -> F + Send + 'static,
    ) -> Result<T, Error> {
        authorize_whole(principal, Action::Administer)?;
        let (documents, principal) = (self.entail.documents.clone(), principal.clone());
        run_with_progress("entail-keys", on_step, move |progress| {
            operation(Renewing::new(documents, principal, Some(progress)))
        })
        .await
    }
}
