//! The store: reads verified data, and writes signed changes.

pub(crate) mod batch;
pub(crate) mod cache;
mod commit;
mod copy;
mod keyring;
mod local_state;
mod names;
pub(crate) mod read;

use std::fmt;
use std::sync::Arc;

use local_state::LocalState;

use crate::anchor::Anchor;
use crate::backend::Backend;
use crate::blocking::off_runtime;
use crate::error::Error;
use crate::journal::head::JournalHead;
use crate::keys::Keys;
use crate::sealing::context::{Fields, SealContext, SealError};

/// A database, with the keys to verify and change it, and the anchor that detects a
/// rollback.
pub struct Store {
    backend: Arc<dyn Backend>,
    local: Arc<LocalState>,
}

impl Store {
    /// Opens a store. Reads the anchor and the keys, but not the database: the first read
    /// verifies the journal against the anchor, and verifies only what it returns. So
    /// opening takes the same time for a database of any size.
    ///
    /// # Errors
    ///
    /// [`Error::Anchor`], [`Error::Key`].
    pub fn open(backend: Arc<dyn Backend>, keys: Keys, anchor: Anchor) -> Result<Self, Error> {
        let local = Arc::new(LocalState::open(&keys, anchor)?);
        Ok(Store { backend, local })
    }

    /// The keys.
    pub fn keys(&self) -> Arc<Keys> {
        self.local.keys()
    }

    /// Reads the key files again, since another process may have rotated them.
    ///
    /// # Errors
    ///
    /// [`Error::Key`].
    pub async fn reload_keys(&self) -> Result<Arc<Keys>, Error> {
        let local = Arc::clone(&self.local);
        Ok(off_runtime(move || local.reload_keys()).await??)
    }

    /// The anchor.
    pub fn anchor(&self) -> &Anchor {
        &self.local.anchor
    }

    /// Opens a sealed secret, if it was sealed for the context `expected`.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if there is no unlocked identity. The inner error is the
    /// [`SealError`].
    pub async fn unseal(
        &self,
        sealed: &[u8],
        expected: &SealContext,
    ) -> Result<Result<Fields, SealError>, Error> {
        match self.keys().unseal(sealed, expected)? {
            // Another process may have rotated the identity since the keys were read.
            Err(SealError::NotForThisIdentity) => {
                Ok(self.reload_keys().await?.unseal(sealed, expected)?)
            }
            opened => Ok(opened),
        }
    }

    /// The verified end of the journal.
    fn journal_head(&self) -> JournalHead {
        self.local.cache().head.clone()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
