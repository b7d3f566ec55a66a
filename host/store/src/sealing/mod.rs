//! Sealed secrets: a frame that names the place it belongs to, inside one age file.
//!
//! age authenticates the bytes of a file, but neither its author nor its place: anyone
//! who knows a recipient can create a valid file, and any file can be moved. So the
//! context that binds a secret to its place is part of the plaintext and is compared
//! on opening. The author is authenticated by the signed document that names the blob.
//!
//! A secret is sealed to the key of an epoch of its organization ([`epoch`]), and that key to the
//! recipients. Both are readable with any age tool:
//!
//! ```text
//! age -d -i identity.txt epoch.age > epoch.txt
//! age -d -i epoch.txt secret.age
//!
//! entail-secret/1                                     the format
//! {"store":"…",...,"fields":[["api_key",51]]}         the context, and the length of each field
//! <the bytes of the fields, concatenated>
//! <zeros up to a multiple of 4,096 bytes>
//! ```
//!
//! # Security
//!
//! The padding hides the length of the secret, and so the provider. A frame larger
//! than `MAX_FRAME_BYTES` is refused. The opened frame is one block of locked memory,
//! which its fields share.

pub(crate) mod age_file;
#[cfg(test)]
mod age_vectors;
pub(crate) mod context;
pub(crate) mod direct;
pub(crate) mod epoch;
pub(crate) mod frame;

use context::{Fields, SealContext, SealError};

use crate::recipients::Epoch;

/// Seals `fields` to the key of an epoch, for one context.
///
/// # Errors
///
/// [`SealError::NoRecipient`], [`SealError::TooLarge`].
pub(crate) fn seal(
    epoch: &Epoch,
    context: &SealContext,
    fields: &Fields,
) -> Result<Vec<u8>, SealError> {
    let frame = frame::encode(context, fields)?;
    age_file::encrypt(std::iter::once(&*epoch.key), &frame)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::age_file::decrypt;
    use super::context::{MAX_FRAME_BYTES, MAX_SECRET_FILE_BYTES};
    use super::epoch::{EpochKey, MAX_EPOCH_FILE_BYTES};
    use super::frame::PADDED_TO;
    use super::*;
    use crate::digest::Digest;
    use crate::recipients::{Readers, Recipient};
    use crate::secret::Secret;

    fn context() -> SealContext {
        SealContext {
            store: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            scope: "acme".to_owned(),
            credential: "c1".to_owned(),
            version: 1,
            provider: "openai".to_owned(),
            mode: "api-key".to_owned(),
            hosts: vec!["api.openai.com".to_owned()],
            destination: Digest::of(br#"{"base_url":null}"#),
            epoch: 1,
            fields: vec!["api_key".to_owned(), "other".to_owned()],
        }
    }

    /// An identity, and the first epoch of an organization that it reads.
    struct Reader {
        identity: age::x25519::Identity,
        readers: Readers,
        file: Vec<u8>,
    }

    fn recipient_of(identity: &age::x25519::Identity) -> Recipient {
        Recipient::new(&identity.to_public().to_string(), "test", 0).unwrap()
    }

    impl Reader {
        fn new() -> Self {
            let identity = age::x25519::Identity::generate();
            let first = Readers::first("acme", vec![recipient_of(&identity)]).unwrap();
            Reader {
                identity,
                readers: first.readers,
                file: first.add_blobs[0].clone(),
            }
        }

        fn epoch(&self) -> &Epoch {
            self.readers.newest().unwrap()
        }

        fn open(&self, epoch: &Epoch, file: &[u8]) -> Result<EpochKey, SealError> {
            EpochKey::open([&self.identity as &dyn age::Identity], file, epoch)
        }

        fn key(&self) -> EpochKey {
            self.open(self.epoch(), &self.file).unwrap()
        }
    }

    fn fields() -> Fields {
        vec![
            ("api_key".to_owned(), Secret::from("canary-sealing-1")),
            ("other".to_owned(), Secret::from("line\n\"quoted\"\\")),
        ]
    }

    #[test]
    fn a_sealed_secret_opens_in_its_context() {
        let reader = Reader::new();
        let sealed = seal(reader.epoch(), &context(), &fields()).unwrap();
        let opened = reader.key().unseal(&sealed, &context()).unwrap();
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

    type Edit = fn(&mut SealContext);

    #[test]
    fn a_sealed_secret_opens_in_no_other_context() {
        let reader = Reader::new();
        let sealed = seal(reader.epoch(), &context(), &fields()).unwrap();
        let edits: [(&str, Edit); 10] = [
            ("store", |context| {
                context.store = "f".repeat(32).parse().unwrap();
            }),
            ("scope", |context| context.scope.push_str("/evals")),
            ("credential", |context| context.credential.push('2')),
            ("version", |context| context.version = 2),
            ("provider", |context| context.provider.push('2')),
            ("mode", |context| context.mode.push('2')),
            ("list of hosts", |context| {
                context.hosts.push("example.com".to_owned());
            }),
            ("destination", |context| {
                context.destination = Digest::of(b"{}");
            }),
            ("key epoch", |context| context.epoch = 2),
            ("list of fields", |context| context.fields.truncate(1)),
        ];
        for (what, edit) in edits {
            let mut other = context();
            edit(&mut other);
            match reader.key().unseal(&sealed, &other) {
                Err(SealError::Misplaced(named)) => assert_eq!(named, what),
                _ => panic!("opened with another {what}"),
            }
        }
    }

    #[test]
    fn another_identity_cannot_open_it() {
        let (reader, other) = (Reader::new(), Reader::new());
        let sealed = seal(reader.epoch(), &context(), &fields()).unwrap();
        assert!(matches!(
            other.key().unseal(&sealed, &context()),
            Err(SealError::NotForThisIdentity)
        ));
        assert!(matches!(
            other.open(reader.epoch(), &reader.file),
            Err(SealError::NotForThisIdentity)
        ));
        // A file with another key than that of the epoch.
        assert!(matches!(
            other.open(reader.epoch(), &other.file),
            Err(SealError::Damaged)
        ));
    }

    #[test]
    fn flipped_bits_and_cut_files_are_refused() {
        let reader = Reader::new();
        let key = reader.key();
        let sealed = seal(reader.epoch(), &context(), &fields()).unwrap();
        for at in (0..sealed.len()).step_by(37) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            let opened = key.unseal(&damaged, &context());
            assert!(opened.is_err(), "bit flipped at {at}");
            let opened = key.unseal(&sealed[..at], &context());
            assert!(opened.is_err(), "cut at {at}");
        }
        for at in 0..reader.file.len() {
            let mut damaged = reader.file.clone();
            damaged[at] ^= 1;
            let opened = reader.open(reader.epoch(), &damaged);
            assert!(opened.is_err(), "bit flipped at {at}");
        }
    }

    #[test]
    fn a_new_recipient_opens_what_was_sealed_before() {
        let reader = Reader::new();
        let sealed = seal(reader.epoch(), &context(), &fields()).unwrap();
        let joining = age::x25519::Identity::generate();
        let mut readers = reader.readers.clone();
        readers.recipients.push(recipient_of(&joining));
        assert!(!readers.is_current());
        let key = Arc::new(reader.key());
        let renewed = readers.renewed(|_| Some(Arc::clone(&key))).unwrap();
        assert!(renewed.readers.is_current());
        assert_eq!(renewed.readers.epochs.len(), 1);
        let epoch = renewed.readers.newest().unwrap();
        let joined = [&joining as &dyn age::Identity];
        let key = EpochKey::open(joined, &renewed.add_blobs[0], epoch).unwrap();
        assert!(key.unseal(&sealed, &context()).is_ok());
    }

    #[test]
    fn a_removed_recipient_opens_nothing_that_is_sealed_from_then_on() {
        let reader = Reader::new();
        let leaving = age::x25519::Identity::generate();
        let mut readers = reader.readers.clone();
        readers.recipients.push(recipient_of(&leaving));
        let key = Arc::new(reader.key());
        let both = readers.renewed(|_| Some(Arc::clone(&key))).unwrap().readers;
        for can_open in [true, false] {
            let mut readers = both.clone();
            readers.recipients.pop();
            let renewed = readers
                .renewed(|_| can_open.then(|| Arc::clone(&key)))
                .unwrap();
            let readers = renewed.readers;
            assert_eq!(readers.epochs.len(), 2);
            // Without the old key, its file still needs to be sealed again.
            assert_eq!(readers.is_current(), can_open);
            let newest = readers.newest().unwrap();
            let file = renewed.add_blobs.last().unwrap();
            let left = [&leaving as &dyn age::Identity];
            assert!(matches!(
                EpochKey::open(left, file, newest),
                Err(SealError::NotForThisIdentity)
            ));
            let new_key = reader.open(newest, file).unwrap();
            let context = SealContext {
                epoch: newest.number,
                ..context()
            };
            let sealed = seal(newest, &context, &fields()).unwrap();
            assert!(new_key.unseal(&sealed, &context).is_ok());
            assert!(key.unseal(&sealed, &context).is_err());
        }
    }

    #[test]
    fn the_largest_secret_and_the_largest_list_open() {
        let reader = Reader::new();
        let context = SealContext {
            fields: vec!["api_key".to_owned()],
            ..context()
        };
        let of = |length: usize| vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
        let fits = |length: &usize| frame::encode(&context, &of(*length)).is_ok();
        let largest = (MAX_FRAME_BYTES - PADDED_TO..MAX_FRAME_BYTES)
            .rev()
            .find(fits)
            .unwrap();
        let whole = frame::encode(&context, &of(largest)).unwrap();
        assert_eq!(whole.len(), MAX_FRAME_BYTES);
        let sealed = seal(reader.epoch(), &context, &of(largest)).unwrap();
        let opened = reader.key().unseal(&sealed, &context).unwrap();
        assert_eq!(opened[0].1.len(), largest);
        let mut readers = reader.readers.clone();
        for _ in 1..64 {
            let other = age::x25519::Identity::generate();
            readers.recipients.push(recipient_of(&other));
        }
        let key = Arc::new(reader.key());
        let renewed = readers.renewed(|_| Some(Arc::clone(&key))).unwrap();
        let epoch = renewed.readers.newest().unwrap();
        assert!(reader.open(epoch, &renewed.add_blobs[0]).is_ok());
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
        for limit in [MAX_SECRET_FILE_BYTES, MAX_EPOCH_FILE_BYTES] {
            let added = encrypted(limit).len() - limit;
            let identity = age::scrypt::Identity::new(passphrase.clone());
            let opens =
                |file: &[u8]| decrypt([&identity as &dyn age::Identity], file, limit).is_ok();
            let largest = encrypted(limit - added);
            assert!(largest.len() <= limit);
            assert!(opens(&largest));
            assert!(!opens(&encrypted(limit)));
        }
    }

    #[test]
    fn the_size_does_not_reveal_the_length() {
        let reader = Reader::new();
        let frame_of = |length: usize| {
            let fields = vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
            frame::encode(&context(), &fields).unwrap().expose().len()
        };
        assert_eq!(frame_of(10), frame_of(2_400));
        let too_large = vec![("api_key".to_owned(), Secret::new(&[b'x'; 70_000]))];
        assert!(matches!(
            seal(reader.epoch(), &context(), &too_large),
            Err(SealError::TooLarge(70_000))
        ));
    }
}
