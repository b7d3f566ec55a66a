//! The recipients that secrets are sealed to.

use entail_store::{Batch, Recipient, RecipientError, Recipients, recipients_key};
use serde_json::{Value, json};

use super::renewal::{OnStep, Renewal};
use crate::authorize::authorize_whole;
use crate::documents::encode;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};

impl Entail {
    /// The recipients that secrets are sealed to.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn recipients(&self, principal: &Principal) -> Result<Recipients, Error> {
        authorize_whole(principal, Action::View)?;
        Ok(Recipients::clone(&*self.store.recipients().await?))
    }

    /// Adds a recipient, and seals every secret to it as well.
    ///
    /// # Errors
    ///
    /// [`Error::Recipient`]; [`Error::Keys`] without a signer.
    pub async fn add_recipient(
        &self,
        principal: &Principal,
        recipient: Recipient,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        let record = json!({"change": "add-recipient", "recipient": recipient.key, "label": recipient.label});
        self.change_recipients(principal, &record, |list| list.with(recipient.clone()))
            .await?;
        self.reseal(principal, on_step).await
    }

    /// Removes a recipient, given by its name, label or key, and seals every secret again
    /// without it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRecipient`]; [`Error::OwnRecipient`]; [`Error::Keys`] without a
    /// signer.
    pub async fn remove_recipient(
        &self,
        principal: &Principal,
        which: &str,
        on_step: OnStep<'_>,
    ) -> Result<Renewal, Error> {
        self.list_without(&*self.store.recipients().await?, which)?;
        let record = json!({"change": "remove-recipient", "recipient": which});
        self.change_recipients(principal, &record, |list| list.without(which))
            .await?;
        self.reseal(principal, on_step).await
    }

    /// The list without one of its recipients, which must not be that of this machine's own
    /// identity.
    pub(super) fn list_without(&self, list: &Recipients, which: &str) -> Result<Recipients, Error> {
        let next = list.without(which).map_err(|error| match error {
            // `which` may be a key entered by mistake, so the error quotes it safely.
            RecipientError::Unknown(_) => Error::UnknownRecipient(which.to_owned()),
            other => other.into(),
        })?;
        let keys = self.store.keys();
        if keys.identity_ids().any(|id| list.has(id) && !next.has(id)) {
            return Err(Error::OwnRecipient);
        }
        Ok(next)
    }

    pub(super) async fn change_recipients(
        &self,
        principal: &Principal,
        change: &Value,
        next: impl Fn(&Recipients) -> Result<Recipients, RecipientError>,
    ) -> Result<(), Error> {
        authorize_whole(principal, Action::Administer)?;
        self.until_not_contended(|| async {
            let key = recipients_key();
            let snapshot = self.store.read(std::slice::from_ref(&key)).await?;
            let list = self.store.recipients().await?;
            let next = next(&list)?;
            if next.recipients == list.recipients {
                return Ok(());
            }
            let batch = Batch {
                put: vec![(key, encode(&next)?)],
                ..Batch::default()
            };
            self.commit(principal, snapshot.revision, batch, change)
                .await
        })
        .await
    }
}
