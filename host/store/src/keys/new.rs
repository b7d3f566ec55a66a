//! New keys: of a new machine, and for recovery.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use super::error::KeyError;
use super::identity::{self, Identity};
use super::names::{IDENTITY, KEYRING, LOCKED_IDENTITY, OWNER, SIGNER};
use super::source::{Identities, KeySources};
use super::{Keys, SigningKey};
use crate::files;
use crate::keyring::authority::{Authority, LabelledKey, Owners, StoreSigner};
use crate::keyring::{Keyring, KeyringDraft};
use crate::recipients::Recipient;
use crate::secret::Secret;
use crate::signing::Signer;

impl Keys {
    /// Generates the keys of a new store in `directory`, which must not exist, with a keyring
    /// that gives them all power. With a passphrase, the identity is encrypted.
    ///
    /// # Errors
    ///
    /// As [`NewKeys::write`].
    pub fn create(
        directory: &Path,
        passphrase: Option<&Secret>,
        label: &str,
        now_ms: u64,
    ) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File {
            file: directory.to_owned(),
            error,
        };
        let new = NewKeys::generate().map_err(failed)?;
        let draft = KeyringDraft::first(new.authority(label, now_ms)).map_err(failed)?;
        let keyring = new
            .sign(&draft, now_ms)
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        new.write(directory, passphrase, &Arc::new(keyring))
    }
}

/// The private keys of a new machine, before they are written.
#[allow(missing_debug_implementations)] // holds secrets
pub struct NewKeys {
    identity: Identity,
    owner: Signer,
    signer: Signer,
}

impl NewKeys {
    /// Generates an identity, an owner key and a signer.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn generate() -> std::io::Result<Self> {
        Ok(NewKeys {
            identity: Identity::generate(),
            owner: Signer::generate()?,
            signer: Signer::generate()?,
        })
    }

    /// The recipient of the identity.
    pub fn recipient(&self, label: &str, now_ms: u64) -> Recipient {
        Recipient {
            key: self.identity.recipient(),
            label: label.to_owned(),
            added_at_ms: now_ms,
        }
    }

    /// Power over a store for these keys alone: they own it, change it, and read it.
    pub fn authority(&self, label: &str, now_ms: u64) -> Authority {
        Authority {
            owners: Owners {
                threshold: 1,
                keys: vec![LabelledKey::new(self.owner.verifier(), label)],
            },
            signers: vec![StoreSigner::of_everything(LabelledKey::new(
                self.signer.verifier(),
                label,
            ))],
            readers: Vec::new(),
            default_recipients: vec![self.recipient(label, now_ms)],
            fresh_for_ms: None,
        }
    }

    /// Signs a keyring.
    ///
    /// # Errors
    ///
    /// If it is larger than a keyring can be.
    pub fn sign(&self, draft: &KeyringDraft, now_ms: u64) -> Result<Keyring, KeyError> {
        draft.sign(now_ms, [&self.owner])
    }

    /// Writes the keys to `directory`, which must not exist. With a passphrase, the identity is
    /// encrypted.
    ///
    /// # Errors
    ///
    /// If a file cannot be created, or `directory` exists.
    pub fn write(
        self,
        directory: &Path,
        passphrase: Option<&Secret>,
        keyring: &Arc<Keyring>,
    ) -> Result<Keys, KeyError> {
        let failed = |error| KeyError::File {
            file: directory.to_owned(),
            error,
        };
        let pem = |signer: &Signer| {
            let no_encoding = || failed(std::io::Error::other("the key cannot be encoded"));
            signer.to_pem().ok_or_else(no_encoding)
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let text = identity::to_text([&self.identity]);
        let write = |name: &str, bytes: &[u8]| {
            files::write_new(&directory.join(name), bytes).map_err(failed)
        };
        match passphrase {
            None => write(IDENTITY, text.expose())?,
            Some(passphrase) => write(
                LOCKED_IDENTITY,
                &identity::encrypt(&text, passphrase).map_err(failed)?,
            )?,
        }
        write(OWNER, pem(&self.owner)?.expose())?;
        write(SIGNER, pem(&self.signer)?.expose())?;
        write(KEYRING, &keyring.statement().to_lines())?;
        files::sync_directory(directory).map_err(failed)?;
        let only = |signer| SigningKey {
            present: Some(signer),
            next: None,
        };
        Ok(Keys {
            directory: directory.to_owned(),
            sources: KeySources::default(),
            identities: Identities::Open(vec![self.identity]),
            owner: only(self.owner),
            signer: only(self.signer),
            keyring: Arc::clone(keyring),
        })
    }
}

/// Writes a keyring into the directory of a machine's keys.
///
/// # Errors
///
/// [`KeyError::File`].
pub fn write_keyring(directory: &Path, keyring: &Keyring) -> Result<(), KeyError> {
    let file = directory.join(KEYRING);
    files::replace(&file, &keyring.statement().to_lines())
        .and_then(|()| files::sync_directory(directory))
        .map_err(|error| KeyError::File { file, error })
}
