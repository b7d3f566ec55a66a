//! The keys of a node, in a folder of files.
//!
//! | file | what it is | whom to give it |
//! |---|---|---|
//! | `identity.txt` | the age identity: opens secrets | nodes that resolve |
//! | `identity.age` | the same under a passphrase, instead of it | the same |
//! | `signer.pem` | the Ed25519 private key: writes documents | nodes that change |
//! | `verifier.pem` | its public half | every node |
//!
//! The identity is in the form of the age tools, the signing keys in PKCS #8 and
//! SubjectPublicKeyInfo, as `openssl` reads them. Who secrets are sealed to stands
//! in the store ([`crate::Recipients`]).
//!
//! While a key is being renewed there is more: a second identity in the same file,
//! the next signer in `signer.next.pem`, the verifier of before as a second one in
//! `verifier.pem`. Each file is replaced whole, and each state in between is one to
//! work with and to go on from.
//!
//! # Security
//!
//! A private key in a file that others can read is refused, not used with a
//! warning. Files are made with mode 0600 from the start. The work that a
//! passphrase may demand is bounded.
//!
//! A file, or the folder, may be a link, to a mounted secret for instance, if nobody but
//! the owner and the system can lead it elsewhere ([`crate::check_way`]) and what it names
//! is as private. A key that is renewed replaces the link, not what it names.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use entail_text::sanitized;

use crate::files;
use crate::identity::{self, Identity, NotUnlocked};
use crate::recipients::{Recipient, Recipients};
use crate::sealing::{self, Binding, Fields, SealError};
use crate::secret::Secret;
use crate::signing::{Signer, Verifier};

const IDENTITY: &str = "identity.txt";
const LOCKED_IDENTITY: &str = "identity.age";
const SIGNER: &str = "signer.pem";
const NEXT_SIGNER: &str = "signer.next.pem";
const VERIFIER: &str = "verifier.pem";

/// No key file is larger; nothing more is read.
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

/// What is said besides of a directory as a cluster makes it for a group (`fsGroup`): it
/// does so each time that a volume is mounted.
fn of_group(mode: u32) -> &'static str {
    if mode & 0o2020 == 0o2020 {
        "; if a cluster mounts it for a group, mount it for the user alone: without fsGroup, \
         or with the home in a directory of its own that fsGroup does not change \
         (fsGroupChangePolicy: OnRootMismatch)"
    } else {
        ""
    }
}

/// What can go wrong with keys. No message contains anything of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("{}: {}", sanitized(.file.display()), sanitized(.error))]
    File {
        /// Which one.
        file: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// Others than the owner can read or write it.
    #[error(
        "{file} can be used by others (mode {mode:04o}); run: chmod {remedy} {file}{}",
        of_group(*.mode),
        file = sanitized(.file.display())
    )]
    TooOpen {
        /// Which file or folder.
        file: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        remedy: &'static str,
    },
    /// It belongs to somebody else.
    #[error(
        "{} belongs to another user, so its keys are not used",
        sanitized(.file.display())
    )]
    ForeignOwner {
        /// Which file or folder.
        file: PathBuf,
    },
    /// It is no key.
    #[error("{} is not {expected}", sanitized(.file.display()))]
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
    /// The identity came from elsewhere, so it is not for this program to renew.
    #[error(
        "the identity is not in {IDENTITY} or {LOCKED_IDENTITY}, so it is renewed where it comes from"
    )]
    ForeignIdentity,
    /// The passphrase is not the right one.
    #[error("the passphrase does not open the identity")]
    WrongPassphrase,
    /// Another process is renewing keys.
    #[error("another process is renewing the keys of this home; wait for it to end")]
    Busy,
    /// There is no signer here, so nothing can be changed.
    #[error("this node has no signer ({SIGNER}), so it can change nothing")]
    NoSigner,
    /// The signer here is not the one that may write.
    #[error(
        "the signer of this node ({SIGNER}) is not the one that may write; if it was renewed elsewhere, copy it from there"
    )]
    OldSigner,
}

/// What there is to open secrets with.
enum Identities {
    Absent,
    /// Under a passphrase that has not been given.
    Locked(Vec<u8>),
    Open(Vec<Identity>),
}

/// Where identities come from.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // holds a secret
pub enum IdentitySource {
    /// The folder of the keys.
    Folder,
    /// Whoever started the program: identities in the form of the age tools.
    Given(Secret),
}

/// The keys that a node has.
pub struct Keys {
    folder: PathBuf,
    source: IdentitySource,
    identities: Identities,
    signer: Option<Signer>,
    next_signer: Option<Signer>,
    /// Whose signature holds: the present key, then the one of before while
    /// documents still have its signature.
    verifiers: Vec<Verifier>,
}

impl Keys {
    /// Makes new keys in `folder`, which must not exist, with the identity under
    /// `passphrase` if there is one.
    ///
    /// # Errors
    ///
    /// When a file cannot be made, or `folder` is there already.
    pub fn create(folder: &Path, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File {
            file: folder.to_owned(),
            error,
        };
        let no_encoding = || failed(std::io::Error::other("the key cannot be encoded"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let signer = Signer::generate().map_err(failed)?;
        let identity = Identity::generate();
        let text = identity::to_text([&identity]);
        let write =
            |name: &str, bytes: &[u8]| files::write_new(&folder.join(name), bytes).map_err(failed);
        match passphrase {
            None => write(IDENTITY, text.expose())?,
            Some(passphrase) => write(
                LOCKED_IDENTITY,
                &identity::lock(&text, passphrase).map_err(failed)?,
            )?,
        }
        write(SIGNER, signer.to_pem().ok_or_else(no_encoding)?.expose())?;
        let public = signer.verifier().to_pem().ok_or_else(no_encoding)?;
        write(VERIFIER, public.as_bytes())?;
        files::sync_folder(folder).map_err(failed)?;
        Ok(Keys {
            folder: folder.to_owned(),
            source: IdentitySource::Folder,
            identities: Identities::Open(vec![identity]),
            verifiers: vec![signer.verifier()],
            signer: Some(signer),
            next_signer: None,
        })
    }

    /// Reads the keys that are in `folder`. The verifier must be; an identity or a
    /// signer need not.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is no key, or can be used by others.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        Self::open_with(folder, IdentitySource::Folder)
    }

    /// Reads the keys that are in `folder`, with the identity from `source`.
    ///
    /// # Errors
    ///
    /// As [`Keys::open`].
    pub fn open_with(folder: &Path, source: IdentitySource) -> Result<Self, KeyError> {
        files::check_private(folder)?;
        Ok(Keys {
            identities: read_identities(folder, &source)?,
            source,
            // In this order: it may be made the signer meanwhile.
            next_signer: read_signer(&folder.join(NEXT_SIGNER))?,
            signer: read_signer(&folder.join(SIGNER))?,
            verifiers: read_verifiers(&folder.join(VERIFIER))?,
            folder: folder.to_owned(),
        })
    }

    /// Reads the files again. An identity that was unlocked stays as it is.
    pub(crate) fn again(&self) -> Result<Self, KeyError> {
        let mut keys = Self::open_with(&self.folder, self.source.clone())?;
        if let (Identities::Locked(_), Identities::Open(open)) =
            (&keys.identities, &self.identities)
        {
            let text = identity::to_text(open);
            keys.identities = identity::parse(&text).map_or(Identities::Absent, Identities::Open);
        }
        Ok(keys)
    }

    /// The folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the identity is there, but under a passphrase.
    pub fn is_locked(&self) -> bool {
        matches!(self.identities, Identities::Locked(_))
    }

    /// Opens a locked identity; does nothing if it is open.
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
            file: self.folder.join(LOCKED_IDENTITY),
            expected: "an age identity under a passphrase",
        };
        let text = identity::unlock(locked, passphrase).map_err(|error| match error {
            NotUnlocked::WrongPassphrase => KeyError::WrongPassphrase,
            NotUnlocked::Malformed => malformed(),
        })?;
        self.identities = Identities::Open(identity::parse(&text).ok_or_else(malformed)?);
        Ok(())
    }

    /// Seals `fields` to all of `recipients`, bound to its place. Takes no key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`], [`SealError::TooLarge`].
    pub fn seal(
        recipients: &Recipients,
        binding: &Binding,
        fields: &Fields,
    ) -> Result<Vec<u8>, SealError> {
        sealing::seal(recipients, binding, fields)
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

    /// Refuses to renew an identity that is not kept in the folder.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignIdentity`].
    pub fn check_own_identity(&self) -> Result<(), KeyError> {
        match self.source {
            IdentitySource::Folder => Ok(()),
            IdentitySource::Given(_) => Err(KeyError::ForeignIdentity),
        }
    }

    /// Whether there is an open identity.
    pub fn can_unseal(&self) -> bool {
        matches!(self.identities, Identities::Open(_))
    }

    /// Names the recipients that the open identities belong to, the newest first.
    pub fn identity_ids(&self) -> impl Iterator<Item = &str> {
        let open = self.open_identities().unwrap_or_default();
        open.iter().map(|identity| identity.id.as_str())
    }

    /// The recipients that the open identities belong to, the newest first.
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

    /// What stands before the name of the key whose signature a copy must have, in the
    /// file of a recovery key.
    pub const VERIFIER_COMMENT: &'static str = "# verifier: ";

    /// Makes an identity in a new file, to be kept elsewhere, with the name of the
    /// verifier that goes with it. Answers with its recipient.
    ///
    /// # Errors
    ///
    /// When the file cannot be made, or is there already.
    pub fn make_recovery(file: &Path, verifier: &str) -> Result<Recipient, KeyError> {
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

    /// Puts a new identity before the one in the folder, which stays.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignIdentity`] if it is not from the folder.
    pub fn begin_new_identity(&mut self, passphrase: Option<&Secret>) -> Result<(), KeyError> {
        let kept = identity::to_text(self.open_identities()?);
        let kept = identity::parse(&kept).unwrap_or_default();
        let identities = std::iter::once(Identity::generate()).chain(kept).collect();
        self.write_identities(identities, passphrase)
    }

    /// Keeps only the newest identity; what is sealed to the others alone can no
    /// longer be opened here.
    ///
    /// # Errors
    ///
    /// As [`Keys::begin_new_identity`].
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
        let plain = self.folder.join(IDENTITY);
        let locked = self.folder.join(LOCKED_IDENTITY);
        let from_folder = matches!(self.source, IdentitySource::Folder);
        let (file, bytes) = match passphrase {
            _ if !from_folder => return Err(KeyError::ForeignIdentity),
            None if plain.exists() => (plain, text),
            Some(passphrase) if locked.exists() => {
                let bytes = identity::lock(&text, passphrase).map_err(|error| KeyError::File {
                    file: locked.clone(),
                    error,
                })?;
                (locked, Secret::new(&bytes))
            }
            _ => return Err(KeyError::Locked),
        };
        files::replace(&file, bytes.expose())
            .and_then(|()| files::sync_folder(&self.folder))
            .map_err(|error| KeyError::File { file, error })?;
        self.identities = Identities::Open(identities);
        Ok(())
    }

    /// The key that writes documents, whose power `verifier` bears out.
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

    /// The key that writes documents.
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

    /// Keeps other processes from renewing keys, until it is dropped, and removes what
    /// one that was stopped left unfinished.
    ///
    /// # Errors
    ///
    /// [`KeyError::Busy`].
    pub fn hold(&self) -> Result<std::fs::File, KeyError> {
        let failed = |error| KeyError::File {
            file: self.folder.clone(),
            error,
        };
        let folder = std::fs::File::open(&self.folder).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => {
                files::remove_unfinished(&self.folder).map_err(failed)?;
                Ok(folder)
            }
            Err(std::fs::TryLockError::WouldBlock) => Err(KeyError::Busy),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Refuses a node that has no signer at all.
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

    /// Whose signature holds: the present key first.
    pub fn verifiers(&self) -> &[Verifier] {
        &self.verifiers
    }

    /// Makes the next signer, or finds the one that was made before.
    pub(crate) fn begin_new_signer(&mut self) -> Result<Verifier, KeyError> {
        let file = self.folder.join(NEXT_SIGNER);
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
                .and_then(|()| files::sync_folder(&self.folder))
                .map_err(failed)?;
            next
        };
        Ok(self.next_signer.insert(next).verifier())
    }

    /// Whether a next signer was made that is not yet the signer.
    pub fn has_next_signer(&self) -> bool {
        self.next_signer.is_some()
    }

    /// Makes the next signer the signer.
    pub(crate) fn adopt_new_signer(&mut self) -> Result<(), KeyError> {
        let trusted = self.verifiers.first().map(Verifier::id);
        let Some(next) = self.next_signer.take_if(|next| Some(next.id()) == trusted) else {
            return Ok(());
        };
        let file = self.folder.join(SIGNER);
        std::fs::rename(self.folder.join(NEXT_SIGNER), &file)
            .and_then(|()| files::sync_folder(&self.folder))
            .map_err(|error| KeyError::File { file, error })?;
        self.signer = Some(next);
        Ok(())
    }

    /// Writes down whose signature holds.
    pub(crate) fn set_verifiers(&mut self, verifiers: &[Verifier]) -> Result<(), KeyError> {
        let file = self.folder.join(VERIFIER);
        let text: Option<String> = verifiers.iter().map(Verifier::to_pem).collect();
        let written = match text {
            Some(text) => files::replace(&file, text.as_bytes())
                .and_then(|()| files::sync_folder(&self.folder)),
            None => Err(std::io::Error::other("the key cannot be encoded")),
        };
        written.map_err(|error| KeyError::File { file, error })?;
        self.verifiers = verifiers.to_vec();
        Ok(())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

fn read_identities(folder: &Path, source: &IdentitySource) -> Result<Identities, KeyError> {
    let malformed = |file: &Path| KeyError::Malformed {
        file: file.to_owned(),
        expected: "an age identity (X25519)",
    };
    if let IdentitySource::Given(text) = source {
        let given = Path::new("the identity that was given");
        let open = identity::parse(text).map(Identities::Open);
        return open.ok_or_else(|| malformed(given));
    }
    let file = folder.join(IDENTITY);
    if let Some(text) = files::read_private(&file, identity::MAX_BYTES)? {
        let open = identity::parse(&text).map(Identities::Open);
        return open.ok_or_else(|| malformed(&file));
    }
    let locked = files::read_private(&folder.join(LOCKED_IDENTITY), MAX_KEY_FILE_BYTES)?;
    Ok(locked.map_or(Identities::Absent, |bytes| {
        Identities::Locked(bytes.expose().to_vec())
    }))
}

fn read_signer(file: &Path) -> Result<Option<Signer>, KeyError> {
    let Some(pem) = files::read_private(file, MAX_KEY_FILE_BYTES)? else {
        return Ok(None);
    };
    match Signer::from_pem(&pem) {
        Some(signer) => Ok(Some(signer)),
        None => Err(KeyError::Malformed {
            file: file.to_owned(),
            expected: "an Ed25519 private key in PKCS #8 PEM form",
        }),
    }
}

fn read_verifiers(file: &Path) -> Result<Vec<Verifier>, KeyError> {
    const END: &str = "-----END PUBLIC KEY-----";
    let bytes = files::read_trusted(file, MAX_KEY_FILE_BYTES)?;
    let text = String::from_utf8(bytes).ok();
    let keys = text.as_deref().unwrap_or_default();
    let verifiers: Option<Vec<Verifier>> = keys
        .split_inclusive(END)
        .filter(|key| !key.trim().is_empty())
        .map(|key| Verifier::from_pem(key.trim()))
        .collect();
    verifiers
        .filter(|verifiers| !verifiers.is_empty())
        .ok_or_else(|| KeyError::Malformed {
            file: file.to_owned(),
            expected: "an Ed25519 public key in PEM form",
        })
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
        let recipients = Recipients::first(keys.own_recipients("test", 0).unwrap());
        Keys::seal(&recipients, &binding(), &fields).unwrap()
    }

    #[test]
    fn keys_made_are_the_keys_read() {
        let (_home, folder) = folder();
        let made = Keys::create(&folder, None).unwrap();
        let read = Keys::open(&folder).unwrap();
        assert!(read.identity_ids().eq(made.identity_ids()));
        assert_eq!(read.signer().unwrap().id(), made.verifiers()[0].id());
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
            writer.unseal(&sealed(&all), &binding()),
            Err(KeyError::NoIdentity)
        ));
        std::fs::remove_file(folder.join(SIGNER)).unwrap();
        assert!(matches!(
            Keys::open(&folder).unwrap().signer(),
            Err(KeyError::NoSigner)
        ));
    }

    #[test]
    fn a_new_identity_comes_first_and_the_old_one_stays_until_it_is_ended() {
        for passphrase in [None, Some(Secret::from("canary-passphrase"))] {
            let (_home, folder) = folder();
            let mut keys = Keys::create(&folder, passphrase.as_ref()).unwrap();
            let before = sealed(&keys);
            keys.begin_new_identity(passphrase.as_ref()).unwrap();
            let mut read = Keys::open(&folder).unwrap();
            if let Some(passphrase) = &passphrase {
                read.unlock(passphrase).unwrap();
            }
            assert_eq!(read.identity_ids().count(), 2);
            assert!(read.unseal(&before, &binding()).unwrap().is_ok());
            read.end_old_identities(passphrase.as_ref()).unwrap();
            assert_eq!(read.identity_ids().count(), 1);
            assert_eq!(read.identity_ids().next(), keys.identity_ids().next());
            assert!(matches!(
                read.unseal(&before, &binding()),
                Ok(Err(SealError::NotForThisIdentity))
            ));
        }
    }

    #[test]
    fn a_next_signer_signs_only_once_it_is_trusted() {
        let (_home, folder) = folder();
        let mut keys = Keys::create(&folder, None).unwrap();
        let old = keys.verifiers()[0].clone();
        let next = keys.begin_new_signer().unwrap();
        assert_eq!(keys.signer().unwrap().id(), old.id());
        // Found again after a stop in between.
        let mut keys = Keys::open(&folder).unwrap();
        assert_eq!(keys.begin_new_signer().unwrap().id(), next.id());
        keys.set_verifiers(&[next.clone(), old]).unwrap();
        let mut keys = Keys::open(&folder).unwrap();
        assert_eq!(keys.signer().unwrap().id(), next.id());
        assert_eq!(keys.verifiers().len(), 2);
        keys.adopt_new_signer().unwrap();
        let keys = Keys::open(&folder).unwrap();
        assert_eq!(keys.signer().unwrap().id(), next.id());
        assert!(!keys.has_next_signer());
    }
}
