//! What a machine keeps beside the database: its keys, the anchor, and the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::cache::Cache;
use crate::anchor::{Anchor, AnchorError, AnchorRecord};
use crate::digest::Digest;
use crate::error::Error;
use crate::journal::head::JournalHead;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::sealing::epoch::EpochKey;

/// The keys, the anchor and the cache of a machine.
pub(super) struct LocalState {
    pub(super) anchor: Anchor,
    keys: RwLock<Arc<Keys>>,
    cache: Mutex<Cache>,
    /// The keys of epochs that were opened, by the digests of their files.
    epoch_keys: Mutex<HashMap<Digest, Arc<EpochKey>>>,
}

/// The maximum number of opened keys of epochs to keep.
const MAX_EPOCH_KEYS: usize = 256;

/// A file beside the database could not be read or written.
pub(super) enum FileError {
    Key(KeyError),
    Anchor(AnchorError),
}

impl LocalState {
    /// Reads the anchor, and the keys again.
    pub(super) fn open(keys: &Keys, anchor: Anchor) -> Result<Self, Error> {
        // Both from the same moment: another process may rotate the signer in between.
        let (anchored, keys) = loop {
            let anchored = anchor.read_record()?;
            let keys = keys.reload()?;
            if anchor.read_record()? == anchored {
                break (anchored, keys);
            }
        };
        anchor.check_store(anchored, keys.keyring())?;
        let head = JournalHead {
            position: anchored.position(),
            checkpoint: None,
            is_confirmed: false,
            heartbeat: None,
            keyring: Arc::clone(keys.keyring()),
        };
        Ok(LocalState {
            anchor,
            keys: RwLock::new(Arc::new(keys)),
            cache: Mutex::new(Cache::new(head)),
            epoch_keys: Mutex::default(),
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

    /// As with the cache, a poisoned lock is usable.
    pub(super) fn epoch_keys(&self) -> MutexGuard<'_, HashMap<Digest, Arc<EpochKey>>> {
        self.epoch_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an opened key of an epoch.
    pub(super) fn keep_epoch_key(&self, file: Digest, key: &Arc<EpochKey>) {
        let mut keys = self.epoch_keys();
        if keys.len() >= MAX_EPOCH_KEYS {
            keys.clear();
        }
        keys.insert(file, Arc::clone(key));
    }

    /// Records a verified head in the anchor, and then its keyring with the keys. The keyring
    /// may lag behind: it is found again through the journal.
    pub(super) fn advance_anchor(&self, head: &JournalHead) -> Result<(), FileError> {
        self.anchor.advance(AnchorRecord::of(head), || {
            Ok(self.save_keyring(&head.keyring)?)
        })
    }

    /// Saves the keyring if it is newer than the saved one. Must be called while the anchor is
    /// locked.
    fn save_keyring(&self, keyring: &Arc<Keyring>) -> Result<(), KeyError> {
        let is_saved = |keys: &Keys| keys.keyring().number() >= keyring.number();
        if is_saved(&self.keys()) {
            return Ok(());
        }
        let mut keys = self.keys().reload()?;
        if !is_saved(&keys) {
            keys.save_keyring(keyring)?;
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
