//! Secrets that are sealed to recipients themselves, without the key of an epoch: for machines
//! that have no store.

use super::age_file::{decrypt, encrypt};
use super::context::{Fields, MAX_SECRET_FILE_BYTES, SealContext, SealError};
use super::frame;
use crate::keys::error::KeyError;
use crate::keys::identity::{self, Identity};
use crate::secret::Secret;

/// Seals `fields` to age recipients, for one context.
///
/// # Errors
///
/// [`SealError::NoRecipient`] also if one is malformed; [`SealError::TooLarge`].
pub fn seal_to(
    recipients: &[String],
    context: &SealContext,
    fields: &Fields,
) -> Result<Vec<u8>, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    let frame = frame::encode(context, fields)?;
    encrypt(recipients.iter().map(String::as_str), &frame)
}

/// Opens a secret that is sealed to one of `identities`, in the format of the age tools, if it was
/// sealed for the context `expected`.
///
/// # Errors
///
/// [`KeyError::NoIdentity`] if the identities are malformed. The inner error is the
/// [`SealError`].
pub fn open_sealed(
    identities: &Secret,
    sealed: &[u8],
    expected: &SealContext,
) -> Result<Result<Fields, SealError>, KeyError> {
    let identities = parse(identities)?;
    let keys = identities.iter();
    let keys = keys.map(|identity| &identity.key as &dyn age::Identity);
    let opened = decrypt(keys, sealed, MAX_SECRET_FILE_BYTES + HEADER_BYTES);
    Ok(opened.and_then(|frame| frame::decode(&frame, expected)))
}

/// What the header of an age file with the most recipients adds to one with a single one.
const HEADER_BYTES: usize = 16 * 1024;

/// The age recipients of identities, in the format of the age tools.
///
/// # Errors
///
/// [`KeyError::NoIdentity`] if they are malformed.
pub fn recipients_of(identities: &Secret) -> Result<Vec<String>, KeyError> {
    Ok(parse(identities)?.iter().map(Identity::recipient).collect())
}

fn parse(identities: &Secret) -> Result<Vec<Identity>, KeyError> {
    identity::parse(identities).ok_or(KeyError::NoIdentity)
}
