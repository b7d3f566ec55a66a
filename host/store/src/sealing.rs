//! Sealed secrets: a frame that says where it belongs, inside one age file.
//!
//! age authenticates the bytes of a file but not their author or place: anyone
//! who knows a recipient can make a valid file, and any file can be moved. So
//! what binds a secret to its place is inside, and is compared on opening; who
//! wrote it is settled by the signed document that names the blob.
//!
//! A frame is readable with any age tool (`age -d -i identity.txt`):
//!
//! ```text
//! entail-secret/1                                     the form
//! {"scope":"acme",...,"fields":[["api_key",51]]}      the binding, and each field's length
//! <the fields' bytes, one after the other>
//! <zeros up to a multiple of 4,096 bytes>
//! ```
//!
//! # Security
//!
//! The padding keeps a blob's size from telling which provider it is for. A
//! frame longer than [`MAX_FRAME_BYTES`] is not read. The opened frame lies in
//! one piece of locked memory, which its fields share.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::recipients::Recipients;
use crate::secret::{Secret, read_all};

/// The first line of a frame.
pub(crate) const FORM: &[u8] = b"entail-secret/1\n";

/// One size for nearly every secret: the largest kind, a service account's
/// JSON, has some 2,400 bytes.
const PADDED_TO: usize = 4096;

/// No secret of any provider comes near.
const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Room for the header and stanzas of an age file with a few dozen recipients.
const MAX_AGE_OVERHEAD_BYTES: usize = 16 * 1024;

/// Where a sealed secret belongs. Opening it anywhere else is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The path of the scope that holds it.
    pub scope: String,
    /// The id of the credential.
    pub credential: String,
    /// The version of the credential, from 1.
    pub version: u32,
    /// Whom it is for.
    pub provider: String,
    /// The hosts that it may be sent to, sorted.
    pub hosts: Vec<String>,
    /// Counts the generations of keys that secrets are sealed to.
    pub epoch: u32,
}

/// The secret fields of a credential, by name.
pub type Fields = Vec<(String, Secret)>;

/// What can go wrong with sealing and unsealing. No message contains anything
/// of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is nobody to seal to.
    #[error("there is no recipient to seal to")]
    NoRecipient,
    /// The fields are too large.
    #[error("the secret has {0} bytes, and {MAX_FRAME_BYTES} are allowed")]
    TooLarge(usize),
    /// No age file, or a damaged one.
    #[error("the sealed secret is damaged")]
    Damaged,
    /// It is sealed to other keys.
    #[error("the sealed secret is not for this identity")]
    NotForThisIdentity,
    /// It belongs somewhere else.
    #[error("the sealed secret belongs elsewhere: its {0} differs")]
    Misplaced(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    #[serde(flatten)]
    pub(crate) binding: Binding,
    fields: Vec<(String, usize)>,
}

/// Seals `fields` to every one of `recipients`, bound to its place.
///
/// # Errors
///
/// [`SealError::NoRecipient`], [`SealError::TooLarge`].
pub(crate) fn seal(
    recipients: &Recipients,
    binding: &Binding,
    fields: &Fields,
) -> Result<Vec<u8>, SealError> {
    let frame = frame(binding, fields)?;
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

/// Opens a sealed secret, if it belongs to `expected`.
///
/// # Errors
///
/// [`SealError::Damaged`], [`SealError::NotForThisIdentity`],
/// [`SealError::Misplaced`].
pub(crate) fn unseal<'a>(
    identities: impl IntoIterator<Item = &'a dyn age::Identity>,
    sealed: &[u8],
    expected: &Binding,
) -> Result<Fields, SealError> {
    open_frame(&open(identities, sealed)?, expected)
}

/// Opens an age file that is no larger than a sealed secret can be.
pub(crate) fn open<'a>(
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
    // Never shorter than what is inside, so it never moves.
    Secret::filled(sealed.len(), |memory| read_all(&mut plain, memory))
        .map_err(|_| SealError::Damaged)
}

fn frame(binding: &Binding, fields: &Fields) -> Result<Secret, SealError> {
    let header = Header {
        binding: binding.clone(),
        fields: fields
            .iter()
            .map(|(name, value)| (name.clone(), value.len()))
            .collect(),
    };
    // Strings, numbers and lists always serialize.
    let header = serde_json::to_vec(&header).map_err(|_| SealError::Damaged)?;
    let secret: usize = fields.iter().map(|(_, value)| value.len()).sum();
    let length = (FORM.len() + header.len() + 1 + secret).next_multiple_of(PADDED_TO);
    if length > MAX_FRAME_BYTES {
        return Err(SealError::TooLarge(secret));
    }
    let parts = [FORM, &header, b"\n"]
        .into_iter()
        .chain(fields.iter().map(|(_, value)| value.expose()));
    Secret::filled(length, |memory| {
        let mut rest = memory;
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        Ok(length)
    })
    .map_err(|_| SealError::TooLarge(secret))
}

pub(crate) fn open_frame(opened: &Secret, expected: &Binding) -> Result<Fields, SealError> {
    let frame = opened.expose();
    let rest = frame.strip_prefix(FORM).ok_or(SealError::Damaged)?;
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(SealError::Damaged)?;
    let header = rest.get(..end).ok_or(SealError::Damaged)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| SealError::Damaged)?;
    compare(&header.binding, expected)?;
    let mut start = FORM.len() + end + 1;
    let mut fields = Fields::with_capacity(header.fields.len());
    for (name, length) in header.fields {
        let end = start.checked_add(length).ok_or(SealError::Damaged)?;
        // The fields stay in the one piece of memory that the frame was opened to.
        let value = opened.part(start..end).ok_or(SealError::Damaged)?;
        fields.push((name, value));
        start = end;
    }
    let padding = frame.get(start..).ok_or(SealError::Damaged)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(SealError::Damaged);
    }
    Ok(fields)
}

fn compare(found: &Binding, expected: &Binding) -> Result<(), SealError> {
    let differs = [
        ("scope", found.scope != expected.scope),
        ("credential", found.credential != expected.credential),
        ("version", found.version != expected.version),
        ("provider", found.provider != expected.provider),
        ("list of hosts", found.hosts != expected.hosts),
        ("key epoch", found.epoch != expected.epoch),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(SealError::Misplaced(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipients::Recipient;

    fn binding() -> Binding {
        Binding {
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
        expected: &Binding,
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
    fn what_is_sealed_opens_where_it_belongs() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &binding(), &fields()).unwrap();
        let opened = unseal(&identity, &sealed, &binding()).unwrap();
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
    fn it_opens_nowhere_else() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &binding(), &fields()).unwrap();
        let elsewhere = [
            (
                "scope",
                Binding {
                    scope: "acme/evals".to_owned(),
                    ..binding()
                },
            ),
            (
                "credential",
                Binding {
                    credential: "c2".to_owned(),
                    ..binding()
                },
            ),
            (
                "version",
                Binding {
                    version: 2,
                    ..binding()
                },
            ),
            (
                "provider",
                Binding {
                    provider: "xai".to_owned(),
                    ..binding()
                },
            ),
            (
                "list of hosts",
                Binding {
                    hosts: vec!["example.com".to_owned()],
                    ..binding()
                },
            ),
            (
                "key epoch",
                Binding {
                    epoch: 2,
                    ..binding()
                },
            ),
        ];
        for (what, place) in elsewhere {
            match unseal(&identity, &sealed, &place) {
                Err(SealError::Misplaced(named)) => assert_eq!(named, what),
                _ => panic!("opened with another {what}"),
            }
        }
    }

    #[test]
    fn a_stranger_cannot_open_it() {
        let (_, recipients) = key();
        let sealed = seal(&recipients, &binding(), &fields()).unwrap();
        let (stranger, _) = key();
        assert!(matches!(
            unseal(&stranger, &sealed, &binding()),
            Err(SealError::NotForThisIdentity)
        ));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (identity, recipients) = key();
        let sealed = seal(&recipients, &binding(), &fields()).unwrap();
        for at in (0..sealed.len()).step_by(37) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(
                unseal(&identity, &damaged, &binding()).is_err(),
                "bit flipped at {at}"
            );
            assert!(
                unseal(&identity, &sealed[..at], &binding()).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn the_largest_secret_opens_for_the_longest_list_of_recipients() {
        let (identity, mut recipients) = key();
        for _ in 1..64 {
            let (_, others) = key();
            recipients.recipients.extend(others.recipients);
        }
        let of = |length: usize| vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
        let fits = |length: &usize| frame(&binding(), &of(*length)).is_ok();
        let largest = (MAX_FRAME_BYTES - PADDED_TO..MAX_FRAME_BYTES)
            .rev()
            .find(fits)
            .unwrap();
        let whole = frame(&binding(), &of(largest)).unwrap();
        assert_eq!(whole.len(), MAX_FRAME_BYTES);
        let sealed = seal(&recipients, &binding(), &of(largest)).unwrap();
        let opened = unseal(&identity, &sealed, &binding()).unwrap();
        assert_eq!(opened[0].1.len(), largest);
    }

    #[test]
    fn a_file_is_opened_up_to_its_largest_size_and_not_beyond() {
        let passphrase = age::secrecy::SecretString::from("canary-of-sizes");
        // Alone it adds the same number of bytes to each file.
        let locked = |length: usize| {
            let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
            recipient.set_work_factor(2);
            age::encrypt(&recipient, &vec![b'x'; length]).unwrap()
        };
        let limit = MAX_FRAME_BYTES + MAX_AGE_OVERHEAD_BYTES;
        let added = locked(MAX_FRAME_BYTES + 1).len() - (MAX_FRAME_BYTES + 1);
        let identity = age::scrypt::Identity::new(passphrase.clone());
        let opens = |file: &[u8]| open([&identity as &dyn age::Identity], file).is_ok();
        let largest = locked(limit - added);
        assert_eq!(largest.len(), limit);
        assert!(opens(&largest));
        assert!(!opens(&locked(limit - added + 1)));
    }

    #[test]
    fn the_size_tells_nothing_of_the_length() {
        let (_, recipients) = key();
        let frame_of = |length: usize| {
            let fields = vec![("api_key".to_owned(), Secret::new(&vec![b'x'; length]))];
            frame(&binding(), &fields).unwrap().expose().len()
        };
        assert_eq!(frame_of(10), frame_of(2_400));
        let too_large = vec![("api_key".to_owned(), Secret::new(&[b'x'; 70_000]))];
        assert!(matches!(
            seal(&recipients, &binding(), &too_large),
            Err(SealError::TooLarge(70_000))
        ));
    }
}

/// The test vectors of the age format, as they lie in the source of the age crate,
/// through the path by which sealed secrets and locked identities are opened.
#[cfg(test)]
mod conformance {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::identity;

    /// A vector: lines of `name: value`, an empty one, and the file.
    struct Vector {
        name: String,
        header: Vec<(String, String)>,
        file: Vec<u8>,
    }

    impl Vector {
        fn read(path: &std::path::Path) -> Self {
            let bytes = std::fs::read(path).unwrap();
            let end = bytes
                .windows(2)
                .position(|pair| pair == b"\n\n")
                .expect("a vector has a header");
            let header = std::str::from_utf8(&bytes[..end])
                .unwrap()
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            Vector {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                header,
                file: bytes[end + 2..].to_vec(),
            }
        }

        fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
            let fits = move |(known, _): &&(String, String)| known == name;
            self.header
                .iter()
                .filter(fits)
                .map(|(_, value)| value.as_str())
        }

        fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
            self.all(name).next()
        }

        /// What is inside, if it opens.
        fn open(&self) -> Option<Secret> {
            if let Some(passphrase) = self.get("passphrase") {
                let passphrase = Secret::from(passphrase);
                return identity::unlock(&self.file, &passphrase).ok();
            }
            let keys: Vec<age::x25519::Identity> = self
                .all("identity")
                .map(|key| key.parse().unwrap())
                .collect();
            let keys = keys.iter().map(|key| key as &dyn age::Identity);
            open(keys, &self.file).ok()
        }
    }

    /// Where the age crate's vectors lie.
    fn vectors() -> PathBuf {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let package = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|package| package["name"] == "age")
            .expect("age is a dependency");
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        manifest.with_file_name("tests/testdata/testkit")
    }

    #[test]
    fn the_formats_own_vectors_open_and_are_refused_as_they_should() {
        let mut opened = 0;
        let mut refused = 0;
        for entry in std::fs::read_dir(vectors()).unwrap() {
            let vector = Vector::read(&entry.unwrap().path());
            let name = &vector.name;
            if vector.get("compressed").is_some() {
                // Those unpack to more than a sealed secret may be.
                continue;
            }
            let result = vector.open();
            // No store writes armored files.
            let is_foreign = vector.get("armored").is_some()
                || vector.file.len() > MAX_FRAME_BYTES + MAX_AGE_OVERHEAD_BYTES;
            // The age crate still takes what early versions of the format allowed.
            let is_legacy = ["stanza_missing_body", "stanza_missing_final_line"];
            match vector.get("expect") {
                Some("header failure") if is_legacy.contains(&name.as_str()) => {}
                Some("success") if !is_foreign => {
                    let inside = result.unwrap_or_else(|| panic!("{name} does not open"));
                    let digest = crate::digest::Digest::of(inside.expose()).to_string();
                    assert_eq!(Some(digest.as_str()), vector.get("payload"), "{name}");
                    opened += 1;
                }
                _ => {
                    assert!(result.is_none(), "{name} opens");
                    refused += 1;
                }
            }
        }
        assert_eq!((opened, refused), (8, 93));
    }
}
