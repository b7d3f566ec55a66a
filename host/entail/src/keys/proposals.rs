//! Proposals: changes of keys that wait for signatures of owners.

use entail_store::{
    Digest, JournalPosition, KeyError, KeyringDifference, Proposal, ProposalError, Revision,
    Secret, Signatures, Signer, differences,
};
use serde::Deserialize;
use serde_json::Value;

use super::StoreKeys;
use super::renewal::{OnStep, Renewal};
use super::renewing::Renewing;
use crate::authorize::authorize_whole;
use crate::error::Error;
use crate::home::Home;
use crate::principal::{Action, Principal};

/// What a proposal would change, and who signed it.
#[derive(Clone, Debug)]
pub struct ProposalReview {
    /// What it would change.
    pub differences: Vec<KeyringDifference>,
    /// The revision of the backup, if it is for a restore.
    pub restores: Option<Revision>,
    /// Who signed it, and how many more must.
    pub signatures: Signatures,
    /// Whether this machine has a keyring of the store, so that the present owners are known.
    pub is_trusted: bool,
}

/// What a proposal of a restore says about it.
#[derive(Deserialize)]
pub(crate) struct ProposedRestore {
    /// The revision of the backup.
    pub(crate) backup: Revision,
    /// The digest of its newest checkpoint.
    checkpoint: Digest,
}

impl ProposedRestore {
    /// `None` if the proposal is for no restore.
    pub(crate) fn of(proposal: &Proposal) -> Option<Self> {
        let change = proposal.is_restore().then(|| proposal.change().get())?;
        serde_json::from_str(change).ok()
    }

    /// The position of the backup.
    pub(crate) fn position(&self) -> JournalPosition {
        JournalPosition {
            revision: self.backup,
            checkpoint: Some(self.checkpoint),
        }
    }
}

/// Checks a proposal against the keyring that this home trusts, if there is a home.
///
/// # Errors
///
/// [`Error::Proposal`], [`Error::NotAuthorized`].
pub fn review_proposal(
    home: Option<&Home>,
    principal: &Principal,
    proposal: &Proposal,
) -> Result<ProposalReview, Error> {
    authorize_whole(principal, Action::Administer)?;
    let keyring = home.map(Home::trusted_keyring).transpose()?;
    Ok(ProposalReview {
        signatures: proposal.check(keyring.as_deref())?,
        differences: differences(proposal.previous(), proposal.keyring()),
        restores: ProposedRestore::of(proposal).map(|restore| restore.backup),
        is_trusted: keyring.is_some(),
    })
}

/// Checks a proposal, and signs it with the owner key of this home, or with `key`, an Ed25519
/// private key (PKCS #8, PEM).
///
/// # Errors
///
/// [`Error::Proposal`]; [`Error::Keys`] without an owner key.
pub fn sign_proposal(
    home: Option<&Home>,
    principal: &Principal,
    proposal: &mut Proposal,
    key: Option<&Secret>,
) -> Result<ProposalReview, Error> {
    review_proposal(home, principal, proposal)?;
    match (key, home) {
        (Some(key), _) => {
            let owner = owner_of(proposal, key)?;
            let signed = proposal.add_signature(&owner);
            signed.map_err(KeyError::from)?;
        }
        (None, Some(home)) => home
            .keys(entail_store::IdentitySource::Directory)?
            .sign_proposal(proposal)?,
        (None, None) => return Err(KeyError::NoOwner.into()),
    }
    review_proposal(home, principal, proposal)
}

/// The owner key in a file (PKCS #8, PEM).
///
/// # Errors
///
/// [`Error::Proposal`] if it is no key, or its signature would not count.
fn owner_of(proposal: &Proposal, key: &Secret) -> Result<Signer, Error> {
    let owner = Signer::from_pem(key).ok_or(ProposalError::NotAKey)?;
    if proposal.is_owner(owner.id()) {
        Ok(owner)
    } else {
        Err(ProposalError::NotAnOwner.into())
    }
}

impl StoreKeys<'_> {
    /// Makes the change of a proposal that enough owners have signed, and seals secrets again
    /// where that is due and this machine's identity opens them.
    ///
    /// If it was made already, this does what was left to do afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::OwnersRequired`], [`Error::Proposal`]; [`Error::Keys`] without a signer.
    pub async fn apply(
        self,
        principal: &Principal,
        proposal: Proposal,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        self.run(principal, on_step, |renewing| async move {
            renewing.apply(&proposal).await
        })
        .await
    }
}

impl Renewing {
    async fn apply(&self, proposal: &Proposal) -> Result<Renewal, Error> {
        let record: Value =
            serde_json::from_str(proposal.change().get()).map_err(|_| ProposalError::Malformed)?;
        let resumed = self
            .documents
            .until_not_contended(|| async {
                let keyring = self.store().keyring().await?;
                if keyring.digest() == proposal.keyring().digest() {
                    return Ok(true);
                }
                let (revision, batch) = self.store().proposed(proposal).await?;
                self.commit(revision, batch, &record).await?;
                Ok(false)
            })
            .await?;
        self.store().adopt_rotated_keys().await?;
        let keys = self.store().keys();
        let renewal = if keys.can_unseal() {
            self.reseal_with(&keys).await?
        } else {
            Renewal::default()
        };
        Ok(Renewal { resumed, ..renewal })
    }
}
