//! An operation on the keys of a store, in progress.

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use entail_store::{Batch, Revision, Store};

use super::renewal::Step;
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::principal::Principal;

/// Who changes the keys of which store, and where the progress goes, if anywhere.
pub(crate) struct Renewing {
    pub(super) documents: DocumentStore,
    pub(super) principal: Principal,
    progress: Option<UnboundedSender<Step>>,
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
        }
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
