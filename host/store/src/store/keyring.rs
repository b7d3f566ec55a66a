//! Changes of the keys that may change a store.

use std::sync::Arc;

use super::Store;
use super::batch::{Batch, NewKeyring};
use crate::blocking::off_runtime;
use crate::error::Error;
use crate::journal::entry::Author;
use crate::journal::heartbeat::Heartbeat;
use crate::journal::position::Revision;
use crate::keyring::Keyring;
use crate::keyring::proposal::{Proposal, ProposalError};
use crate::keys::Keys;
use crate::keys::error::KeyError;
use crate::keys::recovery::receipt::Receipt;
use crate::keys::role::Role;
use crate::random_id::RandomId;
use crate::statement::Statement;

impl Store {
    /// Replaces the key of this machine in `role`: generates the next one if needed, commits a
    /// keyring with it in place of the present one, and adopts it. From that revision on, no
    /// machine trusts the former key. `batch` is what the same change writes besides.
    ///
    /// If interrupted at any point, the next call continues from there.
    ///
    /// # Errors
    ///
    /// The same as [`Store::commit`]; in case of [`Error::Conflict`], try again.
    pub async fn rotate_key(
        &self,
        role: Role,
        expected: Revision,
        mut batch: Batch,
        author: Author<'_>,
    ) -> Result<(), Error> {
        let snapshot = self.read(&[]).await?;
        self.keys().check_not_limited(&snapshot.keyring)?;
        let next = self
            .change_keys(move |keys| keys.begin_new_key(role))
            .await?;
        let snapshot = self.read(&[]).await?;
        let mut draft = snapshot.keyring.next();
        let authority = &mut draft.authority;
        if role.find_key(authority, next.id()).is_none() {
            let present = self.keys().id_of(role);
            match present.and_then(|present| role.find_key(authority, present)) {
                Some(listed) => listed.key = next.clone(),
                None => return Err(role.not_in_keyring().into()),
            }
            if snapshot.revision != expected {
                let found = snapshot.revision;
                return Err(Error::Conflict { expected, found });
            }
            batch.keyring = Some(draft.into());
            self.commit(expected, batch, author).await?;
        }
        self.change_keys(move |keys| keys.adopt_new_key(role)).await
    }

    /// Completes the rotation of keys that the keyring in force contains already, as after a
    /// proposal was applied.
    ///
    /// # Errors
    ///
    /// [`Error::Key`]; the errors of [`Store::read`].
    pub async fn adopt_rotated_keys(&self) -> Result<(), Error> {
        let keyring = self.keyring().await?;
        self.change_keys(move |keys| {
            for role in [Role::Owner, Role::Signer] {
                if keys.is_rotated(role, &keyring) {
                    keys.adopt_new_key(role)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// What applying a proposal writes, and to which revision.
    ///
    /// # Errors
    ///
    /// [`Error::Proposal`] if the proposal is not trusted or outdated; the errors of
    /// [`Store::read`].
    pub async fn proposed(&self, proposal: &Proposal) -> Result<(Revision, Batch), Error> {
        let documents = &proposal.contents.documents;
        let keys: Vec<_> = documents.iter().map(|found| found.key.clone()).collect();
        let snapshot = self.read(&keys).await?;
        if proposal.keyring().store() != snapshot.keyring.store() {
            return Err(ProposalError::OtherStore.into());
        }
        if proposal.is_restore() {
            return Err(ProposalError::IsRestore.into());
        }
        let now = snapshot.documents.iter();
        let now = now.map(|document| document.as_ref().map(|document| document.digest()));
        let is_current = proposal.previous().digest() == snapshot.keyring.digest()
            && now.eq(documents.iter().map(|document| document.before));
        if !is_current {
            return Err(ProposalError::Outdated.into());
        }
        proposal.check(Some(&snapshot.keyring))?;
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for document in documents {
            match &document.body {
                Some(body) => put.push((document.key.clone(), body.clone())),
                None => remove.push(document.key.clone()),
            }
        }
        let batch = Batch {
            put,
            remove,
            add_blobs: proposal.contents.add_blobs.clone(),
            remove_blobs: proposal.contents.remove_blobs.clone(),
            keyring: Some(NewKeyring::signed(proposal.keyring.clone())),
            author: None,
        };
        Ok((snapshot.revision, batch))
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

    /// Confirms that the newest checkpoint is the newest, for as long as the keyring requires
    /// heartbeats in. Returns until when, in milliseconds since 1970-01-01T00:00:00Z; `None` if
    /// the keyring requires none. `now_ms` is the time in the same unit.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] without a signer; the errors of [`Store::read`].
    pub async fn send_heartbeat(&self, now_ms: u64) -> Result<Option<u64>, Error> {
        self.keys().check_can_write()?;
        let head = self.fetch(&[]).await?.head;
        let Some(heartbeat) = Heartbeat::new(head.position, &head.keyring, now_ms) else {
            return Ok(None);
        };
        let keys = self.keys_for_writing(&head.keyring).await?;
        let signed = off_runtime(move || -> Result<Statement, KeyError> {
            let signer = keys.signer_for(&head.keyring)?;
            if let Some(scopes) = head.keyring.scopes_of(&[signer.id()]) {
                let what = "the state of the whole store".to_owned();
                return Err(KeyError::OutsideDelegation { scopes, what });
            }
            Ok(heartbeat.sign(signer)?)
        });
        self.backend.put_heartbeat(signed.await??).await?;
        let freshness = self.read(&[]).await?.freshness;
        Ok(freshness.until_ms())
    }

    /// What is known of the store now.
    ///
    /// # Errors
    ///
    /// The same as [`Store::read`].
    pub async fn receipt(&self) -> Result<Receipt, Error> {
        self.read(&[]).await?;
        let head = self.journal_head();
        Ok(Receipt::new(&head.keyring, head.position))
    }

    /// The id of the store.
    pub fn id(&self) -> RandomId {
        self.known_keyring().store()
    }

    /// The keyring that this machine trusted last; [`Store::keyring`] reads the one that is in
    /// force.
    pub fn known_keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.local.cache().head.keyring)
    }
}
