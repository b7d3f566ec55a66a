//! Destroys retired secrets when their grace period is over.

use std::sync::Arc;

use entail_store::{Batch, Revision};
use serde_json::json;

use crate::change::Change;
use crate::clock::ClockReading;
use crate::documents::encode;
use crate::documents::retirements::{Retirements, SCHEDULE_KIND, Times, retirements_key};
use crate::documents::scope::{self, Scope};
use crate::error::Error;
use crate::principal::Principal;
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
        let documents = &self.entail.documents;
        let mut destroyed = 0;
        for organization in documents.scope_names(SCHEDULE_KIND).await? {
            destroyed += self.destroy_due_in(principal, &organization).await?;
        }
        Ok(destroyed)
    }

    /// [`Maintenance::destroy_due`] in one organization.
    async fn destroy_due_in(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<usize, Error> {
        let Some(retirements) = self.retirements(organization).await?.1 else {
            return Ok(0);
        };
        let now_ms = self.entail.documents.now_ms();
        let due: Vec<ScopePath> = retirements.due_at(now_ms).cloned().collect();
        if due.is_empty() && !retirements.is_contradicted(now_ms) {
            return Ok(0);
        }
        let mut destroyed = 0;
        for scope in due {
            if !self.has_destroyable(&scope).await? {
                continue;
            }
            match self
                .entail
                .change(principal, &Change::DestroyRetired { scope })
                .await
            {
                // Unknown if another process has removed it.
                Ok(_) | Err(Error::UnknownScope(_)) => destroyed += 1,
                Err(error) => return Err(error),
            }
        }
        self.entail
            .documents
            .until_not_contended(|| self.note_check(principal, organization))
            .await?;
        Ok(destroyed)
    }

    /// The retirements of the organization of a scope, and their revision.
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
                Ok(document.body::<Scope>()?.has_destroyable(&times))
            })
            .await
    }

    /// Notes in the store what this check of the clock found, for a later one.
    async fn note_check(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<(), Error> {
        let (revision, retirements) = self.retirements(organization).await?;
        let now = ClockReading::of(&*self.entail.documents.clock);
        let Some(next) = retirements.and_then(|retirements| retirements.checked_at(&now)) else {
            return Ok(());
        };
        let batch = Batch {
            put: vec![(retirements_key(organization), encode(&next)?)],
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
