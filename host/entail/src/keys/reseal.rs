//! Sealing secrets again to the newest epoch of their organization.

use std::collections::BTreeSet;

use entail_store::{
    Batch, Digest, DocumentKey, Error as StoreError, Keys, Readers, Revision, SealContext,
};
use serde_json::json;

use super::renewal::{BATCH, Renewal, StaleSecret};
use super::renewing::Renewing;
use crate::documents::encode;
use crate::documents::scope::{self, Credential, Scope, Version};
use crate::error::Error;
use entail_decision::name::ScopePath;

/// Sealing the secrets of some scopes in one commit.
struct Reseal<'a> {
    keys: &'a Keys,
    /// The revision that the scopes were read at.
    revision: Revision,
    batch: Batch,
    renewed: usize,
    skipped: Vec<StaleSecret>,
    /// The epochs that secrets are sealed to afterwards, with their organizations.
    used: BTreeSet<(String, u32)>,
}

impl Reseal<'_> {
    /// Keeps all epochs of an organization: nobody knows which of them its secrets are sealed to.
    fn keep_epochs(&mut self, readers: &Readers) {
        let epochs = readers.epochs.iter();
        let used = epochs.map(|epoch| (readers.organization.clone(), epoch.number));
        self.used.extend(used);
    }
}

/// What was done in one commit.
struct Resealed {
    renewed: usize,
    skipped: Vec<StaleSecret>,
    used: BTreeSet<(String, u32)>,
}

impl Renewing {
    /// [`StoreKeys::reseal`](super::StoreKeys::reseal).
    pub(crate) async fn reseal(&self) -> Result<Renewal, Error> {
        let keys = self.store().keys();
        self.reseal_with(&keys).await
    }

    pub(super) async fn reseal_with(&self, keys: &Keys) -> Result<Renewal, Error> {
        let organizations = self.renew_epochs(keys).await?;
        let mut revision = self.store().revision().await?;
        let scopes = self.documents.scopes(None).await?;
        let mut renewal = Renewal {
            organizations,
            ..Renewal::default()
        };
        let mut used = BTreeSet::new();
        let all = scopes.len();
        let mut done = 0;
        for batch in scopes.chunks(BATCH) {
            let resealed = self
                .documents
                .until_not_contended(|| self.reseal_batch(keys, batch))
                .await?;
            revision += u64::from(resealed.renewed > 0);
            renewal.renewed += resealed.renewed;
            renewal.skipped.extend(resealed.skipped);
            used.extend(resealed.used);
            done += batch.len();
            self.report(done, all);
        }
        // If others changed the store meanwhile, they may have brought back a secret.
        let is_used = |organization: &str, epoch| used.contains(&(organization.to_owned(), epoch));
        self.drop_epochs(is_used, revision).await?;
        Ok(renewal)
    }

    async fn reseal_batch(&self, keys: &Keys, scopes: &[ScopePath]) -> Result<Resealed, Error> {
        let documents: Vec<DocumentKey> = scopes.iter().map(scope::document_key).collect();
        let snapshot = self.store().read(&documents).await?;
        let mut reseal = Reseal {
            keys,
            revision: snapshot.revision,
            batch: Batch::default(),
            renewed: 0,
            skipped: Vec::new(),
            used: BTreeSet::new(),
        };
        for (path, document) in scopes.iter().zip(&snapshot.documents) {
            // Removed since it was listed.
            let Some(document) = document else { continue };
            let organization = path.organization();
            let readers = scope::readers(&snapshot.keyring, path)?;
            let mut scope = match document.body::<Scope>() {
                Ok(body) => Scope::clone(&*body),
                // A signer of this scope alone may have written it.
                Err(error) => {
                    reseal.keep_epochs(readers);
                    let stale = StaleSecret::of_scope(path, error.into());
                    reseal.skipped.push(stale);
                    continue;
                }
            };
            let before = reseal.renewed;
            for credential in scope.all_credentials_mut() {
                let described = credential.clone();
                for version in credential.versions_mut() {
                    self.reseal_version(&mut reseal, path, readers, &described, version)
                        .await?;
                    let used = (organization.to_string(), version.epoch);
                    reseal.used.insert(used);
                }
            }
            if reseal.renewed > before {
                let body = encode(&scope)?;
                reseal.batch.put.push((scope::document_key(path), body));
            }
        }
        if reseal.renewed > 0 {
            let change = json!({"change": "reseal"});
            self.commit(snapshot.revision, reseal.batch, &change)
                .await?;
        }
        Ok(Resealed {
            renewed: reseal.renewed,
            skipped: reseal.skipped,
            used: reseal.used,
        })
    }

    async fn reseal_version(
        &self,
        reseal: &mut Reseal<'_>,
        path: &ScopePath,
        readers: &Readers,
        credential: &Credential,
        version: &mut Version,
    ) -> Result<(), Error> {
        let Some(newest) = readers
            .newest()
            .filter(|newest| newest.number != version.epoch)
        else {
            return Ok(());
        };
        let from = credential.seal_context_of(version, path, self.store().id());
        let to = SealContext {
            epoch: newest.number,
            ..from.clone()
        };
        let opened = match (
            readers.epoch(version.epoch),
            self.store().blob(&version.blob).await,
        ) {
            (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(StoreError::Seal(entail_store::SealError::NoEpoch)),
            (Some(epoch), Ok(sealed)) => match self.open_epoch(reseal.keys, epoch).await? {
                Ok(key) => key.unseal(&sealed, &from).map_err(StoreError::Seal),
                Err(error) => Err(StoreError::Seal(error)),
            },
        };
        let sealed = match opened {
            Ok(fields) => Keys::seal(newest, &to, &fields),
            Err(StoreError::Seal(error)) => Err(error),
            // The secret could not be read; it may still be intact.
            Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                // Another process may have renewed it since the document was read.
                if self.store().revision().await? != reseal.revision {
                    return Err(Error::Contended);
                }
                let stale = StaleSecret::new(path, credential, version, Some(error.into()));
                reseal.skipped.push(stale);
                return Ok(());
            }
        };
        match sealed {
            Ok(sealed) => {
                reseal.batch.remove_blobs.push(version.blob);
                version.blob = Digest::of(&sealed);
                version.epoch = newest.number;
                reseal.batch.add_blobs.push(sealed);
                reseal.renewed += 1;
            }
            Err(error) => {
                let mut stale = StaleSecret::new(path, credential, version, None);
                stale.reason = Some(Error::Sealed {
                    scope: path.clone(),
                    credential: stale.credential.clone(),
                    error,
                });
                reseal.skipped.push(stale);
            }
        }
        Ok(())
    }
}
