//! Commits a change.

use crate::authorize::authorize;
use crate::change::{Applied, Change};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};

impl Entail {
    /// Applies a change.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or a more specific error if the change is not valid;
    /// [`Error::Contended`] if other writers were faster each time. In either case nothing
    /// was changed.
    pub async fn change(&self, principal: &Principal, change: &Change) -> Result<Applied, Error> {
        authorize(principal, Action::Change, change.scope())?;
        let documents = &self.documents;
        documents
            .until_not_contended(|| async {
                let plan = self.plan(change).await?;
                let record = change.record();
                documents
                    .commit(principal, plan.revision, plan.batch, &record)
                    .await?;
                Ok(plan.applied)
            })
            .await
    }
}
