//! What a change of keys would come to: the same checks, and how much there is to seal
//! or sign again. Who gets what does not depend on it.

use entail_store::Recipient;

use crate::authorize::authorize_whole;
use crate::documents::scope::{self, Credential, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::home::FIRST;
use crate::keys::rotation::{PAGE, SignerRenewal, replace};
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// A change of keys, or of who secrets are sealed to.
#[derive(Clone, Copy, Debug)]
pub enum KeyChange<'a> {
    /// [`Entail::rotate_identity`].
    RotateIdentity,
    /// [`Entail::rotate_signer`].
    RotateSigner,
    /// [`Entail::add_recipient`]; none is one whose key is yet to be made.
    AddRecipient(Option<&'a Recipient>),
    /// [`Entail::remove_recipient`], by its name, label or key.
    RemoveRecipient(&'a str),
    /// [`Entail::reseal`].
    Reseal,
}

/// What a change of keys would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Whether it was begun earlier, and would be taken to its end.
    pub resumed: bool,
    /// Secrets to seal again; of a signer, documents to sign again.
    pub to_renew: usize,
}

impl Entail {
    /// Checks a change of keys as the change itself does, and counts what it would
    /// renew. Nothing is written, and no secret opened: what does not open would show
    /// only then.
    ///
    /// # Errors
    ///
    /// As the change.
    pub async fn dry_run_keys(
        &self,
        principal: &Principal,
        change: KeyChange<'_>,
    ) -> Result<KeyPlan, Error> {
        authorize_whole(principal, Action::Administer)?;
        // Sealing again writes only what needs it.
        let always_writes = !matches!(change, KeyChange::Reseal);
        if always_writes {
            self.check_can_commit().await?;
        }
        let list = self.store.recipients().await?;
        let mut resumed = false;
        let epoch = match change {
            KeyChange::RotateSigner => {
                let begun = self.signer_renewal()?;
                return Ok(KeyPlan {
                    resumed: begun != SignerRenewal::NotBegun,
                    to_renew: self.signed_before(begun).await?,
                });
            }
            KeyChange::RotateIdentity => {
                let keys = self.store.keys();
                keys.check_identity_is_local()?;
                resumed = self.identity_renewal(&keys).await?;
                match keys.own_recipients(FIRST, 0)?.split_first() {
                    Some((newest, before)) if resumed => replace(&list, before, newest)?.epoch,
                    _ => list.epoch + 1,
                }
            }
            KeyChange::AddRecipient(Some(recipient)) => list.with(recipient.clone())?.epoch,
            KeyChange::AddRecipient(None) => {
                list.check_room()?;
                list.epoch + 1
            }
            KeyChange::RemoveRecipient(which) => self.list_without(&list, which)?.epoch,
            KeyChange::Reseal => list.epoch,
        };
        let to_renew = self.not_sealed_to(principal, epoch).await?;
        if !always_writes && to_renew > 0 {
            self.check_can_commit().await?;
        }
        Ok(KeyPlan { resumed, to_renew })
    }

    /// How many secrets are sealed to another list of recipients than that of `epoch`.
    pub(crate) async fn not_sealed_to(
        &self,
        principal: &Principal,
        epoch: u32,
    ) -> Result<usize, Error> {
        let paths: Vec<ScopePath> = self.scopes(principal, None).await?;
        let mut count = 0;
        for some in paths.chunks(PAGE) {
            let keys: Vec<_> = some.iter().map(scope::document_key).collect();
            let snapshot = self.store.read(&keys).await?;
            for document in snapshot.documents.iter().flatten() {
                let scope = document.body::<Scope>()?;
                let versions = scope.all_credentials().flat_map(Credential::versions);
                count += versions.filter(|version| version.epoch != epoch).count();
            }
        }
        Ok(count)
    }

    /// How many documents the next signer would sign again.
    async fn signed_before(&self, begun: SignerRenewal) -> Result<usize, Error> {
        let verifiers = self.store.verifiers();
        let newest = match begun {
            SignerRenewal::HandedOver => verifiers.first().map(|verifier| verifier.id().as_str()),
            SignerRenewal::NotBegun | SignerRenewal::Staged => None,
        };
        let mut count = 0;
        for some in self.all_documents().await?.chunks(PAGE) {
            let snapshot = self.store.read(some).await?;
            let documents = snapshot.documents.iter().flatten();
            count += documents
                .filter(|document| Some(document.signer()) != newest)
                .count();
        }
        Ok(count)
    }
}
