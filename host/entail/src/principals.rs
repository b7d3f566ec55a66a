//! The principals in the journal: who they are, and how their names are erased.

use std::collections::BTreeMap;

use entail_store::{Batch, RandomId};
use serde_json::json;

use crate::authorize::authorize_whole;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};

impl Entail {
    /// The principals in the journal that were not erased, by their ids. A principal has
    /// several ids if it was erased, or if two machines recorded it first at once.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn principals(
        &self,
        principal: &Principal,
    ) -> Result<BTreeMap<RandomId, Principal>, Error> {
        authorize_whole(principal, Action::View)?;
        let all = self.documents.all_principals().await?;
        let all = all.into_iter();
        Ok(all.map(|(id, (_, principal))| (id, principal)).collect())
    }

    /// Erases who the principal with this id is: from the store and from backups that are made
    /// later. Its changes stay in the journal, with the id. Its next change gets
    /// another id.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPrincipal`] also if it was erased before; else as
    /// [`Entail::change`].
    pub async fn erase_principal(&self, principal: &Principal, id: RandomId) -> Result<(), Error> {
        authorize_whole(principal, Action::Administer)?;
        self.documents
            .until_not_contended(|| async {
                let revision = self.documents.store.revision().await?;
                let mut all = self.documents.all_principals().await?;
                let (key, _) = all.remove(&id).ok_or(Error::UnknownPrincipal(id))?;
                let batch = Batch {
                    remove: vec![key],
                    ..Batch::default()
                };
                let record = json!({"change": "erase-principal", "principal": id});
                self.documents
                    .commit(principal, revision, batch, &record)
                    .await
            })
            .await
    }
}
