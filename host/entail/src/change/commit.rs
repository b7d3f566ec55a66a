//! Commits a change.

use std::collections::BTreeSet;

use entail_decision::name::ScopePath;
use entail_store::{Batch, Digest, Fault};
use serde::de::IgnoredAny;

use crate::authorize::authorize;
use crate::change::{Applied, Change};
use crate::documents::policy::COMPONENT_KIND;
use crate::documents::scope::{SCOPE_KIND, Scope};
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
                let mut batch = plan.batch;
                self.keep_blobs_of_others(change.scope(), &mut batch)
                    .await?;
                let record = change.record();
                documents
                    .commit(principal, plan.revision, batch, &record)
                    .await?;
                Ok(plan.applied)
            })
            .await
    }

    /// Leaves blobs out of a removal that do not exist, or that something else names: a signer of
    /// this scope alone may have named any blob in its document.
    async fn keep_blobs_of_others(
        &self,
        changed: &ScopePath,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if batch.remove_blobs.is_empty() {
            return Ok(());
        }
        let store = &self.documents.store;
        let mut kept = BTreeSet::new();
        for digest in &batch.remove_blobs {
            match store.blob(digest).await {
                Err(entail_store::Error::Tampered(fault)) if fault.fault() == Fault::Missing => {
                    kept.insert(*digest);
                }
                found => drop(found?),
            }
        }
        let keyring = store.keyring().await?;
        let readers = keyring.authority().readers.iter();
        kept.extend(readers.flat_map(|readers| readers.epochs.iter().map(|epoch| epoch.sealed)));
        for (key, _) in self
            .documents
            .readable_bodies::<IgnoredAny>(COMPONENT_KIND)
            .await?
        {
            kept.extend(key.name.parse::<Digest>());
        }
        let scopes = self.documents.readable_bodies::<Scope>(SCOPE_KIND).await?;
        let others = scopes
            .iter()
            .filter(|(key, _)| key.name != changed.as_str());
        kept.extend(others.flat_map(|(_, scope)| scope.blobs()));
        batch.remove_blobs.retain(|digest| !kept.contains(digest));
        Ok(())
    }
}
