//! Encrypts and decrypts age files in memory.

use std::io::Write as _;

use super::context::SealError;
use crate::secret::{Secret, read_all};

/// The size of an age header with a few dozen recipients.
const USUAL_HEADER_BYTES: usize = 16 * 1024;

/// Encrypts `text` to age recipients.
pub(super) fn encrypt<'a>(
    recipients: impl Iterator<Item = &'a str>,
    text: &Secret,
) -> Result<Vec<u8>, SealError> {
    let keys: Vec<age::x25519::Recipient> = recipients
        .map(|key| key.parse().map_err(|_| SealError::NoRecipient))
        .collect::<Result<_, _>>()?;
    let keys = keys.iter().map(|key| key as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(keys).map_err(|_| SealError::NoRecipient)?;
    let mut sealed = Vec::with_capacity(text.len() + USUAL_HEADER_BYTES);
    // Writing to memory does not fail.
    let write = |sealed: &mut Vec<u8>| -> std::io::Result<()> {
        let mut writer = encryptor.wrap_output(sealed)?;
        writer.write_all(text.expose())?;
        writer.finish().map(drop)
    };
    write(&mut sealed).map_err(|_| SealError::Damaged)?;
    Ok(sealed)
}

/// Decrypts an age file of at most `limit` bytes.
pub(crate) fn decrypt<'a>(
    identities: impl IntoIterator<Item = &'a dyn age::Identity>,
    sealed: &[u8],
    limit: usize,
) -> Result<Secret, SealError> {
    if sealed.len() > limit {
        return Err(SealError::Damaged);
    }
    let decryptor = age::Decryptor::new_buffered(sealed).map_err(|_| SealError::Damaged)?;
    let mut plain = decryptor
        .decrypt(identities.into_iter())
        .map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => SealError::NotForThisIdentity,
            _ => SealError::Damaged,
        })?;
    // The plaintext is never longer than the file, so the buffer never grows.
    Secret::filled(sealed.len(), |memory| read_all(&mut plain, memory))
        .map_err(|_| SealError::Damaged)
}
