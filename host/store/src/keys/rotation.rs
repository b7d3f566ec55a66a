//! The rotation of keys. Each step replaces one file, and every state in between works.

use super::Keys;
use super::error::KeyError;
use super::identity::{self, Identity};
use super::names::{IDENTITY, LOCKED_IDENTITY, NEXT_SIGNER, SIGNER, VERIFIER};
use super::source::{Identities, IdentitySource};
use crate::files;
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
        let from_directory = matches!(self.source, IdentitySource::Directory);
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

    /// Generates the next signer, or returns the one that an interrupted rotation generated.
    pub(crate) fn begin_new_signer(&mut self) -> Result<Verifier, KeyError> {
        let file = self.directory.join(NEXT_SIGNER);
        let failed = |error| KeyError::File {
            file: file.clone(),
            error,
        };
        let next = if let Some(next) = self.next_signer.take() {
            next
        } else {
            let next = Signer::generate().map_err(failed)?;
            let no_encoding = || failed(std::io::Error::other("the key cannot be encoded"));
            let pem = next.to_pem().ok_or_else(no_encoding)?;
            files::replace(&file, pem.expose())
                .and_then(|()| files::sync_directory(&self.directory))
                .map_err(failed)?;
            next
        };
        Ok(self.next_signer.insert(next).verifier())
    }

    /// Whether a rotation of the signer was begun and not completed.
    pub fn has_next_signer(&self) -> bool {
        self.next_signer.is_some()
    }

    /// Replaces the signer with the next signer, if that is trusted.
    pub(crate) fn adopt_new_signer(&mut self) -> Result<(), KeyError> {
        let trusted = self.verifiers.first().map(Verifier::id);
        let Some(next) = self.next_signer.take_if(|next| Some(next.id()) == trusted) else {
            return Ok(());
        };
        let file = self.directory.join(SIGNER);
        std::fs::rename(self.directory.join(NEXT_SIGNER), &file)
            .and_then(|()| files::sync_directory(&self.directory))
            .map_err(|error| KeyError::File { file, error })?;
        self.signer = Some(next);
        Ok(())
    }

    /// Saves the trusted keys.
    pub(crate) fn set_verifiers(&mut self, verifiers: &[Verifier]) -> Result<(), KeyError> {
        let file = self.directory.join(VERIFIER);
        let text: Option<String> = verifiers.iter().map(Verifier::to_pem).collect();
        let written = match text {
            Some(text) => files::replace(&file, text.as_bytes())
                .and_then(|()| files::sync_directory(&self.directory)),
            None => Err(std::io::Error::other("the key cannot be encoded")),
        };
        written.map_err(|error| KeyError::File { file, error })?;
        self.verifiers = verifiers.to_vec();
        Ok(())
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
