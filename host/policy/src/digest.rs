//! The digest that identifies a policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The prefix of a digest as text.
const PREFIX: &str = "sha256:";

/// The SHA-256 of a component's bytes, which identifies the policy. As text, also in JSON, it
/// is `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyDigest([u8; 32]);

/// A text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy's digest is sha256: and 64 lower-case hexadecimal digits")]
pub struct InvalidPolicyDigest;

impl PolicyDigest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        PolicyDigest(Sha256::digest(bytes).into())
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PolicyDigest {
    fn from(bytes: [u8; 32]) -> Self {
        PolicyDigest(bytes)
    }
}

impl fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write, since each record of the decision log has a digest.
        let mut text = [b'0'; 64];
        for (digits, byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            *digits = [digit(byte >> 4), digit(byte & 0xf)];
        }
        f.write_str(PREFIX)?;
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn digit(value: u8) -> u8 {
    char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8)
}

impl fmt::Debug for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PolicyDigest {
    type Err = InvalidPolicyDigest;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyDigest> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidPolicyDigest)?;
        if digits.len() != 64 {
            return Err(InvalidPolicyDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = pair
                .iter()
                .try_fold(0, |value, digit| Some(value << 4 | nibble(*digit)?))
                .ok_or(InvalidPolicyDigest)?;
        }
        Ok(PolicyDigest(bytes))
    }
}

/// Accepts lower-case digits only, so that each digest has one spelling.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for PolicyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'a> Deserialize<'a> for PolicyDigest {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'a, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = PolicyDigest::of(b"policy");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        for other in [
            text.to_uppercase(),
            text.replace("sha256:", ""),
            format!("{text} "),
            text[..text.len() - 1].to_owned(),
            text.replacen(|c: char| c.is_ascii_digit(), "é", 1),
        ] {
            assert_eq!(
                other.parse::<PolicyDigest>(),
                Err(InvalidPolicyDigest),
                "{other}"
            );
        }
    }
}
