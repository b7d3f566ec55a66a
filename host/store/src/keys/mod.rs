//! The keys of a machine, in a directory.
//!
//! | file | contents | needed by |
//! |---|---|---|
//! | `identity.txt` | the age identity: decrypts secrets | machines that resolve |
//! | `identity.age` | the same, encrypted with a passphrase | the same |
//! | `signer.pem` | an Ed25519 private key: signs changes | machines that make changes |
//! | `owner.pem` | an Ed25519 private key: signs the keyring | machines that change keys or recipients |
//! | `keyring.jsonl` | the keyring that this machine trusts | every machine |
//!
//! The identity has the format of the age tools. The private keys are in PKCS #8, which
//! `openssl` reads. The keyring ([`crate::Keyring`]) is the root of this machine's trust. It is
//! replaced when the journal leads to a newer one; if it cannot be, the next process finds the
//! newer one again.
//!
//! During a rotation there are more keys: a second identity in the same file, the next
//! signer in `signer.next.pem`, the next owner key in `owner.next.pem`. Each file is replaced
//! atomically. Every state in between works, and an interrupted rotation continues from it.
//!
//! # Security
//!
//! A private key in a file that other users can read is refused. Files are created with
//! mode 0600. The scrypt work factor that is accepted is limited.
//!
//! A file or the directory may be a link, for example to a mounted secret, if only the
//! owner and the system can redirect it ([`crate::check_ancestors`]) and its target is as
//! private. A rotation replaces the link, not its target.

mod encoding;
pub(crate) mod error;
pub(crate) mod identity;
mod names;
pub(crate) mod new;
pub(crate) mod program;
mod read;
pub(crate) mod recovery;
pub(crate) mod role;
mod rotation;
pub(crate) mod service;
pub(crate) mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use error::KeyError;
use identity::{DecryptError, Identity};
use names::{KEYRING, LOCKED_IDENTITY};
use read::{parse_signer, read_identities, read_keyring, read_signer};
use role::Role;
use service::ServiceError;
use source::{Identities, IdentitySource, KeySources, SignerSource};

use crate::files;
use crate::keyring::authority::Owners;
use crate::keyring::proposal::Proposal;
use crate::keyring::{Keyring, KeyringDraft};
use crate::recipients::{Epoch, Recipient, RecipientId};
use crate::sealing;
use crate::sealing::context::{Fields, SealContext, SealError};
use crate::sealing::epoch::EpochKey;
use crate::secret::Secret;
use crate::signing::{KeyId, Signer, Verifier};

/// The keys of a machine.
pub struct Keys {
    directory: PathBuf,
    sources: KeySources,
    identities: Identities,
    owner: SigningKey,
    signer: SigningKey,
    /// The keyring that this machine trusts.
    keyring: Arc<Keyring>,
}

/// A signing key of a machine, and the one that a rotation puts in its place.
#[derive(Default)]
struct SigningKey {
    present: Option<Signer>,
    next: Option<Signer>,
}

impl SigningKey {
    fn read(directory: &Path, role: Role, source: &SignerSource) -> Result<Self, KeyError> {
        let only = |present| SigningKey {
            present: Some(present),
            next: None,
        };
        match source {
            SignerSource::Directory => Ok(SigningKey {
                // In this order: the next key may become the present one concurrently.
                next: read_signer(&directory.join(role.next_file()))?,
                present: read_signer(&directory.join(role.file()))?,
            }),
            SignerSource::Given(pem) => {
                let given = format!("the given {}", role.name());
                parse_signer(pem, Path::new(&given)).map(only)
            }
            SignerSource::Service(signer) => Ok(only(Signer::clone(signer))),
        }
    }

    fn both(&self) -> impl Iterator<Item = &Signer> {
        [&self.present, &self.next].into_iter().flatten()
    }
}

impl Keys {
    /// Reads the keys in `directory`. The keyring is required; the private keys are optional.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is not a key, or is accessible to other users.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        Self::open_with(directory, KeySources::default())
    }

    /// Reads the keys in `directory`, and those that come from elsewhere.
    ///
    /// # Errors
    ///
    /// The same as [`Keys::open`].
    pub fn open_with(directory: &Path, sources: impl Into<KeySources>) -> Result<Self, KeyError> {
        files::path_check::check_private(directory)?;
        let sources = sources.into();
        Ok(Keys {
            identities: read_identities(directory, &sources.identity)?,
            owner: SigningKey::read(directory, Role::Owner, &sources.owner)?,
            signer: SigningKey::read(directory, Role::Signer, &sources.signer)?,
            sources,
            keyring: read_keyring(&directory.join(KEYRING))?,
            directory: directory.to_owned(),
        })
    }

    /// Reads the files again. An unlocked identity stays unlocked.
    pub(crate) fn reload(&self) -> Result<Self, KeyError> {
        let mut keys = Self::open_with(&self.directory, self.sources.clone())?;
        if let (Identities::Locked(_), Identities::Open(open)) =
            (&keys.identities, &self.identities)
        {
            let text = identity::to_text(open);
            keys.identities = identity::parse(&text).map_or(Identities::Absent, Identities::Open);
        }
        Ok(keys)
    }

    /// The ids of the recipients of identities in the format of the age tools, such as a recovery
    /// key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`].
    pub fn ids_of(identities: &Secret) -> Result<Vec<RecipientId>, KeyError> {
        let source = IdentitySource::Given(identities.clone());
        match read_identities(Path::new(""), &source)? {
            Identities::Open(open) => Ok(open.into_iter().map(|identity| identity.id).collect()),
            Identities::Elsewhere(identity) => Ok(vec![identity.id]),
            Identities::Absent | Identities::Locked(_) => Ok(Vec::new()),
        }
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
            Identities::Open(_) | Identities::Elsewhere(_) => return Ok(()),
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

    /// Seals `fields` to the key of an epoch, for one context. Needs no key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRecipient`], [`SealError::TooLarge`].
    pub fn seal(
        epoch: &Epoch,
        context: &SealContext,
        fields: &Fields,
    ) -> Result<Vec<u8>, SealError> {
        sealing::seal(epoch, context, fields)
    }

    /// Opens the file with the key of an epoch.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no unlocked identity. The inner error is the [`SealError`].
    pub fn open_epoch(
        &self,
        sealed: &[u8],
        epoch: &Epoch,
    ) -> Result<Result<EpochKey, SealError>, KeyError> {
        if let Identities::Elsewhere(identity) = &self.identities {
            if !epoch.sealed_to.contains(&identity.id) {
                return Ok(Err(SealError::NotForThisIdentity));
            }
            let opened = identity.service.open(sealed)?;
            // The file matches its digest, so the service is at fault.
            let key = EpochKey::parse(&opened, epoch).map_err(|_| ServiceError {
                service: "the program that has the identity".to_owned(),
                reason: "what it wrote is not the key of the epoch; it must write what the age \
                         file contains, as age --decrypt does"
                    .to_owned(),
            })?;
            return Ok(Ok(key));
        }
        let identities = self.open_identities()?;
        let keys = identities
            .iter()
            .map(|identity| &identity.key as &dyn age::Identity);
        Ok(EpochKey::open(keys, sealed, epoch))
    }

    fn open_identities(&self) -> Result<&[Identity], KeyError> {
        match &self.identities {
            Identities::Open(identities) => Ok(identities),
            Identities::Locked(_) => Err(KeyError::Locked),
            Identities::Absent => Err(KeyError::NoIdentity),
            Identities::Elsewhere(_) => Err(KeyError::ForeignIdentity),
        }
    }

    /// Fails if the key in `role` was not read from the key directory, so that it cannot be rotated
    /// here.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignKey`].
    pub fn check_key_is_local(&self, role: Role) -> Result<(), KeyError> {
        let source = match role {
            Role::Owner => &self.sources.owner,
            Role::Signer => &self.sources.signer,
        };
        match source {
            SignerSource::Directory => Ok(()),
            SignerSource::Given(_) | SignerSource::Service(_) => {
                Err(KeyError::ForeignKey(role.name()))
            }
        }
    }

    /// Fails if the identity was not read from the key directory, so that it cannot be rotated
    /// here.
    ///
    /// # Errors
    ///
    /// [`KeyError::ForeignIdentity`].
    pub fn check_identity_is_local(&self) -> Result<(), KeyError> {
        match self.sources.identity {
            IdentitySource::Directory => Ok(()),
            IdentitySource::Given(_) | IdentitySource::Service(_) => Err(KeyError::ForeignIdentity),
        }
    }

    /// Whether there is an unlocked identity.
    pub fn can_unseal(&self) -> bool {
        matches!(
            self.identities,
            Identities::Open(_) | Identities::Elsewhere(_)
        )
    }

    /// The ids of the recipients of the unlocked identities, the newest first.
    pub fn identity_ids(&self) -> impl Iterator<Item = &str> {
        let elsewhere = match &self.identities {
            Identities::Elsewhere(identity) => Some(identity.id.as_str()),
            _ => None,
        };
        let open = self.open_identities().unwrap_or_default();
        let open = open.iter().map(|identity| identity.id.as_str());
        open.chain(elsewhere)
    }

    /// The recipients of the unlocked identities, the newest first.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoIdentity`], [`KeyError::Locked`].
    pub fn own_recipients(&self, label: &str, now_ms: u64) -> Result<Vec<Recipient>, KeyError> {
        let keys: Vec<String> = match &self.identities {
            Identities::Elsewhere(identity) => vec![identity.recipient.clone()],
            _ => self
                .open_identities()?
                .iter()
                .map(Identity::recipient)
                .collect(),
        };
        let recipient = |key| Recipient {
            key,
            label: label.to_owned(),
            added_at_ms: now_ms,
        };
        Ok(keys.into_iter().map(recipient).collect())
    }

    fn signing_key(&self, role: Role) -> &SigningKey {
        match role {
            Role::Owner => &self.owner,
            Role::Signer => &self.signer,
        }
    }

    fn signing_key_mut(&mut self, role: Role) -> &mut SigningKey {
        match role {
            Role::Owner => &mut self.owner,
            Role::Signer => &mut self.signer,
        }
    }

    /// The fingerprint of this machine's key in `role`.
    pub fn id_of(&self, role: Role) -> Option<KeyId> {
        self.signing_key(role).present.as_ref().map(Signer::id)
    }

    /// The signing key that may change the store under `keyring`.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`], [`KeyError::OldSigner`].
    pub(crate) fn signer_for(&self, keyring: &Keyring) -> Result<&Signer, KeyError> {
        self.check_can_write()?;
        self.signer
            .both()
            .find(|signer| keyring.has_signer(signer.id()))
            .ok_or(KeyError::OldSigner)
    }

    /// Signs bytes that other programs verify: a pre-authentication encoding with a type of its
    /// own, so that the signature is valid for no statement of the store. Returns the public key
    /// as well.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`], [`KeyError::OldSigner`]; [`KeyError::Service`].
    pub fn sign_for_others(
        &self,
        keyring: &Keyring,
        bytes: &[u8],
    ) -> Result<(Verifier, [u8; 64]), KeyError> {
        let signer = self.signer_for(keyring)?;
        Ok((signer.verifier(), signer.sign(bytes)?))
    }

    /// Signs `draft`, the keyring after `before`, with the owner keys of this machine, if it has
    /// any. More signatures may be required.
    ///
    /// # Errors
    ///
    /// [`KeyError::OldOwner`].
    pub(crate) fn sign_keyring(
        &self,
        before: &Keyring,
        draft: &KeyringDraft,
        at_ms: u64,
    ) -> Result<Keyring, KeyError> {
        let after = &draft.authority.owners;
        let owners = self.owner.both();
        let own: Vec<&Signer> = owners
            .filter(|owner| before.has_owner(owner.id()) || after.has(owner.id()))
            .collect();
        if own.is_empty() && self.check_owns().is_ok() {
            return Err(KeyError::OldOwner);
        }
        draft.sign(at_ms, own)
    }

    /// Whether owners must sign `draft`, the keyring after `before`, whose keys this machine does not
    /// have. With `takes_over`, those of `before` need not.
    pub(crate) fn needs_other_owners(
        &self,
        before: &Keyring,
        draft: &KeyringDraft,
        takes_over: bool,
    ) -> bool {
        let own: Vec<KeyId> = self.owner.both().map(Signer::id).collect();
        let is_enough = |owners: &Owners| owners.count(&own) >= owners.threshold;
        let before = &before.authority().owners;
        !(is_enough(&draft.authority.owners) && (takes_over || is_enough(before)))
    }

    /// Adds the signatures of this machine's owner keys to a proposal. Check it first.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoOwner`], [`KeyError::OldOwner`], [`KeyError::Service`].
    pub fn sign_proposal(&self, proposal: &mut Proposal) -> Result<(), KeyError> {
        self.check_owns()?;
        let mut is_owner = false;
        for owner in self.owner.both() {
            if proposal.is_owner(owner.id()) {
                proposal.add_signature(owner)?;
                is_owner = true;
            }
        }
        is_owner.then_some(()).ok_or(KeyError::OldOwner)
    }

    /// How many of `owners` must sign besides those whose keys this machine has.
    ///
    /// # Errors
    ///
    /// [`KeyError::OldOwner`] if this machine has an owner key that does not own the store.
    pub fn missing_owners(&self, owners: &Owners) -> Result<usize, KeyError> {
        let own: Vec<KeyId> = self.owner.both().map(Signer::id).collect();
        let found = owners.count(&own);
        if found == 0 && !own.is_empty() {
            return Err(KeyError::OldOwner);
        }
        Ok(owners.threshold.saturating_sub(found))
    }

    /// Fails unless keys of this machine can be replaced: there is a signer, and the directory can
    /// be written.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`], [`KeyError::NotWritable`].
    pub fn check_can_rotate(&self) -> Result<(), KeyError> {
        self.check_can_write()?;
        self.check_writable()
    }

    /// Fails if the signer of this machine may change only some scopes, and so no keyring.
    ///
    /// # Errors
    ///
    /// [`KeyError::OutsideDelegation`].
    pub fn check_not_limited(&self, keyring: &Keyring) -> Result<(), KeyError> {
        let own: Vec<KeyId> = self.signer.both().map(Signer::id).collect();
        match keyring.scopes_of(&own) {
            Some(scopes) if !scopes.is_empty() => Err(KeyError::OutsideDelegation {
                scopes,
                what: "the keyring".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Fails unless the directory can be written.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotWritable`].
    pub fn check_writable(&self) -> Result<(), KeyError> {
        use rustix::fs::Access;
        rustix::fs::access(&self.directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            KeyError::NotWritable {
                directory: self.directory.clone(),
                error: error.into(),
            }
        })
    }

    /// Fails unless this machine has a signer that may change the store under `keyring`.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`], [`KeyError::OldSigner`].
    pub fn check_may_write(&self, keyring: &Keyring) -> Result<(), KeyError> {
        self.signer_for(keyring).map(drop)
    }

    /// Fails if this machine has no signer.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoSigner`].
    pub fn check_can_write(&self) -> Result<(), KeyError> {
        self.check_has(Role::Signer)
    }

    /// Fails if this machine has no owner key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoOwner`].
    pub fn check_owns(&self) -> Result<(), KeyError> {
        self.check_has(Role::Owner)
    }

    fn check_has(&self, role: Role) -> Result<(), KeyError> {
        match self.signing_key(role).both().next() {
            Some(_) => Ok(()),
            None => Err(role.missing()),
        }
    }

    /// The keyring that this machine trusts.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
