//! Heartbeats: whether this machine may be shown an old state of the store, and until when.

use entail_store::{Freshness, MIN_FRESH_FOR_MS};
use serde_json::json;

use super::StoreKeys;
use super::renewing::Renewing;
use crate::authorize::authorize_whole;
use crate::error::Error;
use crate::principal::{Action, Principal};

impl StoreKeys<'_> {
    /// Requires that a signer confirms the state of the store at least every `fresh_for_ms`
    /// milliseconds. A machine that sees no such confirmation resolves nothing, since the state
    /// that it sees may be an old one. `None` ends the requirement.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the time is too short; [`Error::Keys`] without an owner key.
    pub async fn require_heartbeats(
        self,
        principal: &Principal,
        fresh_for_ms: Option<u64>,
    ) -> Result<(), Error> {
        if fresh_for_ms.is_some_and(|fresh_for_ms| fresh_for_ms < MIN_FRESH_FOR_MS) {
            return Err(Error::Invalid(
                "heartbeats cannot be required more often than every minute: give 1m or more"
                    .to_owned(),
            ));
        }
        self.run(principal, &mut |_| {}, move |renewing| async move {
            renewing.require_heartbeats(fresh_for_ms).await
        })
        .await
    }

    /// Confirms the present state of the store: it counts as the newest from now on, for as long
    /// as heartbeats are required in. Returns until when, in milliseconds since
    /// 1970-01-01T00:00:00Z; `None` if none are required.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`] without a signer.
    pub async fn send_heartbeat(self, principal: &Principal) -> Result<Option<u64>, Error> {
        authorize_whole(principal, Action::Administer)?;
        let documents = &self.entail.documents;
        Ok(documents.store.send_heartbeat(documents.now_ms()).await?)
    }

    /// When the present state of the store counts as the newest.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn freshness(self, principal: &Principal) -> Result<Freshness, Error> {
        authorize_whole(principal, Action::View)?;
        Ok(self.entail.documents.store.read(&[]).await?.freshness)
    }
}

impl Renewing {
    /// [`StoreKeys::require_heartbeats`].
    async fn require_heartbeats(&self, fresh_for_ms: Option<u64>) -> Result<(), Error> {
        let record = json!({"change": "require-heartbeats", "fresh_for_ms": fresh_for_ms});
        self.change_authority(&record, |authority| {
            let mut next = authority.clone();
            next.fresh_for_ms = fresh_for_ms;
            Ok(next)
        })
        .await
    }
}
