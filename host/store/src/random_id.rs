//! Random identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hex;

/// A random identifier of 128 bits, written as 32 lower-case hexadecimal digits. Each store has
/// one, each lineage of a store, and each principal in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RandomId([u8; 16]);

impl RandomId {
    /// Generates an identifier from the system's randomness.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn generate() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(RandomId(bytes))
    }
}

impl RandomId {
    /// The identifier with these bytes, which somebody else has drawn.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        RandomId(bytes)
    }
}

impl fmt::Display for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for RandomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an identifier.
#[derive(Debug, thiserror::Error)]
#[error("an identifier is 32 lower-case hexadecimal digits")]
pub struct InvalidId;

impl FromStr for RandomId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        hex::decode(text).map(RandomId).ok_or(InvalidId)
    }
}

impl TryFrom<String> for RandomId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RandomId> for String {
    fn from(id: RandomId) -> String {
        id.to_string()
    }
}
