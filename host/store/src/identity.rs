//! The identities of a node: the age keys that open secrets.
//!
//! There is one, but for the time in which it is being renewed: then the new one
//! comes first, and the old one stays until nothing is sealed to it any more.

use std::io::Write as _;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::x25519;

use crate::recipients::{RecipientId, id_of};
use crate::secret::Secret;

/// scrypt's work for a new passphrase, as a power of two: about a second.
const WORK_FACTOR: u8 = 18;

/// The most work that opening may take, as a power of two: about 15 seconds.
/// Without a bound, a planted file could keep a process busy for hours.
const MAX_WORK_FACTOR: u8 = 22;

/// The most identities in one file; nobody renews faster than secrets are sealed
/// again.
const MAX_IDENTITIES: usize = 8;

/// No file of identities is larger; nothing more is read.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// An age key that opens secrets.
pub(crate) struct Identity {
    pub(crate) key: x25519::Identity,
    /// Names the recipient that it belongs to; to work it out takes a while.
    pub(crate) id: RecipientId,
}

impl Identity {
    pub(crate) fn generate() -> Self {
        Self::from(x25519::Identity::generate())
    }

    /// The recipient that it belongs to.
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

/// Identities in the form of the age tools.
pub(crate) fn to_text<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> Secret {
    let mut text = zeroize::Zeroizing::new(String::new());
    for identity in identities {
        text.push_str("# public key: ");
        text.push_str(&identity.recipient());
        text.push('\n');
        text.push_str(identity.key.to_string().expose_secret());
        text.push('\n');
    }
    Secret::from(text.as_str())
}

/// Reads identities in the form of the age tools: at least one.
pub(crate) fn parse(text: &Secret) -> Option<Vec<Identity>> {
    // Some editors put a byte order mark before what they save.
    let text = text.expose_text()?.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Vec<Identity> = keys
        .take(MAX_IDENTITIES)
        .map(|key| Some(Identity::from(key.parse::<x25519::Identity>().ok()?)))
        .collect::<Option<_>>()?;
    (!identities.is_empty()).then_some(identities)
}

/// Puts a text under a passphrase.
pub(crate) fn lock(text: &Secret, passphrase: &Secret) -> std::io::Result<Vec<u8>> {
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

/// Why what is under a passphrase does not open.
#[derive(Debug, PartialEq)]
pub(crate) enum NotUnlocked {
    WrongPassphrase,
    Malformed,
}

/// Opens what is under a passphrase. The work that it may demand is bounded.
pub(crate) fn unlock(locked: &[u8], passphrase: &Secret) -> Result<Secret, NotUnlocked> {
    let passphrase = secret_string(passphrase).ok_or(NotUnlocked::WrongPassphrase)?;
    let mut scrypt = age::scrypt::Identity::new(passphrase);
    scrypt.set_max_work_factor(MAX_WORK_FACTOR);
    let decryptor = age::Decryptor::new_buffered(locked).map_err(|_| NotUnlocked::Malformed)?;
    let mut plain = decryptor
        .decrypt(std::iter::once(&scrypt as &dyn age::Identity))
        .map_err(|error| match error {
            age::DecryptError::DecryptionFailed
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::NoMatchingKeys => NotUnlocked::WrongPassphrase,
            _ => NotUnlocked::Malformed,
        })?;
    Secret::read(&mut plain, MAX_BYTES)
        .ok()
        .flatten()
        .ok_or(NotUnlocked::Malformed)
}

fn secret_string(secret: &Secret) -> Option<SecretString> {
    secret.expose_text().map(SecretString::from)
}
