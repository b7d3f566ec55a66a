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
use crate::recipients::{Epoch, Readers};
use crate::sealing::context::{Fields, SealContext, SealError};
use crate::sealing::epoch::EpochKey;

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

    /// Opens a sealed secret of an organization with those `readers`, if it was sealed for the
    /// context `expected`.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if there is no unlocked identity. The inner error is the
    /// [`SealError`].
    pub async fn unseal(
        &self,
        readers: &Readers,
        sealed: &[u8],
        expected: &SealContext,
    ) -> Result<Result<Fields, SealError>, Error> {
        let Some(epoch) = readers.epoch(expected.epoch) else {
            return Ok(Err(SealError::NoEpoch));
        };
        let key = self.epoch_key(epoch).await?;
        Ok(key.and_then(|key| key.unseal(sealed, expected)))
    }

    /// Opens the key of an epoch. Opened keys are kept as long as the process runs, like the
    /// identity.
    ///
    /// # Errors
    ///
    /// The same as [`Store::unseal`], and of [`Store::blob`].
    pub async fn epoch_key(
        &self,
        epoch: &Epoch,
    ) -> Result<Result<Arc<EpochKey>, SealError>, Error> {
        if let Some(key) = self.local.epoch_keys().get(&epoch.sealed) {
            return Ok(Ok(Arc::clone(key)));
        }
        let sealed: Arc<[u8]> = self.blob(&epoch.sealed).await?.into();
        // The identity may be elsewhere, and wait for somebody.
        let open = async |keys: Arc<Keys>| {
            let (sealed, epoch) = (Arc::clone(&sealed), epoch.clone());
            let opened = off_runtime(move || keys.open_epoch(&sealed, &epoch));
            Ok::<_, Error>(opened.await??)
        };
        let opened = match open(self.keys()).await? {
            // Another process may have rotated the identity since the keys were read.
            Err(SealError::NotForThisIdentity) => open(self.reload_keys().await?).await?,
            opened => opened,
        };
        Ok(opened.map(|key| {
            let key = Arc::new(key);
            self.local.keep_epoch_key(epoch.sealed, &key);
            key
        }))
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
