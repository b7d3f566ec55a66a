//! The keys of a machine, in a directory.
//!
//! | file | contents | needed by |
//! |---|---|---|
//! | `identity.txt` | the age identity: decrypts secrets | machines that resolve |
//! | `identity.age` | the same, encrypted with a passphrase | the same |
//! | `signer.pem` | the Ed25519 private key: signs documents | machines that make changes |
//! | `verifier.pem` | its public key | every machine |
//!
//! The identity has the format of the age tools. The signing keys are in PKCS #8 and
//! SubjectPublicKeyInfo, which `openssl` reads. The list of recipients is in the store
//! ([`crate::Recipients`]).
//!
//! During a rotation there are more keys: a second identity in the same file, the next
//! signer in `signer.next.pem`, the previous verifier as a second key in `verifier.pem`.
//! Each file is replaced atomically. Every state in between works, and an interrupted
//! rotation continues from it.
//!
//! # Security
//!
//! A private key in a file that other users can read is refused. Files are created with
//! mode 0600. The scrypt work factor that is accepted is limited.
//!
//! A file or the directory may be a link, for example to a mounted secret, if only the
//! owner and the system can redirect it ([`crate::check_ancestors`]) and its target is as
//! private. A rotation replaces the link, not its target.

pub(crate) mod error;
pub(crate) mod identity;
mod names;
mod read;
mod rotation;
pub(crate) mod source;
#[cfg(test)]
mod tests;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use error::KeyError;
use identity::{DecryptError, Identity};
use names::{IDENTITY, LOCKED_IDENTITY, NEXT_SIGNER, SIGNER, VERIFIER};
use read::{read_identities, read_signer, read_verifiers};
use source::Identities;
use source::IdentitySource;

use crate::files;
use crate::recipients::{Recipient, Recipients};
use crate::sealing;
use crate::sealing::context::{Fields, SealContext, SealError};
use crate::secret::Secret;
use crate::signing::{Signer, Verifier};

/// The keys of a machine.
pub struct Keys {
    directory: PathBuf,
    source: IdentitySource,
    identities: Identities,
    signer: Option<Signer>,
    next_signer: Option<Signer>,
    /// The trusted keys: the current one, then the previous one while documents still have its
    /// signature.
    verifiers: Vec<Verifier>,
}

impl Keys {
    /// Generates keys in `directory`, which must not exist. With a passphrase, the identity is
    /// encrypted.
    ///
    /// # Errors
    ///
    /// If a file cannot be created, or `directory` exists.
    pub fn create(directory: &Path, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File {
            file: directory.to_owned(),
            error,
        };
        let no_encoding = || failed(std::io::Error::other("the key cannot be encoded"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let signer = Signer::generate().map_err(failed)?;
        let identity = Identity::generate();
        let text = identity::to_text([&identity]);
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
        write(SIGNER, signer.to_pem().ok_or_else(no_encoding)?.expose())?;
        let public = signer.verifier().to_pem().ok_or_else(no_encoding)?;
        write(VERIFIER, public.as_bytes())?;
        files::sync_directory(directory).map_err(failed)?;
        Ok(Keys {
            directory: directory.to_owned(),
            source: IdentitySource::Directory,
            identities: Identities::Open(vec![identity]),
            verifiers: vec![signer.verifier()],
            signer: Some(signer),
            next_signer: None,
        })
    }

    /// Reads the keys in `directory`. The verifier is required; the identity and the signer are
    /// optional.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is not a key, or is accessible to other users.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        Self::open_with(directory, IdentitySource::Directory)
    }

    /// Reads the keys in `directory`, with the identity from `source`.
    ///
    /// # Errors
    ///
    /// The same as [`Keys::open`].
    pub fn open_with(directory: &Path, source: IdentitySource) -> Result<Self, KeyError> {
        files::path_check::check_private(directory)?;
        Ok(Keys {
            identities: read_identities(directory, &source)?,
            source,
            // In this order: the next signer may become the signer concurrently.
            next_signer: read_signer(&directory.join(NEXT_SIGNER))?,
            signer: read_signer(&directory.join(SIGNER))?,
            verifiers: read_verifiers(&directory.join(VERIFIER))?,
            directory: directory.to_owned(),
        })
    }

    /// Reads the files again. An unlocked identity stays unlocked.
    pub(crate) fn reload(&self) -> Result<Self, KeyError> {
        let mut keys = Self::open_with(&self.directory, self.source.clone())?;
        if let (Identities::Locked(_), Identities::Open(open)) =
            (&keys.identities, &self.identities)
        {
            let text = identity::to_text(open);
            keys.identities = identity::parse(&text).map_or(Identities::Absent, Identities::Open);
        }
        Ok(keys)
    }

    /// The directory of the key files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the identity is encrypted and was not unlocked.
    pub fn is_locked(&self) -> bool {
        matches!(self.identities, Identities::Locked(_))
    }

    /// Decrypts a locked identity. Does nothing if it is unlocked.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongPassphrase`], [`KeyError::NoIdentity`],
    /// [`KeyError::Malformed`].
    pub fn unlock(&mut self, passphrase: &Secret) -> Result<(), KeyError> {
        let locked = match &self.identities {
            Identities::Open(_) => return Ok(()),
            Identities::Absent => return Err(KeyError::NoIdentity),
            Identities::Locked(bytes) => bytes,
        };
        let malformed = || KeyError::Malformed {
            file: self.directory.join(LOCKED_IDENTITY),
            expected: "a passphrase-protected age identity",
        };
        let text = identity::decrypt(locked, passphrase).map_err(|error| match error {
            DecryptError::WrongPassphrase => KeyError::WrongPassphrase,
            DecryptError::Malformed => malformed(),
        })?;
        self.identities = Identities::Open(identity::parse(&text).ok_or_else(malformed)?);
        Ok(())
    }

    /// Seals `fields` to all `recipients`, for one context. Needs no key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`], [`SealError::TooLarge`].
    pub fn seal(
        recipients: &Recipients,
        context: &SealContext,
        fields: &Fields,
    ) -> Result<Vec<u8>, SealError> {
        sealing::seal(recipients, context, fields)
    }

    /// Opens a sealed secret, if it was sealed for the context `expected`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no unlocked identity. The inner error is the [`SealError`].
    pub fn unseal(
        &self,
        sealed: &[u8],
        expected: &SealContext,
    ) -> Result<Result<Fields, SealError>, KeyError> {
        let identities = self.open_identities()?;
        let keys = identities
            .iter()
            .map(|identity| &identity.key as &dyn age::Identity);
        Ok(sealing::unseal(keys, sealed, expected))
    }

    fn open_identities(&self) -> Result<&[Identity], KeyError> {
        match &self.identities {
            Identities::Open(identities) => Ok(identities),
            Identities::Locked(_) => Err(KeyError::Locked),
            Identities::Absent => Err(KeyError::NoIdentity),
        }
    }

    /// Fails if the identity was not read from the key directory, so that it cannot be rotated
    /// here.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignIdentity`].
    pub fn check_identity_is_local(&self) -> Result<(), KeyError> {
        match self.source {
            IdentitySource::Directory => Ok(()),
            IdentitySource::Given(_) => Err(KeyError::ForeignIdentity),
        }
    }

    /// Whether there is an unlocked identity.
    pub fn can_unseal(&self) -> bool {
        matches!(self.identities, Identities::Open(_))
    }

    /// The ids of the recipients of the unlocked identities, the newest first.
    pub fn identity_ids(&self) -> impl Iterator<Item = &str> {
        let open = self.open_identities().unwrap_or_default();
        open.iter().map(|identity| identity.id.as_str())
    }

    /// The recipients of the unlocked identities, the newest first.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoIdentity`], [`KeyError::Locked`].
    pub fn own_recipients(&self, label: &str, now_ms: u64) -> Result<Vec<Recipient>, KeyError> {
        let identities = self.open_identities()?.iter();
        Ok(identities
            .map(|identity| Recipient {
                key: identity.recipient(),
                label: label.to_owned(),
                added_at_ms: now_ms,
            })
            .collect())
    }

    /// The prefix of the line in a recovery key file that names the verifier of the store.
    pub const VERIFIER_COMMENT: &'static str = "# verifier: ";

    /// Generates a recovery key: an identity in a new file, with the id of the store's
    /// verifier. Returns its recipient.
    ///
    /// # Errors
    ///
    /// If the file cannot be created, or exists.
    pub fn create_recovery_key(file: &Path, verifier: &str) -> Result<Recipient, KeyError> {
        let identity = Identity::generate();
        let text = identity::to_text([&identity]);
        let comment = format!("{}{verifier}\n", Self::VERIFIER_COMMENT);
        let all = Secret::joined(&[comment.as_bytes(), text.expose()]);
        files::write_new(file, all.expose()).map_err(|error| KeyError::File {
            file: file.to_owned(),
            error,
        })?;
        Ok(Recipient {
            key: identity.recipient(),
            label: String::new(),
            added_at_ms: 0,
        })
    }

    /// The signing key that belongs to `verifier`.
    pub(crate) fn signer_for(&self, verifier: &Verifier) -> Result<&Signer, KeyError> {
        let known = [&self.signer, &self.next_signer];
        let mut known = known.into_iter().flatten().peekable();
        if known.peek().is_none() {
            return Err(KeyError::NoSigner);
        }
        known
            .find(|signer| signer.id() == verifier.id())
            .ok_or(KeyError::OldSigner)
    }

    /// The current signing key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`].
    pub fn signer(&self) -> Result<&Signer, KeyError> {
        let current = self
            .verifiers
            .first()
            .map(|verifier| self.signer_for(verifier));
        current.unwrap_or(Err(KeyError::NoSigner))
    }

    /// Fails if this machine has no signer.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`].
    pub fn check_can_write(&self) -> Result<(), KeyError> {
        match (&self.signer, &self.next_signer) {
            (None, None) => Err(KeyError::NoSigner),
            _ => Ok(()),
        }
    }

    /// The trusted keys, the current one first.
    pub fn verifiers(&self) -> &[Verifier] {
        &self.verifiers
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
