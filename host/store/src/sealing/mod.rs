//! Sealed secrets: a frame that names the place it belongs to, inside one age file.
//!
//! age authenticates the bytes of a file, but neither its author nor its place: anyone
//! who knows a recipient can create a valid file, and any file can be moved. So the
//! context that binds a secret to its place is part of the plaintext and is compared
//! on opening. The author is authenticated by the signed document that names the blob.
//!
//! A frame is readable with any age tool (`age -d -i identity.txt`):
//!
//! ```text
//! entail-secret/1                                     the format
//! {"scope":"acme",...,"fields":[["api_key",51]]}      the context, and the length of each field
//! <the bytes of the fields, concatenated>
//! <zeros up to a multiple of 4,096 bytes>
//! ```
//!
//! # Security
//!
//! The padding hides the length of the secret, and so the provider. A frame larger
//! than `MAX_FRAME_BYTES` is refused. The opened frame is one block of locked memory,
//! which its fields share.

#[cfg(test)]
mod age_vectors;
pub(crate) mod context;
pub(crate) mod frame;

use std::io::Write as _;

use context::MAX_FRAME_BYTES;
use context::{Fields, SealContext, SealError};

use crate::recipients::Recipients;
use crate::secret::{Secret, read_all};

/// The maximum size of an age header with a few dozen recipients, and the overhead of
/// the encryption.
const MAX_AGE_OVERHEAD_BYTES: usize = 16 * 1024;

/// Seals `fields` to all `recipients`, for one context.
///
/// # Errors
///
/// [`SealError::NoRecipient`], [`SealError::TooLarge`].
pub(crate) fn seal(
    recipients: &Recipients,
    context: &SealContext,
    fields: &Fields,
) -> Result<Vec<u8>, SealError> {
    let frame = frame::encode(context, fields)?;
    let keys: Vec<age::x25519::Recipient> = recipients
        .recipients
        .iter()
        .map(|recipient| recipient.key.parse().map_err(|_| SealError::NoRecipient))
        .collect::<Result<_, _>>()?;
    let keys = keys.iter().map(|key| key as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(keys).map_err(|_| SealError::NoRecipient)?;
    let mut sealed = Vec::with_capacity(frame.len() + MAX_AGE_OVERHEAD_BYTES);
    // Writing to memory does not fail.
    let write = |sealed: &mut Vec<u8>| -> std::io::Result<()> {
        let mut writer = encryptor.wrap_output(sealed)?;
        writer.write_all(frame.expose())?;
        writer.finish().map(drop)
    };
    write(&mut sealed).map_err(|_| SealError::Damaged)?;
    Ok(sealed)
}

/// Opens a sealed secret, if it was sealed for the context `expected`.
///
/// # Errors
///
/// [`SealError::Damaged`], [`SealError::NotForThisIdentity`],
/// [`SealError::Misplaced`].
pub(crate) fn unseal<'a>(
    identities: impl IntoIterator<Item = &'a dyn age::Identity>,
    sealed: &[u8],
    expected: &SealContext,
) -> Result<Fields, SealError> {
    frame::decode(&decrypt(identities, sealed)?, expected)
}

/// Decrypts an age file that is no larger than a sealed secret can be.
pub(crate) fn decrypt<'a>(
    identities: impl IntoIterator<Item = &'a dyn age::Identity>,
    sealed: &[u8],
) -> Result<Secret, SealError> {
    if sealed.len() > MAX_FRAME_BYTES + MAX_AGE_OVERHEAD_BYTES {
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

#[cfg(test)]
mod tests {
    use super::frame::PADDED_TO;
    use super::*;
    use crate::recipients::Recipient;

    fn context() -> SealContext {
        SealContext {
            scope: "acme".to_owned(),
            credential: "c1".to_owned(),
            version: 1,
            provider: "openai".to_owned(),
            hosts: vec!["api.openai.com".to_owned()],
            epoch: 1,
        }
    }

    fn key() -> (age::x25519::Identity, Recipients) {
        let identity = age::x25519::Identity::generate();
        let recipient = Recipient::new(&identity.to_public().to_string(), "test", 0).unwrap();
        (identity, Recipients::first(vec![recipient]))
    }

    fn unseal(
        identity: &age::x25519::Identity,
        sealed: &[u8],
        expected: &SealContext,
    ) -> Result<Fields, SealError> {
        let identity = identity as &dyn age::Identity;
        super::unseal(std::iter::once(identity), sealed, expected)
    }

    fn fields() -> Fields {
        vec![
            ("api_key".to_owned(), Secret::from("canary-sealing-1")),
            ("other".to_owned(), Secret::from("line\n\"quoted\"\\")),
        ]
    }

    #[test]
    fn a_sealed_secret_opens_in_its_context() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &context(), &fields()).unwrap();
        let opened = unseal(&identity, &sealed, &context()).unwrap();
        let texts: Vec<_> = opened
            .iter()
            .map(|(n, v)| (n.as_str(), v.expose_text().unwrap()))
            .collect();
        assert_eq!(
            texts,
            [
                ("api_key", "canary-sealing-1"),
                ("other", "line\n\"quoted\"\\")
            ]
        );
    }

    #[test]
    fn a_sealed_secret_opens_in_no_other_context() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &context(), &fields()).unwrap();
        let other_contexts = [
            (
                "scope",
                SealContext {
                    scope: "acme/evals".to_owned(),
                    ..context()
                },
            ),
            (
                "credential",
                SealContext {
                    credential: "c2".to_owned(),
                    ..context()
                },
            ),
            (
                "version",
                SealContext {
                    version: 2,
                    ..context()
                },
            ),
            (
                "provider",
                SealContext {
                    provider: "xai".to_owned(),
                    ..context()
                },
            ),
            (
                "list of hosts",
                SealContext {
                    hosts: vec!["example.com".to_owned()],
                    ..context()
                },
            ),
            (
                "key epoch",
                SealContext {
                    epoch: 2,
                    ..context()
                },
            ),
        ];
        for (what, other) in other_contexts {
            match unseal(&identity, &sealed, &other) {
                Err(SealError::Misplaced(named)) => assert_eq!(named, what),
                _ => panic!("opened with another {what}"),
            }
        }
    }

    #[test]
    fn another_identity_cannot_open_it() {
        let (_, recipients) = key();
        let sealed = seal(&recipients, &context(), &fields()).unwrap();
        let (other, _) = key();
        assert!(matches!(
            unseal(&other, &sealed, &context()),
            Err(SealError::NotForThisIdentity)
        ));
    }

    #[test]
    fn flipped_bits_and_cut_files_are_refused() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &context(), &fields()).unwrap();
        for at in (0..sealed.len()).step_by(37) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(
                unseal(&identity, &damaged, &context()).is_err(),
                "bit flipped at {at}"
            );
            assert!(
                unseal(&identity, &sealed[..at], &context()).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn the_largest_secret_opens_with_the_maximum_number_of_recipients() {
        let (identity, mut recipients) = key();
        for _ in 1..64 {
            let (_, others) = key();
            recipients.recipients.extend(others.recipients);
        }
        let of = |length: usize| vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
        let fits = |length: &usize| frame::encode(&context(), &of(*length)).is_ok();
        let largest = (MAX_FRAME_BYTES - PADDED_TO..MAX_FRAME_BYTES)
            .rev()
            .find(fits)
            .unwrap();
        let whole = frame::encode(&context(), &of(largest)).unwrap();
        assert_eq!(whole.len(), MAX_FRAME_BYTES);
        let sealed = seal(&recipients, &context(), &of(largest)).unwrap();
        let opened = unseal(&identity, &sealed, &context()).unwrap();
        assert_eq!(opened[0].1.len(), largest);
    }

    #[test]
    fn a_file_is_opened_up_to_the_maximum_size() {
        let passphrase = age::secrecy::SecretString::from("canary-of-sizes");
        // A passphrase adds the same number of bytes to each file.
        let encrypted = |length: usize| {
            let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
            recipient.set_work_factor(2);
            age::encrypt(&recipient, &vec![b'x'; length]).unwrap()
        };
        let limit = MAX_FRAME_BYTES + MAX_AGE_OVERHEAD_BYTES;
        let added = encrypted(MAX_FRAME_BYTES + 1).len() - (MAX_FRAME_BYTES + 1);
        let identity = age::scrypt::Identity::new(passphrase.clone());
        let opens = |file: &[u8]| decrypt([&identity as &dyn age::Identity], file).is_ok();
        let largest = encrypted(limit - added);
        assert_eq!(largest.len(), limit);
        assert!(opens(&largest));
        assert!(!opens(&encrypted(limit - added + 1)));
    }

    #[test]
    fn the_size_does_not_reveal_the_length() {
        let (_, recipients) = key();
        let frame_of = |length: usize| {
            let fields = vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
            frame::encode(&context(), &fields).unwrap().expose().len()
        };
        assert_eq!(frame_of(10), frame_of(2_400));
        let too_large = vec![("api_key".to_owned(), Secret::new(&[b'x'; 70_000]))];
        assert!(matches!(
            seal(&recipients, &context(), &too_large),
            Err(SealError::TooLarge(70_000))
        ));
    }
}
