//! What a machine keeps beside the database: its keys, the anchor, and the cache.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::cache::Cache;
use crate::anchor::{Anchor, AnchorError};
use crate::error::Error;
use crate::journal::head::JournalHead;
use crate::journal::position::JournalPosition;
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::signing::Verifier;

/// The keys, the anchor and the cache of a machine.
pub(super) struct LocalState {
    pub(super) anchor: Anchor,
    keys: RwLock<Arc<Keys>>,
    cache: Mutex<Cache>,
}

/// A file beside the database could not be read or written.
pub(super) enum FileError {
    Key(KeyError),
    Anchor(AnchorError),
}

impl LocalState {
    /// Reads the anchor, and the keys again.
    pub(super) fn open(keys: &Keys, anchor: Anchor) -> Result<Self, Error> {
        // Both from the same moment: another process may rotate the signer in between.
        let (position, keys) = loop {
            let position = anchor.read()?;
            let keys = keys.reload()?;
            if anchor.read()? == position {
                break (position, keys);
            }
        };
        let head = JournalHead {
            position,
            documents: None,
            verifiers: keys.verifiers().to_vec(),
        };
        Ok(LocalState {
            anchor,
            keys: RwLock::new(Arc::new(keys)),
            cache: Mutex::new(Cache::new(head)),
        })
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_keys(&self, keys: Arc<Keys>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(super) fn reload_keys(&self) -> Result<Arc<Keys>, KeyError> {
        let keys = Arc::new(self.keys().reload()?);
        self.set_keys(Arc::clone(&keys));
        Ok(keys)
    }

    /// A panic cannot leave the cache inconsistent, so a poisoned lock is usable.
    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a verified position in the anchor. The trusted keys are saved first,
    /// since the next verification starts at the anchor.
    pub(super) fn advance_anchor(
        &self,
        position: JournalPosition,
        verifiers: &[Verifier],
    ) -> Result<(), FileError> {
        self.anchor
            .advance(position, || self.save_verifiers(verifiers))
    }

    /// Saves the trusted keys if the current one changed. Must be called while the anchor
    /// is locked, so that a slow process does not overwrite newer keys.
    fn save_verifiers(&self, verifiers: &[Verifier]) -> Result<(), FileError> {
        let current = |verifiers: &[Verifier]| verifiers.first().map(|key| key.id().clone());
        if current(self.keys().verifiers()) == current(verifiers) {
            return Ok(());
        }
        let mut keys = self.keys().reload()?;
        if current(keys.verifiers()) != current(verifiers) {
            keys.set_verifiers(verifiers)?;
        }
        self.set_keys(Arc::new(keys));
        Ok(())
    }
}

impl From<KeyError> for FileError {
    fn from(error: KeyError) -> Self {
        FileError::Key(error)
    }
}

impl From<AnchorError> for FileError {
    fn from(error: AnchorError) -> Self {
        FileError::Anchor(error)
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Key(error) => Error::Key(error),
            FileError::Anchor(error) => Error::Anchor(error),
        }
    }
}
