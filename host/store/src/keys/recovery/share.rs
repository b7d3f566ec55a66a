//! A share of a recovery key: its text, and how a key becomes shares and shares the key.
//!
//! The text of a share is Bech32 (BIP 173), as that of an age identity, with the prefix
//! `ENTAIL-SHARE-`. It encodes 43 bytes:
//!
//! | bytes | contents |
//! |---|---|
//! | 1 | the version, 1 |
//! | 1 | the threshold: how many shares restore the key |
//! | 1 | the number of the share, from 1: its x-coordinate |
//! | 8 | the first bytes of the fingerprint of the key's recipient |
//! | 32 | for each byte of the key, the value of its polynomial at the number |
//!
//! That makes 89 characters. Up to 90, the checksum detects any four wrong characters.
//!
//! The field is GF(2⁸) as in AES. The constant of each polynomial is the byte of the key, every
//! other coefficient a random byte.

use bech32::Hrp;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use vsss_rs::{
    DefaultShare, Gf256, IdentifierGf256, Polynomial, ReadableShareSet as _, Share as _,
};
use zeroize::Zeroizing;

use super::error::{MAX_SHARES, ShareError};
use crate::digest::Digest;
use crate::keys::encoding;
use crate::keys::identity::Identity;
use crate::secret::Secret;

/// The fewest shares that restore a key: with one, each share would be the key.
const MIN_THRESHOLD: u8 = 2;

const PREFIX: Hrp = Hrp::parse_unchecked("entail-share-");

const VERSION: u8 = 1;

const KEY_BYTES: usize = 32;

/// The beginning of the fingerprint of a recovery key's recipient: which shares belong together.
pub(crate) type KeyTag = [u8; 8];

/// The tag of the key with this recipient.
pub(crate) fn tag_of(recipient: &str) -> KeyTag {
    let digest = Digest::of(recipient.as_bytes());
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// How a key is split: any `threshold` of its `shares` restore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    shares: u8,
    threshold: u8,
}

impl Split {
    /// Creates the split into `shares` shares, of which any `threshold` restore the key.
    ///
    /// # Errors
    ///
    /// [`ShareError::InvalidSplit`] unless 2 ≤ `threshold` ≤ `shares` ≤ 16.
    pub fn new(shares: u8, threshold: u8) -> Result<Self, ShareError> {
        if MIN_THRESHOLD <= threshold && threshold <= shares && shares <= MAX_SHARES {
            Ok(Split { shares, threshold })
        } else {
            Err(ShareError::InvalidSplit)
        }
    }

    /// How many shares there are.
    pub fn shares(self) -> u8 {
        self.shares
    }

    /// How many shares restore the key.
    pub fn threshold(self) -> u8 {
        self.threshold
    }
}

/// A share of a recovery key.
pub(crate) struct Share {
    /// How many shares restore the key.
    pub(crate) threshold: u8,
    /// The number of this share, from 1.
    pub(crate) number: u8,
    /// Which key it is of.
    pub(crate) key: KeyTag,
    pub(super) value: Secret,
}

/// Why a text is not a share.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidShare {
    Damaged,
    Newer,
}

/// Whether a line is meant to be a share.
pub(crate) fn is_share(line: &str) -> bool {
    let prefix = line.get(..PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX.as_str()))
}

impl Share {
    /// Parses the text of a share.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidShare> {
        let bytes = encoding::decode(PREFIX, text).ok_or(InvalidShare::Damaged)?;
        match bytes.expose().first() {
            Some(&VERSION) => {}
            None | Some(0) => return Err(InvalidShare::Damaged),
            Some(_) => return Err(InvalidShare::Newer),
        }
        Self::from_bytes(&bytes).ok_or(InvalidShare::Damaged)
    }

    fn from_bytes(bytes: &Secret) -> Option<Self> {
        let [_, threshold, number, rest @ ..] = bytes.expose() else {
            return None;
        };
        let (key, value) = rest.split_first_chunk()?;
        let is_valid = (MIN_THRESHOLD..=MAX_SHARES).contains(threshold)
            && (1..=MAX_SHARES).contains(number)
            && value.len() == KEY_BYTES;
        is_valid.then(|| Share {
            threshold: *threshold,
            number: *number,
            key: *key,
            value: Secret::new(value),
        })
    }

    /// The text of the share.
    pub(crate) fn to_text(&self) -> Secret {
        let header = [VERSION, self.threshold, self.number];
        let bytes = Secret::joined(&[&header, &self.key, self.value.expose()]);
        encoding::encode(PREFIX, bytes.expose())
    }
}

/// A point of a polynomial: the number of a share and a byte of it. Also a coefficient.
type Point = DefaultShare<IdentifierGf256, IdentifierGf256>;

fn element(byte: u8) -> IdentifierGf256 {
    IdentifierGf256(Gf256(byte))
}

fn byte(element: IdentifierGf256) -> u8 {
    element.0.0
}

/// Splits the key of an identity.
///
/// # Panics
///
/// If the system has no random numbers.
pub(crate) fn split(identity: &Identity, split: Split) -> std::io::Result<Vec<Share>> {
    let key = identity
        .to_bytes()
        .ok_or_else(|| std::io::Error::other("the identity has an unknown form"))?;
    let threshold = usize::from(split.threshold);
    let mut values: Vec<Zeroizing<Vec<u8>>> = (0..split.shares)
        .map(|_| Zeroizing::new(Vec::with_capacity(KEY_BYTES)))
        .collect();
    let empty: [Point; MAX_SHARES as usize] = Polynomial::<Point>::create(MAX_SHARES.into());
    let mut polynomial = Zeroizing::new(empty);
    for &secret in key.expose() {
        polynomial
            .fill(&element(secret), UnwrapErr(SysRng), threshold)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        for (number, value) in (1..).zip(&mut values) {
            value.push(byte(polynomial.evaluate(&element(number), threshold)));
        }
    }
    let key = tag_of(&identity.recipient());
    let shares = (1..).zip(&values).map(|(number, value)| Share {
        threshold: split.threshold,
        number,
        key,
        value: Secret::new(value),
    });
    Ok(shares.collect())
}

/// Combines shares of one key with different numbers, at least the threshold of them. `None` if
/// they do not give the key that they name.
pub(crate) fn combine(shares: &[Share]) -> Option<Identity> {
    let identity = Identity::from_bytes(&interpolate(shares)?)?;
    (tag_of(&identity.recipient()) == shares.first()?.key).then_some(identity)
}

/// The values of the polynomials at 0.
pub(super) fn interpolate(shares: &[Share]) -> Option<Zeroizing<Vec<u8>>> {
    let points = shares
        .iter()
        .map(|share| Point::with_identifier_and_value(element(share.number), element(0)));
    let mut points: Zeroizing<Vec<Point>> = Zeroizing::new(points.collect());
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    for position in 0..KEY_BYTES {
        for (point, share) in points.iter_mut().zip(shares) {
            point.value = element(*share.value.expose().get(position)?);
        }
        key.push(byte(points.combine().ok()?));
    }
    Some(key)
}
