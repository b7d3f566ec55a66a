//! Reading scopes and the journal.

use std::sync::Arc;

use entail_store::{JournalEntry, Revision};

use crate::authorize::{authorize, authorize_whole};
use crate::documents::scope::{self, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// A change in the journal.
#[derive(Debug)]
pub struct RecordedChange {
    /// The entry, with the id of the principal.
    pub entry: JournalEntry,
    /// The principal, as the machine says whose signer signed the change
    /// ([`JournalEntry::signed_by`]); `None` if the name was erased.
    pub principal: Option<Principal>,
}

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
        let key = scope::document_key(path);
        let (_, document) = self.documents.store.read_one(&key).await?;
        match document {
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
        match under {
            Some(under) => drop(self.scope(principal, under).await?),
            None => authorize_whole(principal, Action::View)?,
        }
        self.documents.scopes(under).await
    }

    /// The changes after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn journal(
        &self,
        principal: &Principal,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<RecordedChange>, Error> {
        let principals = self.principals(principal).await?;
        let entries = self.documents.store.journal(after, limit).await?;
        let recorded = entries.into_iter().map(|entry| RecordedChange {
            principal: principals.get(&entry.principal).cloned(),
            entry,
        });
        Ok(recorded.collect())
    }
}
