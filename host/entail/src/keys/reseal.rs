//! Sealing secrets again to the current recipients.

use entail_store::{Batch, Digest, DocumentKey, Error as StoreError, Keys, Recipients, Revision};
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
    recipients: &'a Recipients,
    /// The revision that the scopes were read at.
    revision: Revision,
    batch: Batch,
    renewed: usize,
    skipped: Vec<StaleSecret>,
}

impl Renewing {
    /// [`StoreKeys::reseal`](super::StoreKeys::reseal).
    pub(crate) async fn reseal(&self) -> Result<Renewal, Error> {
        let keys = self.store().keys();
        self.reseal_with(&keys).await
    }

    pub(super) async fn reseal_with(&self, keys: &Keys) -> Result<Renewal, Error> {
        let scopes = self.documents.scopes(None).await?;
        let mut renewal = Renewal::default();
        let all = scopes.len();
        let mut done = 0;
        for batch in scopes.chunks(BATCH) {
            let (renewed, skipped) = self
                .documents
                .until_not_contended(|| self.reseal_batch(keys, batch))
                .await?;
            renewal.renewed += renewed;
            renewal.skipped.extend(skipped);
            done += batch.len();
            self.report(done, all);
        }
        Ok(renewal)
    }

    async fn reseal_batch(
        &self,
        keys: &Keys,
        scopes: &[ScopePath],
    ) -> Result<(usize, Vec<StaleSecret>), Error> {
        let documents: Vec<DocumentKey> = scopes.iter().map(scope::document_key).collect();
        let snapshot = self.store().read(&documents).await?;
        let recipients = snapshot.keyring.recipients();
        let mut reseal = Reseal {
            keys,
            recipients,
            revision: snapshot.revision,
            batch: Batch::default(),
            renewed: 0,
            skipped: Vec::new(),
        };
        for (path, document) in scopes.iter().zip(&snapshot.documents) {
            // Removed since it was listed.
            let Some(document) = document else { continue };
            let mut scope = Scope::clone(&*document.body::<Scope>()?);
            let before = reseal.renewed;
            for credential in scope.all_credentials_mut() {
                let described = credential.clone();
                for version in credential.versions_mut() {
                    if version.epoch != recipients.epoch {
                        self.reseal_version(&mut reseal, path, &described, version)
                            .await?;
                    }
                }
            }
            if reseal.renewed > before {
                let body = encode(&scope)?;
                reseal.batch.put.push((scope::document_key(path), body));
            }
        }
        if reseal.renewed > 0 {
            let change = json!({"change": "reseal", "epoch": recipients.epoch});
            self.commit(snapshot.revision, reseal.batch, &change)
                .await?;
        }
        Ok((reseal.renewed, reseal.skipped))
    }

    async fn reseal_version(
        &self,
        reseal: &mut Reseal<'_>,
        path: &ScopePath,
        credential: &Credential,
        version: &mut Version,
    ) -> Result<(), Error> {
        let (keys, recipients) = (reseal.keys, reseal.recipients);
        let from = credential.seal_context_of(version, path);
        let to = entail_store::SealContext {
            epoch: recipients.epoch,
            ..from.clone()
        };
        let opened = match self.store().blob(&version.blob).await {
            Ok(sealed) => keys.unseal(&sealed, &from).map_err(StoreError::from),
            Err(error) => Err(error),
        };
        let sealed = match opened {
            Ok(Ok(fields)) => Keys::seal(recipients, &to, &fields),
            Ok(Err(error)) => Err(error),
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
                version.epoch = recipients.epoch;
                version.sealed_to = recipients.ids();
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
