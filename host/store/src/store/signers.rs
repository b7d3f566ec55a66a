//! The rotation of the signer, and the keys that are trusted.

use std::sync::Arc;

use super::Store;
use super::batch::Batch;
use super::local_state::{FileError, LocalState};
use crate::blocking::off_runtime;
use crate::error::Error;
use crate::journal::entry::Author;
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::signing::Verifier;

impl Store {
    /// Transfers the right to write to a new key: generates it if needed, commits a
    /// journal entry that trusts it, and makes it the signer. Documents keep the signature
    /// of the old key, which stays valid until [`Store::end_old_signer`].
    ///
    /// If interrupted at any point, the next call continues from there.
    ///
    /// # Errors
    ///
    /// The same as [`Store::commit`].
    pub async fn begin_new_signer(&self, author: Author<'_>) -> Result<(), Error> {
        let next = self.change_keys(Keys::begin_new_signer).await?;
        loop {
            let revision = self.fetch(&[]).await?.head.position.revision;
            if self.verifiers().first().map(Verifier::id) == Some(next.id()) {
                break;
            }
            let batch = Batch {
                trust: Some(next.clone()),
                ..Batch::default()
            };
            match self.commit(revision, batch, author.clone()).await {
                Ok(_) | Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.change_keys(Keys::adopt_new_signer).await
    }

    /// Reloads the keys and changes them, off the async runtime.
    async fn change_keys<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Keys) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, Error> {
        let local = Arc::clone(&self.local);
        let changed = off_runtime(move || {
            let mut keys = local.keys().reload()?;
            let result = change(&mut keys)?;
            local.set_keys(Arc::new(keys));
            Ok::<T, KeyError>(result)
        });
        Ok(changed.await??)
    }

    /// Trusts these keys from now on, the current one first, and saves them. The caller
    /// must have verified that they can be trusted.
    ///
    /// # Errors
    ///
    /// [`Error::Key`], [`Error::Anchor`].
    pub fn trust(&self, verifiers: &[Verifier]) -> Result<(), Error> {
        let local: &LocalState = &self.local;
        local.anchor.sync()?;
        let mut keys = local.keys().reload()?;
        keys.set_verifiers(verifiers)?;
        local.set_keys(Arc::new(keys));
        local.cache().head.verifiers = verifiers.to_vec();
        Ok(())
    }

    /// Stops trusting documents with the signature of an earlier key.
    ///
    /// # Errors
    ///
    /// [`Error::Key`], [`Error::Anchor`].
    pub fn end_old_signer(&self) -> Result<(), Error> {
        let local: &LocalState = &self.local;
        let current: Vec<Verifier> = self.verifiers().into_iter().take(1).collect();
        let keys = local.anchor.with_lock(|| -> Result<Keys, FileError> {
            local.anchor.sync()?;
            let mut keys = local.keys().reload()?;
            let is_current = |key: &Verifier| current.iter().any(|known| known.id() == key.id());
            // Another process may have rotated the signer again.
            if keys.verifiers().first().is_some_and(is_current) {
                keys.set_verifiers(&current)?;
            }
            Ok(keys)
        })?;
        local.set_keys(Arc::new(keys));
        local.cache().head.verifiers.truncate(1);
        Ok(())
    }
}
