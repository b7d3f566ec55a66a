//! Reading scopes and the journal.

use std::sync::Arc;

use entail_store::{Fault, JournalEntry, Revision, Tampering};

use crate::authorize::authorize;
use crate::documents::scope::{self, SCOPE_KIND, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

impl Entail {
    /// What a scope holds, without the secrets.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn scope(
        &self,
        principal: &Principal,
        path: &ScopePath,
    ) -> Result<Arc<Scope>, Error> {
        authorize(principal, Action::View, path)?;
        let snapshot = self.store.read(&[scope::document_key(path)]).await?;
        match snapshot.documents.into_iter().next().flatten() {
            Some(document) => Ok(document.body::<Scope>()?),
            None => Err(Error::UnknownScope(path.clone())),
        }
    }

    /// The paths of `under` and its descendants, in order; of all scopes if it is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn scopes(
        &self,
        principal: &Principal,
        under: Option<&ScopePath>,
    ) -> Result<Vec<ScopePath>, Error> {
        let Some(under) = under else {
            return self.list_scopes("").await;
        };
        self.scope(principal, under).await?;
        self.list_scopes(under.as_str()).await
    }

    async fn list_scopes(&self, under: &str) -> Result<Vec<ScopePath>, Error> {
        let names = self
            .store
            .names(SCOPE_KIND, under, None, usize::MAX)
            .await?;
        names
            .into_iter()
            .map(|name| {
                let invalid = |_| Tampering::new(Fault::Extra, "a scope", "has no scope's name");
                name.parse().map_err(|error| invalid(error).into())
            })
            .collect()
    }

    /// The changes after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<JournalEntry>, Error> {
        Ok(self.store.journal(after, limit).await?)
    }
}
