//! Who is recorded in the journal and in the decision log, and how names are erased. Both
//! contain ids in place of principals; documents of the store say who those of the journal are,
//! and a file of the home who those of the decision log are.

use std::collections::BTreeMap;

use entail_store::{Batch, DocumentKey, RandomId};
use serde_json::json;

use crate::audit;
use crate::authorize::authorize_whole;
use crate::blocking::run_on_thread;
use crate::entail::Entail;
use crate::error::Error;
use crate::home::Home;
use crate::principal::{Action, Principal, PrincipalRef};

/// The ids of an erased principal. They stay where they are; nothing says any more who they
/// are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasedPrincipal {
    /// Those in the journal.
    pub journal: Vec<RandomId>,
    /// Those in the decision log of this home.
    pub log: Vec<RandomId>,
}

impl Entail {
    /// The principals in the journal that were not erased, by their ids. A principal has
    /// several ids if two machines recorded it first at once. Those in the decision log are
    /// [`logged_principals`].
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

    /// Erases who a principal is: first from the decision log of this home, as
    /// [`erase_logged_principal`] does, then from the store and from backups that are made later.
    /// Its records and changes stay, with the ids. Its next ones get others.
    ///
    /// The decision logs of other machines of the store name it until it is erased there.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPrincipal`] also if it was erased before; [`Error::Home`] if it cannot be
    /// erased from the decision log; else as [`Entail::change`]: then the decision log no longer
    /// names it, but the store does.
    pub async fn erase_principal(
        &self,
        principal: &Principal,
        erased: &PrincipalRef,
    ) -> Result<ErasedPrincipal, Error> {
        authorize_whole(principal, Action::Administer)?;
        let home = self.home().clone();
        let logged = run_on_thread("entail-principals", move || audit::logged_principals(&home));
        let mut known = logged.await??;
        let in_journal = self.documents.all_principals().await?.into_iter();
        known.extend(in_journal.map(|(id, (_, principal))| (id, principal)));
        let unknown = || Error::UnknownPrincipal(Box::new(erased.clone()));
        let who = erased.find(&known).ok_or_else(unknown)?;
        let (home, logged) = (self.home().clone(), who.clone());
        let erase = move || audit::erase_logged_principal(&home, &logged);
        let found = ErasedPrincipal {
            log: run_on_thread("entail-principals", erase).await??,
            journal: self.erase_from_journal(principal, &who).await?,
        };
        if found == ErasedPrincipal::default() {
            return Err(unknown());
        }
        Ok(found)
    }

    /// Removes the documents of a principal, each with a change of its own: a signer that is
    /// limited to some scopes may not remove all of them.
    async fn erase_from_journal(
        &self,
        principal: &Principal,
        erased: &Principal,
    ) -> Result<Vec<RandomId>, Error> {
        let all = self.documents.all_principals().await?.into_iter();
        let documents = all.filter(|(_, (_, found))| found == erased);
        let mut ids = Vec::new();
        let mut failed = None;
        for (id, (key, _)) in documents {
            match self.remove_document(principal, id, key).await {
                Ok(()) => ids.push(id),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(ids), Err)
    }

    async fn remove_document(
        &self,
        principal: &Principal,
        id: RandomId,
        key: DocumentKey,
    ) -> Result<(), Error> {
        self.documents
            .until_not_contended(|| async {
                let revision = self.documents.store.revision().await?;
                if !self.documents.all_principals().await?.contains_key(&id) {
                    return Ok(());
                }
                let batch = Batch {
                    remove: vec![key.clone()],
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

/// The principals in the decision log of a home that were not erased, by their ids. A principal
/// has one id, unless the file that names it was edited.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if the file cannot be read.
pub fn logged_principals(
    home: &Home,
    principal: &Principal,
) -> Result<BTreeMap<RandomId, Principal>, Error> {
    authorize_whole(principal, Action::Administer)?;
    audit::logged_principals(home)
}

/// Erases who a principal is from the decision log of a home alone: for a machine without a
/// signer, or without a store. Returns its ids, which stay in the log; none if the log does not
/// name it. Blocks on the disk.
///
/// # Errors
///
/// [`Error::NotAuthorized`]; [`Error::Home`] if the file cannot be replaced.
pub fn erase_logged_principal(
    home: &Home,
    principal: &Principal,
    erased: &Principal,
) -> Result<Vec<RandomId>, Error> {
    authorize_whole(principal, Action::Administer)?;
    audit::erase_logged_principal(home, erased)
}
