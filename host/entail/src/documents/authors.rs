//! The authors of changes: finding and adding the documents that say who they are.

use std::collections::BTreeMap;

use entail_store::{Batch, DocumentKey, RandomId, Role};

use crate::documents::encode;
use crate::documents::principal::{Known, PRINCIPAL_KIND, PrincipalDocument, id_of};
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::principal::Principal;

impl DocumentStore {
    /// The id of a principal in the journal. It is a new one if the store has none, and
    /// the next commit by the principal adds its document.
    pub(crate) async fn id_of(&self, principal: &Principal) -> Result<RandomId, Error> {
        Ok(self.known(principal).await?.id)
    }

    /// Adds the document of the principal who makes a change to its batch, if the store does not
    /// have it. Returns the id of the principal.
    pub(crate) async fn add_author(
        &self,
        principal: &Principal,
        batch: &mut Batch,
    ) -> Result<RandomId, Error> {
        let known = self.known(principal).await?;
        if let Some(new) = &known.new {
            batch.author = Some((known.key, encode(new)?));
        }
        Ok(known.id)
    }

    async fn known(&self, principal: &Principal) -> Result<Known, Error> {
        let cached = self.principals.lock().get(principal).cloned();
        if let Some(mut known) = cached {
            let (_, found) = self.store.read_one(&known.key).await?;
            match (&found, &known.new) {
                (Some(_), Some(_)) => {
                    // It was committed.
                    known.new = None;
                    self.principals
                        .lock()
                        .insert(principal.clone(), known.clone());
                    return Ok(known);
                }
                (Some(_), None) | (None, Some(_)) => return Ok(known),
                // It was erased.
                (None, None) => {}
            }
        }
        let documents = self
            .readable_bodies::<PrincipalDocument>(PRINCIPAL_KIND)
            .await?;
        let stored = documents.into_iter().find_map(|(key, document)| {
            let is_meant = document.principal().as_ref() == Some(principal);
            let id = id_of(&key).filter(|_| is_meant)?;
            Some(Known { id, key, new: None })
        });
        let known = match stored {
            Some(known) => known,
            None => self.new_principal(principal).await?,
        };
        self.principals
            .lock()
            .insert(principal.clone(), known.clone());
        Ok(known)
    }

    async fn new_principal(&self, principal: &Principal) -> Result<Known, Error> {
        let failed = |error: std::io::Error| Error::Unavailable(error.to_string());
        let id = RandomId::generate().map_err(failed)?;
        let salt = RandomId::generate().map_err(failed)?;
        Ok(Known {
            id,
            key: self.new_key(id).await?,
            new: Some(PrincipalDocument::new(principal, salt)),
        })
    }

    /// The key of a new document, which the signer of this machine may write.
    async fn new_key(&self, id: RandomId) -> Result<DocumentKey, Error> {
        let keyring = self.store.keyring().await?;
        // Another process may have rotated the signer.
        let own = self.store.reload_keys().await?.id_of(Role::Signer);
        let mut signers = keyring.authority().signers.iter();
        let signer = signers.find(|signer| Some(signer.id()) == own);
        let scopes = signer.and_then(|signer| signer.scopes.as_ref());
        let name = match scopes.and_then(|scopes| scopes.first()) {
            Some(scope) => format!("{scope}/{id}"),
            None => id.to_string(),
        };
        Ok(DocumentKey::new(PRINCIPAL_KIND, name))
    }

    /// The principals of the journal that were not erased, with the names of their documents.
    pub(crate) async fn all_principals(
        &self,
    ) -> Result<BTreeMap<RandomId, (DocumentKey, Principal)>, Error> {
        let documents = self
            .readable_bodies::<PrincipalDocument>(PRINCIPAL_KIND)
            .await?;
        let mut known = BTreeMap::new();
        for (key, document) in documents {
            let (Some(id), Some(principal)) = (id_of(&key), document.principal()) else {
                continue;
            };
            // A signer of some scopes may name an id of others in its scope. What the others wrote
            // counts, and has the id alone as its name.
            if key.name == id.to_string() || !known.contains_key(&id) {
                known.insert(id, (key, principal));
            }
        }
        Ok(known)
    }
}
