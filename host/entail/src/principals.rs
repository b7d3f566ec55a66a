//! Who is recorded in the journal and in the decision log, and how names are erased. Both
//! contain ids in place of principals; documents of the store say who those of the journal are,
//! and a file of the home who those of the decision log are.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use entail_store::{Batch, DocumentKey, RandomId};
use serde_json::json;

use crate::audit;
use crate::authorize::authorize_whole;
use crate::blocking::run_on_thread;
use crate::entail::Entail;
use crate::error::Error;
use crate::home::Home;
use crate::principal::{Action, Principal};

/// Which principal is meant: by its text, or by an id that it has in the journal or in the
/// decision log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalRef {
    /// The one with this id.
    Id(RandomId),
    /// This one.
    Principal(Principal),
}

impl fmt::Display for PrincipalRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrincipalRef::Id(id) => id.fmt(f),
            PrincipalRef::Principal(principal) => principal.fmt(f),
        }
    }
}

impl FromStr for PrincipalRef {
    type Err = InvalidPrincipalRef;

    fn from_str(text: &str) -> Result<Self, InvalidPrincipalRef> {
        if let Ok(id) = text.parse() {
            return Ok(PrincipalRef::Id(id));
        }
        let principal = text.parse().map(PrincipalRef::Principal);
        principal.map_err(|_| InvalidPrincipalRef)
    }
}

/// A text is neither an id nor a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is neither an id (32 lower-case hexadecimal digits) nor a principal (local:NAME, project:SCOPE)"
)]
pub struct InvalidPrincipalRef;

impl PrincipalRef {
    /// The principal that is meant, given who some ids are.
    pub fn find(&self, known: &BTreeMap<RandomId, Principal>) -> Option<Principal> {
        match self {
            PrincipalRef::Id(id) => known.get(id).cloned(),
            PrincipalRef::Principal(principal) => Some(principal.clone()),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_meant_by_its_id_or_its_text() {
        let id = "0123456789abcdef0123456789abcdef";
        let meant = |text: &str| text.parse::<PrincipalRef>();
        assert_eq!(meant(id), Ok(PrincipalRef::Id(id.parse().unwrap())));
        let owner = PrincipalRef::Principal(Principal::LocalOwner);
        assert_eq!(meant("local:owner"), Ok(owner.clone()));
        for text in ["", "owner", "unknown:1", &id[1..], &id.to_uppercase()] {
            assert_eq!(meant(text), Err(InvalidPrincipalRef), "{text}");
        }
        assert_eq!(owner.to_string(), "local:owner");
        assert_eq!(meant(id).unwrap().to_string(), id);
    }
}
