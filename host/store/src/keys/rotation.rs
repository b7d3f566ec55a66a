//! The rotation of keys. Each step replaces one file, and every state in between works.

use std::sync::Arc;

use super::Keys;
use super::error::KeyError;
use super::identity::{self, Identity};
use super::names::{IDENTITY, KEYRING, LOCKED_IDENTITY};
use super::role::Role;
use super::source::{Identities, IdentitySource};
use crate::files;
use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::signing::{Signer, Verifier};

impl Keys {
    /// Generates a new identity and puts it before the current one, which is kept.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignIdentity`] if the identity was not read from the key directory.
    pub fn begin_new_identity(&mut self, passphrase: Option<&Secret>) -> Result<(), KeyError> {
        let kept = identity::to_text(self.open_identities()?);
        let kept = identity::parse(&kept).unwrap_or_default();
        let identities = std::iter::once(Identity::generate()).chain(kept).collect();
        self.write_identities(identities, passphrase)
    }

    /// Removes all identities but the newest. Secrets that are sealed only to the removed ones
    /// can no longer be opened here.
    ///
    /// # Errors
    ///
    /// The same as [`Keys::begin_new_identity`].
    pub fn end_old_identities(&mut self, passphrase: Option<&Secret>) -> Result<(), KeyError> {
        let newest = identity::to_text(self.open_identities()?.iter().take(1));
        let identities = identity::parse(&newest).unwrap_or_default();
        self.write_identities(identities, passphrase)
    }

    fn write_identities(
        &mut self,
        identities: Vec<Identity>,
        passphrase: Option<&Secret>,
    ) -> Result<(), KeyError> {
        let text = identity::to_text(&identities);
        let plain = self.directory.join(IDENTITY);
        let locked = self.directory.join(LOCKED_IDENTITY);
        let from_directory = matches!(self.sources.identity, IdentitySource::Directory);
        let (file, bytes) = match passphrase {
            _ if !from_directory => return Err(KeyError::ForeignIdentity),
            None if plain.exists() => (plain, text),
            Some(passphrase) if locked.exists() => {
                let bytes =
                    identity::encrypt(&text, passphrase).map_err(|error| KeyError::File {
                        file: locked.clone(),
                        error,
                    })?;
                (locked, Secret::new(&bytes))
            }
            _ => return Err(KeyError::Locked),
        };
        files::replace(&file, bytes.expose())
            .and_then(|()| files::sync_directory(&self.directory))
            .map_err(|error| KeyError::File { file, error })?;
        self.identities = Identities::Open(identities);
        Ok(())
    }

    /// Generates the next key in `role`, or returns the one that an interrupted rotation
    /// generated.
    pub(crate) fn begin_new_key(&mut self, role: Role) -> Result<Verifier, KeyError> {
        let file = self.directory.join(role.next_file());
        let failed = |error| KeyError::File {
            file: file.clone(),
            error,
        };
        self.check_key_is_local(role)?;
        let key = self.signing_key_mut(role);
        if key.present.is_none() {
            return Err(role.missing());
        }
        if key.next.is_none() {
            let next = Signer::generate().map_err(failed)?;
            let no_encoding = || failed(std::io::Error::other("the key cannot be encoded"));
            let pem = next.to_pem().ok_or_else(no_encoding)?;
            files::replace(&file, pem.expose())
                .and_then(|()| files::sync_directory(&self.directory))
                .map_err(failed)?;
            self.signing_key_mut(role).next = Some(next);
        }
        let next = self.signing_key(role).next.as_ref();
        next.map(Signer::verifier).ok_or_else(|| role.missing())
    }

    /// Whether a rotation of the key in `role` was begun and not completed.
    pub fn has_next_key(&self, role: Role) -> bool {
        self.signing_key(role).next.is_some()
    }

    /// Whether the next key in `role` is in the keyring, and only the files are left to replace.
    pub(crate) fn is_rotated(&self, role: Role, keyring: &Keyring) -> bool {
        let next = self.signing_key(role).next.as_ref().map(Signer::id);
        next.is_some_and(|next| match role {
            Role::Owner => keyring.has_owner(next),
            Role::Signer => keyring.has_signer(next),
        })
    }

    /// Puts the next key in the place of the present one.
    pub(crate) fn adopt_new_key(&mut self, role: Role) -> Result<(), KeyError> {
        let key = self.signing_key_mut(role);
        let Some(next) = key.next.take() else {
            return Ok(());
        };
        key.present = Some(next);
        let file = self.directory.join(role.file());
        std::fs::rename(self.directory.join(role.next_file()), &file)
            .and_then(|()| files::sync_directory(&self.directory))
            .map_err(|error| KeyError::File { file, error })
    }

    /// Saves the keyring. A directory that cannot be written is left as it is: the saved keyring
    /// leads to the new one through the journal.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`].
    pub fn save_keyring(&mut self, keyring: &Arc<Keyring>) -> Result<(), KeyError> {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let file = self.directory.join(KEYRING);
        let saved = files::replace(&file, &keyring.statement().to_lines())
            .and_then(|()| files::sync_directory(&self.directory));
        self.keyring = Arc::clone(keyring);
        match saved {
            Err(error) if !matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                Err(KeyError::File { file, error })
            }
            _ => Ok(()),
        }
    }

    /// Locks the keys against rotation by other processes until the returned file is dropped.
    /// Removes temporary files of an interrupted process.
    ///
    /// # Errors
    ///
    /// [`KeyError::Busy`].
    pub fn lock(&self) -> Result<std::fs::File, KeyError> {
        let failed = |error| KeyError::File {
            file: self.directory.clone(),
            error,
        };
        let directory = std::fs::File::open(&self.directory).map_err(failed)?;
        match directory.try_lock() {
            Ok(()) => {
                files::remove_temporary_files(&self.directory).map_err(failed)?;
                Ok(directory)
            }
            Err(std::fs::TryLockError::WouldBlock) => Err(KeyError::Busy),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
