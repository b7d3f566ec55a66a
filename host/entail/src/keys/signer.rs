//! Rotating the signer of a home.

use entail_store::{Author, Batch, Document, DocumentKey};
use serde_json::json;

use super::renewal::{BATCH, Renewal};
use super::renewing::Renewing;
use crate::documents::encode;
use crate::error::Error;

/// The progress of rotating the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignerRotation {
    /// There is one signer.
    NotBegun,
    /// The next signer exists.
    Staged,
    /// The next signer writes; documents of the old one may be left.
    HandedOver,
}

impl Renewing {
    /// [`StoreKeys::rotate_signer`](super::StoreKeys::rotate_signer).
    pub(crate) async fn rotate_signer(&self) -> Result<Renewal, Error> {
        self.store().keys().check_can_write()?;
        // Two rotations at once would create two keys and lose one.
        let _lock = self.store().keys().lock()?;
        self.store().revision().await?;
        let begun = self.signer_rotation().await?;
        if begun != SignerRotation::HandedOver {
            let principal = self.principal.to_string();
            let change = encode(&json!({"change": "rotate-signer"}))?;
            let author = Author {
                principal: &principal,
                at_ms: self.documents.now_ms(),
                change: &change,
            };
            self.store().begin_new_signer(author).await?;
        }
        let renewed = self.resign().await?;
        self.store().end_old_signer()?;
        Ok(Renewal {
            resumed: begun != SignerRotation::NotBegun,
            renewed,
            ..Renewal::default()
        })
    }

    /// The progress of rotating the signer, by this process or an earlier one.
    pub(super) async fn signer_rotation(&self) -> Result<SignerRotation, Error> {
        let is_staged = self.store().reload_keys().await?.has_next_signer();
        Ok(match (is_staged, self.store().verifiers().len()) {
            (true, _) => SignerRotation::Staged,
            (false, 2..) => SignerRotation::HandedOver,
            (false, _) => SignerRotation::NotBegun,
        })
    }

    /// Signs every document again that was signed with an earlier key. Returns how many.
    pub(crate) async fn resign(&self) -> Result<usize, Error> {
        let keys = self.documents.document_keys().await?;
        let all = keys.len();
        let mut done = 0;
        let mut renewed = 0;
        for batch in keys.chunks(BATCH) {
            renewed += self
                .documents
                .until_not_contended(|| self.resign_batch(batch))
                .await?;
            done += batch.len();
            self.report(done, all);
        }
        Ok(renewed)
    }

    async fn resign_batch(&self, keys: &[DocumentKey]) -> Result<usize, Error> {
        let snapshot = self.store().read(keys).await?;
        let verifiers = self.store().verifiers();
        let current = verifiers.first().map(|verifier| verifier.id().as_str());
        let is_old = |document: &Document| Some(document.signer()) != current;
        let put: Vec<_> = snapshot
            .documents
            .iter()
            .flatten()
            .filter(|document| is_old(document))
            .map(|document| (document.key().clone(), document.raw().to_owned()))
            .collect();
        let renewed = put.len();
        if renewed > 0 {
            let batch = Batch {
                put,
                ..Batch::default()
            };
            let change = json!({"change": "resign"});
            self.commit(snapshot.revision, batch, &change).await?;
        }
        Ok(renewed)
    }
}
