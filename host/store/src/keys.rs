//! The keys of a store, in a folder of files.
//!
//! | file | what it is | whom to give it |
//! |---|---|---|
//! | `identity.txt` | the age identity: opens secrets | nodes that resolve |
//! | `identity.age` | the same under a passphrase, instead of it | the same |
//! | `recipients.txt` | who secrets are sealed to, one age recipient a line | every node |
//! | `signer.pem` | the Ed25519 private key: writes documents | nodes that change |
//! | `verifier.pem` | its public half | every node |
//!
//! The identity and the recipients are in the formats of the age tools, the
//! signing keys in PKCS #8 and SubjectPublicKeyInfo, as `openssl` reads them.
//!
//! # Security
//!
//! A private key in a file that others can read is refused, not used with a
//! warning. Files are made with mode 0600 from the start. The work that a
//! passphrase may demand is bounded.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret as _, SecretString};

use crate::digest::Digest;
use crate::sealing::{self, Binding, Fields, SealError};
use crate::secret::Secret;
use crate::signing::{Signer, Verifier};

const IDENTITY: &str = "identity.txt";
const LOCKED_IDENTITY: &str = "identity.age";
const RECIPIENTS: &str = "recipients.txt";
const SIGNER: &str = "signer.pem";
const VERIFIER: &str = "verifier.pem";

/// No key file is larger; nothing more is read.
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

/// scrypt's work for a new passphrase, as a power of two: about a second.
const WORK_FACTOR: u8 = 18;

/// The most work that opening may take, as a power of two: about 15 seconds.
/// Without a bound, a planted file could keep a process busy for hours.
const MAX_WORK_FACTOR: u8 = 22;

/// What can go wrong with keys. No message contains anything of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("{file}: {error}")]
    File {
        /// Which one.
        file: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// Others than the owner can read or write it.
    #[error("{file} can be used by others (mode {mode:04o}); run: chmod {remedy} {file}")]
    TooOpen {
        /// Which file or folder.
        file: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        remedy: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{file} belongs to another user, so its keys are not used")]
    ForeignOwner {
        /// Which file or folder.
        file: PathBuf,
    },
    /// It is no key.
    #[error("{file} is not {expected}")]
    Malformed {
        /// Which file.
        file: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// There is no identity here, so no secret can be opened.
    #[error("this node has no identity ({IDENTITY}), so it can open no secret")]
    NoIdentity,
    /// The identity is under a passphrase that has not been given.
    #[error("the identity is locked by a passphrase")]
    Locked,
    /// The passphrase is not the right one.
    #[error("the passphrase does not open the identity")]
    WrongPassphrase,
    /// There is no signer here, so nothing can be changed.
    #[error("this node has no signer ({SIGNER}), so it can change nothing")]
    NoSigner,
}

/// Names a recipient without the length of its key: the first 16 hexadecimal
/// digits of its SHA-256.
pub type RecipientId = String;

enum Identity {
    Absent,
    Locked(Vec<u8>),
    Open {
        identity: age::x25519::Identity,
        /// Names the recipient that it belongs to; to work it out takes a while.
        id: RecipientId,
    },
}

impl Identity {
    fn open(identity: age::x25519::Identity) -> Self {
        let id = recipient_id(&identity.to_public());
        Identity::Open { identity, id }
    }
}

/// The keys that a node has.
pub struct Keys {
    folder: PathBuf,
    identity: Identity,
    recipients: Vec<age::x25519::Recipient>,
    signer: Option<Signer>,
    verifier: Verifier,
}

impl Keys {
    /// Makes new keys in `folder`, which must not exist, with the identity under
    /// `passphrase` if there is one. They appear all at once or not at all.
    ///
    /// # Errors
    ///
    /// When a file cannot be made, or `folder` is there already.
    pub fn create(folder: &Path, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File {
            file: folder.to_owned(),
            error,
        };
        let made = folder.with_extension(format!("new-{}", std::process::id()));
        let mut keys = Self::create_in(&made, passphrase)?;
        // Fails if somebody else's are there.
        std::fs::rename(&made, folder).map_err(|error| {
            // What was made is of no use to anybody.
            let _ = std::fs::remove_dir_all(&made);
            failed(error)
        })?;
        folder.clone_into(&mut keys.folder);
        Ok(keys)
    }

    fn create_in(folder: &Path, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File {
            file: folder.to_owned(),
            error,
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public();
        let signer = Signer::generate().map_err(failed)?;
        let verifier = signer.verifier();
        let text = identity_file(&identity);
        match passphrase {
            None => write_new(&folder.join(IDENTITY), text.expose())?,
            Some(passphrase) => {
                let locked = lock(&text, passphrase).map_err(failed)?;
                write_new(&folder.join(LOCKED_IDENTITY), &locked)?;
            }
        }
        write_new(
            &folder.join(RECIPIENTS),
            format!("{recipient}\n").as_bytes(),
        )?;
        let encoding = || failed(std::io::Error::other("the key cannot be encoded"));
        let pem = signer.to_pem().ok_or_else(encoding)?;
        write_new(&folder.join(SIGNER), pem.expose())?;
        let public = verifier.to_pem().ok_or_else(encoding)?;
        write_new(&folder.join(VERIFIER), public.as_bytes())?;
        Ok(Keys {
            folder: folder.to_owned(),
            identity: Identity::open(identity),
            recipients: vec![recipient],
            signer: Some(signer),
            verifier,
        })
    }

    /// Reads the keys that are in `folder`. The verifier and the recipients must
    /// be; an identity or a signer need not.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is no key, or can be used by others.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        check_owner_only(folder)?;
        let verifier = folder.join(VERIFIER);
        let verifier = read_text(&verifier)?
            .and_then(|pem| Verifier::from_pem(&pem))
            .ok_or(KeyError::Malformed {
                file: verifier,
                expected: "an Ed25519 public key in PEM form",
            })?;
        let file = folder.join(SIGNER);
        let signer = match read_private(&file)? {
            None => None,
            Some(pem) => Some(Signer::from_pem(&pem).ok_or(KeyError::Malformed {
                file,
                expected: "an Ed25519 private key in PKCS #8 PEM form",
            })?),
        };
        Ok(Keys {
            identity: read_identity(folder)?,
            recipients: read_recipients(&folder.join(RECIPIENTS))?,
            folder: folder.to_owned(),
            signer,
            verifier,
        })
    }

    /// Whether the identity is there, but under a passphrase.
    pub fn is_locked(&self) -> bool {
        matches!(self.identity, Identity::Locked(_))
    }

    /// Opens a locked identity; does nothing if it is open.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongPassphrase`], [`KeyError::NoIdentity`],
    /// [`KeyError::Malformed`].
    pub fn unlock(&mut self, passphrase: &Secret) -> Result<(), KeyError> {
        let bytes = match &self.identity {
            Identity::Open { .. } => return Ok(()),
            Identity::Absent => return Err(KeyError::NoIdentity),
            Identity::Locked(bytes) => bytes,
        };
        let malformed = || KeyError::Malformed {
            file: self.folder.join(LOCKED_IDENTITY),
            expected: "an age identity under a passphrase",
        };
        let mut scrypt =
            age::scrypt::Identity::new(secret_string(passphrase).ok_or(KeyError::WrongPassphrase)?);
        scrypt.set_max_work_factor(MAX_WORK_FACTOR);
        let decryptor = age::Decryptor::new_buffered(bytes.as_slice()).map_err(|_| malformed())?;
        let mut plain = decryptor
            .decrypt(std::iter::once(&scrypt as &dyn age::Identity))
            .map_err(|error| match error {
                age::DecryptError::DecryptionFailed
                | age::DecryptError::KeyDecryptionFailed
                | age::DecryptError::NoMatchingKeys => KeyError::WrongPassphrase,
                _ => malformed(),
            })?;
        let text = Secret::read(&mut plain, MAX_KEY_FILE_BYTES)
            .ok()
            .flatten()
            .ok_or_else(malformed)?;
        self.identity = Identity::open(parse_identity(&text).ok_or_else(malformed)?);
        Ok(())
    }

    /// Seals `fields` to all recipients, bound to its place.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`], [`SealError::TooLarge`].
    pub fn seal(&self, binding: &Binding, fields: &Fields) -> Result<Vec<u8>, SealError> {
        sealing::seal(&self.recipients, binding, fields)
    }

    /// Opens a sealed secret, if it belongs to `expected`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] without an open identity, else [`SealError`].
    pub fn unseal(
        &self,
        sealed: &[u8],
        expected: &Binding,
    ) -> Result<Result<Fields, SealError>, KeyError> {
        match &self.identity {
            Identity::Open { identity, .. } => Ok(sealing::unseal(identity, sealed, expected)),
            Identity::Locked(_) => Err(KeyError::Locked),
            Identity::Absent => Err(KeyError::NoIdentity),
        }
    }

    /// Names the recipients that [`Keys::seal`] seals to.
    pub fn recipient_ids(&self) -> Vec<RecipientId> {
        self.recipients.iter().map(recipient_id).collect()
    }

    /// Names the recipient that the open identity belongs to.
    pub fn identity_id(&self) -> Option<&str> {
        match &self.identity {
            Identity::Open { id, .. } => Some(id),
            Identity::Locked(_) | Identity::Absent => None,
        }
    }

    /// The key that writes documents.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`].
    pub fn signer(&self) -> Result<&Signer, KeyError> {
        self.signer.as_ref().ok_or(KeyError::NoSigner)
    }

    /// The key that verifies documents.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

fn recipient_id(recipient: &age::x25519::Recipient) -> RecipientId {
    Digest::of(recipient.to_string().as_bytes())
        .to_string()
        .chars()
        .take(16)
        .collect()
}

fn identity_file(identity: &age::x25519::Identity) -> Secret {
    let text = identity.to_string();
    Secret::from(format!(
        "# public key: {}\n{}\n",
        identity.to_public(),
        text.expose_secret()
    ))
}

fn parse_identity(text: &Secret) -> Option<age::x25519::Identity> {
    let text = text.expose_text()?;
    let mut keys = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let key = keys.next()?.parse().ok()?;
    keys.next().is_none().then_some(key)
}

fn secret_string(secret: &Secret) -> Option<SecretString> {
    secret.expose_text().map(SecretString::from)
}

fn lock(text: &Secret, passphrase: &Secret) -> std::io::Result<Vec<u8>> {
    let passphrase = secret_string(passphrase)
        .ok_or_else(|| std::io::Error::other("the passphrase is not UTF-8"))?;
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK_FACTOR);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(std::io::Error::other)?;
    let mut locked = Vec::new();
    let mut writer = encryptor.wrap_output(&mut locked)?;
    writer.write_all(text.expose())?;
    writer.finish()?;
    Ok(locked)
}

fn read_identity(folder: &Path) -> Result<Identity, KeyError> {
    let file = folder.join(IDENTITY);
    if let Some(text) = read_private(&file)? {
        return parse_identity(&text)
            .map(Identity::open)
            .ok_or(KeyError::Malformed {
                file,
                expected: "one age identity (X25519)",
            });
    }
    Ok(match read_private(&folder.join(LOCKED_IDENTITY))? {
        Some(bytes) => Identity::Locked(bytes.expose().to_vec()),
        None => Identity::Absent,
    })
}

fn read_recipients(file: &Path) -> Result<Vec<age::x25519::Recipient>, KeyError> {
    let malformed = || KeyError::Malformed {
        file: file.to_owned(),
        expected: "a list of age recipients (X25519), one a line",
    };
    let recipients: Vec<_> = read_text(file)?
        .ok_or_else(malformed)?
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.parse().map_err(|_| malformed()))
        .collect::<Result<_, _>>()?;
    if recipients.is_empty() {
        Err(malformed())
    } else {
        Ok(recipients)
    }
}

/// Makes a file that only the owner can use, and sees it onto the disk.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let write = || -> std::io::Result<()> {
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        made.write_all(bytes)?;
        made.sync_all()
    };
    write().map_err(|error| KeyError::File {
        file: file.to_owned(),
        error,
    })
}

/// Reads a private file; `None` if it is not there.
fn read_private(file: &Path) -> Result<Option<Secret>, KeyError> {
    let failed = |error| KeyError::File {
        file: file.to_owned(),
        error,
    };
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the file that was opened, not of whatever has its name by now.
    check_metadata(file, &opened.metadata().map_err(failed)?, "600")?;
    Secret::read(&mut opened, MAX_KEY_FILE_BYTES)
        .map_err(failed)?
        .ok_or(KeyError::Malformed {
            file: file.to_owned(),
            expected: "a key file",
        })
        .map(Some)
}

fn read_text(file: &Path) -> Result<Option<String>, KeyError> {
    let failed = |error| KeyError::File {
        file: file.to_owned(),
        error,
    };
    let opened = File::open(file).map_err(failed)?;
    let mut text = String::new();
    let limit = u64::try_from(MAX_KEY_FILE_BYTES).unwrap_or(u64::MAX);
    Ok(opened
        .take(limit)
        .read_to_string(&mut text)
        .ok()
        .map(|_| text))
}

/// Refuses a folder that others than its owner can enter.
fn check_owner_only(folder: &Path) -> Result<(), KeyError> {
    let metadata = std::fs::metadata(folder).map_err(|error| KeyError::File {
        file: folder.to_owned(),
        error,
    })?;
    check_metadata(folder, &metadata, "700")
}

fn check_metadata(
    file: &Path,
    metadata: &std::fs::Metadata,
    remedy: &'static str,
) -> Result<(), KeyError> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(KeyError::ForeignOwner {
            file: file.to_owned(),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen {
            file: file.to_owned(),
            mode,
            remedy,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        (home, folder)
    }

    fn binding() -> Binding {
        Binding {
            scope: "acme".to_owned(),
            credential: "c1".to_owned(),
            version: 1,
            provider: "openai".to_owned(),
            hosts: Vec::new(),
            epoch: 1,
        }
    }

    fn sealed(keys: &Keys) -> Vec<u8> {
        let fields = vec![("api_key".to_owned(), Secret::from("canary-keys-1"))];
        keys.seal(&binding(), &fields).unwrap()
    }

    #[test]
    fn keys_made_are_the_keys_read() {
        let (_home, folder) = folder();
        let made = Keys::create(&folder, None).unwrap();
        let read = Keys::open(&folder).unwrap();
        assert_eq!(read.identity_id(), made.identity_id());
        assert_eq!(read.recipient_ids(), made.recipient_ids());
        assert_eq!(read.signer().unwrap().id(), made.verifier().id());
        assert!(read.unseal(&sealed(&made), &binding()).unwrap().is_ok());
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        for name in [IDENTITY, SIGNER] {
            let (_home, folder) = folder();
            Keys::create(&folder, None).unwrap();
            let file = folder.join(name);
            std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
            let error = Keys::open(&folder).unwrap_err();
            assert!(
                matches!(error, KeyError::TooOpen { mode: 0o640, .. }),
                "{error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        let (_home, folder) = folder();
        Keys::create(&folder, None).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Keys::open(&folder), Err(KeyError::TooOpen { .. })));
    }

    #[test]
    fn a_passphrase_locks_and_unlocks_the_identity() {
        let (_home, folder) = folder();
        let made = Keys::create(&folder, Some(&Secret::from("canary-passphrase"))).unwrap();
        let mut read = Keys::open(&folder).unwrap();
        assert!(read.is_locked());
        assert!(matches!(
            read.unseal(&sealed(&made), &binding()),
            Err(KeyError::Locked)
        ));
        assert!(matches!(
            read.unlock(&Secret::from("wrong")),
            Err(KeyError::WrongPassphrase)
        ));
        read.unlock(&Secret::from("canary-passphrase")).unwrap();
        assert!(read.unseal(&sealed(&made), &binding()).unwrap().is_ok());
    }

    #[test]
    fn each_key_alone_has_its_one_power() {
        let (_home, folder) = folder();
        let all = Keys::create(&folder, None).unwrap();
        std::fs::remove_file(folder.join(IDENTITY)).unwrap();
        let writer = Keys::open(&folder).unwrap();
        assert!(writer.signer().is_ok());
        assert!(matches!(
            writer.unseal(&sealed(&writer), &binding()),
            Err(KeyError::NoIdentity)
        ));
        drop(all);
        std::fs::remove_file(folder.join(SIGNER)).unwrap();
        assert!(matches!(
            Keys::open(&folder).unwrap().signer(),
            Err(KeyError::NoSigner)
        ));
    }
}
