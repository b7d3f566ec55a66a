//! Destroys retired secrets when their grace period is over.

use std::sync::Arc;

use entail_store::{Batch, KeyError, Revision};
use serde_json::json;

use crate::authorize::authorize_whole;
use crate::change::Change;
use crate::clock::ClockReading;
use crate::documents::encode;
use crate::documents::retirements::{Retirements, SCHEDULE_KIND, Times, retirements_key};
use crate::documents::scope::{self, Scope};
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::recovery::Maintenance;
use entail_decision::name::ScopePath;

impl Maintenance<'_> {
    /// Destroys the retired versions and removed credentials whose grace period is certainly
    /// over, in every scope. Returns the number of scopes that had some. Checking whether there
    /// are any costs a few reads.
    ///
    /// The clock alone does not suffice: the machine must have been up for as long as the
    /// secret was to be kept, or, if it rebooted in between, an earlier call, at least a
    /// day before, must have found it over as well. Such a call is noted in the store.
    ///
    /// # Errors
    ///
    /// As [`Entail::change`](crate::Entail::change).
    pub async fn destroy_due(self, principal: &Principal) -> Result<usize, Error> {
        authorize_whole(principal, Action::Change)?;
        let documents = &self.entail.documents;
        let all = documents
            .readable_bodies::<Retirements>(SCHEDULE_KIND)
            .await?;
        let mut destroyed = 0;
        for (key, retirements) in all {
            let now_ms = documents.now_ms();
            if !retirements.is_due_at(now_ms) && !retirements.is_contradicted(now_ms) {
                continue;
            }
            // A signer of some scopes may have written what is no schedule of a scope.
            let Ok(scope) = key.name.parse::<ScopePath>() else {
                continue;
            };
            match self.destroy_due_in(principal, &scope).await {
                Ok(has_destroyed) => destroyed += usize::from(has_destroyed),
                // Another machine may change that scope.
                Err(Error::Keys(KeyError::OutsideDelegation { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(destroyed)
    }

    /// [`Maintenance::destroy_due`] in one scope. Returns whether there was something to destroy.
    async fn destroy_due_in(self, principal: &Principal, scope: &ScopePath) -> Result<bool, Error> {
        let has_destroyable = self.has_destroyable(scope).await?;
        if has_destroyable {
            let scope = scope.clone();
            match self
                .entail
                .change(principal, &Change::DestroyRetired { scope })
                .await
            {
                // Unknown if another process has removed it.
                Ok(_) | Err(Error::UnknownScope(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.entail
            .documents
            .until_not_contended(|| self.note_check(principal, scope))
            .await?;
        Ok(has_destroyable)
    }

    /// The retirements of a scope, and their revision.
    async fn retirements(
        self,
        scope: &ScopePath,
    ) -> Result<(Revision, Option<Arc<Retirements>>), Error> {
        let store = &self.entail.documents.store;
        let (revision, document) = store.read_one(&retirements_key(scope)).await?;
        let retirements = document.map(|document| document.body()).transpose()?;
        Ok((revision, retirements))
    }

    /// Whether a scope holds something that may be destroyed.
    async fn has_destroyable(self, path: &ScopePath) -> Result<bool, Error> {
        self.entail
            .documents
            .until_not_contended(|| async {
                let (revision, retirements) = self.retirements(path).await?;
                let key = scope::document_key(path);
                let (read_at, document) = self.entail.documents.store.read_one(&key).await?;
                if read_at != revision {
                    return Err(Error::Contended);
                }
                let Some(document) = document else {
                    return Ok(false);
                };
                let now = ClockReading::of(&*self.entail.documents.clock);
                let times = Times {
                    now: &now,
                    newest_ms: self.entail.documents.newest_change_ms(revision).await?,
                    seen_over: retirements
                        .as_ref()
                        .and_then(|retirements| retirements.seen_over.as_ref()),
                };
                // One that cannot be read stays as it is.
                let scope = document.body::<Scope>();
                Ok(scope.is_ok_and(|scope| scope.has_destroyable(&times)))
            })
            .await
    }

    /// Notes in the store what this check of the clock found, for a later one.
    async fn note_check(self, principal: &Principal, scope: &ScopePath) -> Result<(), Error> {
        let (revision, retirements) = self.retirements(scope).await?;
        let now = ClockReading::of(&*self.entail.documents.clock);
        let Some(next) = retirements.and_then(|retirements| retirements.checked_at(&now)) else {
            return Ok(());
        };
        let batch = Batch {
            put: vec![(retirements_key(scope), encode(&next)?)],
            ..Batch::default()
        };
        let change = if next.seen_over.is_some() {
            json!({"change": "find-retirements-over"})
        } else {
            json!({"change": "withdraw-retirements-over"})
        };
        self.entail
            .documents
            .commit(principal, revision, batch, &change)
            .await
    }
}
