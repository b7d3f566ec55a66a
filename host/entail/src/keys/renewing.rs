//! An operation on the keys of a store, in progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use entail_store::{Batch, Epoch, EpochKey, Revision, Store};

use super::renewal::Step;
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::principal::Principal;

/// Who changes the keys of which store, and where the progress goes, if anywhere.
pub(crate) struct Renewing {
    pub(super) documents: DocumentStore,
    pub(super) principal: Principal,
    progress: Option<UnboundedSender<Step>>,
    /// The private keys of epochs that were opened, by their public keys: they stay usable after
    /// their files were sealed to others.
    epoch_keys: Mutex<HashMap<String, Arc<EpochKey>>>,
}

impl Renewing {
    pub(crate) fn new(
        documents: DocumentStore,
        principal: Principal,
        progress: Option<UnboundedSender<Step>>,
    ) -> Self {
        Renewing {
            documents,
            principal,
            progress,
            epoch_keys: Mutex::default(),
        }
    }

    /// The key of an epoch that was opened before.
    pub(super) fn opened_epoch(&self, epoch: &Epoch) -> Option<Arc<EpochKey>> {
        self.epoch_keys().get(&epoch.key).cloned()
    }

    /// Keeps the key of an epoch.
    pub(super) fn keep_epoch(&self, epoch: &Epoch, key: &Arc<EpochKey>) {
        self.epoch_keys().insert(epoch.key.clone(), Arc::clone(key));
    }

    fn epoch_keys(&self) -> MutexGuard<'_, HashMap<String, Arc<EpochKey>>> {
        // A panic cannot leave the map inconsistent.
        self.epoch_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> &Store {
        &self.documents.store
    }

    /// Reports that `done` of `all` scopes or documents are done.
    pub(super) fn report(&self, done: usize, all: usize) {
        if let Some(progress) = &self.progress {
            // The receiver is gone if the future of the operation was dropped.
            let _ = progress.send(Step { done, all });
        }
    }

    pub(super) async fn commit(
        &self,
        expected: Revision,
        batch: Batch,
        change: &Value,
    ) -> Result<(), Error> {
        self.documents
            .commit(&self.principal, expected, batch, change)
            .await
    }
}
