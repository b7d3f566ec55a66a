//! The identities of a machine: the age keys that decrypt secrets.
//!
//! Usually there is one. During a rotation there are two: the new one comes first, and the
//! old one stays until no secret is sealed to it.

use std::io::Write as _;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::x25519;
use bech32::Hrp;
use zeroize::Zeroizing;

use super::encoding;
use crate::recipients::{RecipientId, id_of};
use crate::secret::Secret;

/// The scrypt work factor for a new passphrase (log2): about a second.
const WORK_FACTOR: u8 = 18;

/// The maximum scrypt work factor that is accepted (log2): about four seconds, and 1 GiB of
/// memory. Without a limit, a planted file could keep a process busy for hours.
const MAX_WORK_FACTOR: u8 = 20;

/// The maximum number of identities in one file. A rotation needs two.
const MAX_IDENTITIES: usize = 8;

/// The maximum size of an identity file.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// The prefix of the text of an identity.
const PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// An age key that decrypts secrets.
pub(crate) struct Identity {
    pub(crate) key: x25519::Identity,
    /// The id of its recipient. Cached, since deriving it takes a while.
    pub(crate) id: RecipientId,
}

impl Identity {
    pub(crate) fn generate() -> Self {
        Self::from(x25519::Identity::generate())
    }

    /// The bytes of the key; `None` if the age library writes it in another form.
    pub(crate) fn to_bytes(&self) -> Option<Secret> {
        encoding::decode(PREFIX, self.key.to_string().expose_secret())
    }

    /// The identity with these bytes; `None` unless there are 32.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = encoding::encode(PREFIX, bytes);
        let key: x25519::Identity = text.expose_text()?.parse().ok()?;
        Some(Self::from(key))
    }

    /// The recipient of this identity.
    pub(crate) fn recipient(&self) -> String {
        self.key.to_public().to_string()
    }
}

impl From<x25519::Identity> for Identity {
    fn from(key: x25519::Identity) -> Self {
        let id = id_of(&key.to_public().to_string());
        Identity { key, id }
    }
}

/// Encodes identities in the format of the age tools.
pub(crate) fn to_text<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> Secret {
    let mut text = Zeroizing::new(String::new());
    for identity in identities {
        text.push_str("# public key: ");
        text.push_str(&identity.recipient());
        text.push('\n');
        text.push_str(identity.key.to_string().expose_secret());
        text.push('\n');
    }
    Secret::from(text.as_str())
}

/// Parses identities in the format of the age tools. `None` unless there is at least one.
pub(crate) fn parse(text: &Secret) -> Option<Vec<Identity>> {
    // Some editors write a byte order mark.
    let text = text.expose_text()?.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Vec<Identity> = keys
        .take(MAX_IDENTITIES)
        .map(|key| Some(Identity::from(key.parse::<x25519::Identity>().ok()?)))
        .collect::<Option<_>>()?;
    (!identities.is_empty()).then_some(identities)
}

/// Encrypts a text with a passphrase.
pub(crate) fn encrypt(text: &Secret, passphrase: &Secret) -> std::io::Result<Vec<u8>> {
    let passphrase = secret_string(passphrase)
        .ok_or_else(|| std::io::Error::other("the passphrase is not UTF-8"))?;
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK_FACTOR);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(std::io::Error::other)?;
    let mut encrypted = Vec::new();
    let mut writer = encryptor.wrap_output(&mut encrypted)?;
    writer.write_all(text.expose())?;
    writer.finish()?;
    Ok(encrypted)
}

/// Why a text cannot be decrypted.
#[derive(Debug, PartialEq)]
pub(crate) enum DecryptError {
    WrongPassphrase,
    Malformed,
}

/// Decrypts a text with a passphrase. The accepted work factor is limited.
pub(crate) fn decrypt(encrypted: &[u8], passphrase: &Secret) -> Result<Secret, DecryptError> {
    let passphrase = secret_string(passphrase).ok_or(DecryptError::WrongPassphrase)?;
    let mut scrypt = age::scrypt::Identity::new(passphrase);
    scrypt.set_max_work_factor(MAX_WORK_FACTOR);
    let decryptor = age::Decryptor::new_buffered(encrypted).map_err(|_| DecryptError::Malformed)?;
    let mut plain = decryptor
        .decrypt(std::iter::once(&scrypt as &dyn age::Identity))
        .map_err(|error| match error {
            age::DecryptError::DecryptionFailed
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::NoMatchingKeys => DecryptError::WrongPassphrase,
            _ => DecryptError::Malformed,
        })?;
    Secret::read(&mut plain, MAX_BYTES)
        .ok()
        .flatten()
        .ok_or(DecryptError::Malformed)
}

fn secret_string(secret: &Secret) -> Option<SecretString> {
    secret.expose_text().map(SecretString::from)
}
