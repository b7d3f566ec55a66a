//! Committing a batch to the store.

use entail_store::{Author, Batch, Revision};
use serde_json::Value;

use crate::documents::encode;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::Principal;

impl Entail {
    /// Fails if this machine cannot write, as a commit would.
    pub(crate) async fn check_can_commit(&self) -> Result<(), Error> {
        // Another process may have rotated the signer.
        self.store.revision().await?;
        self.store.reload_keys()?.signer()?;
        Ok(())
    }

    /// Commits a batch with its journal entry.
    pub(crate) async fn commit(
        &self,
        principal: &Principal,
        expected: Revision,
        batch: Batch,
        change: &Value,
    ) -> Result<(), Error> {
        let change = encode(change)?;
        let author = Author {
            principal: &principal.to_string(),
            at_ms: self.now_ms(),
            change: &change,
        };
        self.store.commit(expected, batch, author).await?;
        Ok(())
    }
}
