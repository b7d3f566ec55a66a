//! The recipients that secrets are sealed to.

use entail_store::{Batch, Recipient, RecipientError, Recipients};
use serde_json::{Value, json};

use super::renewal::Renewal;
use super::renewing::Renewing;
use crate::error::Error;

impl Renewing {
    /// [`StoreKeys::add_recipient`](super::StoreKeys::add_recipient).
    pub(crate) async fn add_recipient(&self, recipient: Recipient) -> Result<Renewal, Error> {
        let record = json!({"change": "add-recipient", "recipient": recipient.key, "label": recipient.label});
        self.change_recipients(&record, |list| list.with(recipient.clone()))
            .await?;
        self.reseal().await
    }

    /// [`StoreKeys::remove_recipient`](super::StoreKeys::remove_recipient).
    pub(crate) async fn remove_recipient(&self, which: &str) -> Result<Renewal, Error> {
        self.list_without(self.store().keyring().await?.recipients(), which)?;
        let record = json!({"change": "remove-recipient", "recipient": which});
        self.change_recipients(&record, |list| list.without(which))
            .await?;
        self.reseal().await
    }

    /// The list without one of its recipients, which must not be that of this machine's own
    /// identity.
    pub(super) fn list_without(&self, list: &Recipients, which: &str) -> Result<Recipients, Error> {
        let next = list.without(which).map_err(|error| match error {
            // `which` may be a key entered by mistake, so the error quotes it safely.
            RecipientError::Unknown(_) => Error::UnknownRecipient(which.to_owned()),
            other => other.into(),
        })?;
        let keys = self.store().keys();
        if keys.identity_ids().any(|id| list.has(id) && !next.has(id)) {
            return Err(Error::OwnRecipient);
        }
        Ok(next)
    }

    pub(super) async fn change_recipients(
        &self,
        change: &Value,
        next: impl Fn(&Recipients) -> Result<Recipients, RecipientError>,
    ) -> Result<(), Error> {
        self.documents
            .until_not_contended(|| async {
                let snapshot = self.store().read(&[]).await?;
                let list = snapshot.keyring.recipients();
                let next = next(list)?;
                if next.recipients == list.recipients {
                    return Ok(());
                }
                let mut draft = snapshot.keyring.next();
                draft.authority.readers = next;
                let batch = Batch {
                    keyring: Some(draft.into()),
                    ..Batch::default()
                };
                self.commit(snapshot.revision, batch, change).await
            })
            .await
    }
}
