//! Compares credentials without keeping their secrets side by side.

use entail::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::CliError;

/// The HMAC-SHA256 of fields under a random key. It has no `Debug` and is never shown or
/// written, although it reveals nothing without the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Makes fingerprints that can be compared with each other only.
pub struct Fingerprints {
    key: Zeroizing<[u8; 32]>,
}

impl Fingerprints {
    /// Generates the key.
    ///
    /// # Errors
    ///
    /// Fails if the system has no randomness.
    pub fn new() -> Result<Self, CliError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)
            .map_err(|error| CliError::io("randomness", &std::io::Error::other(error)))?;
        Ok(Fingerprints { key })
    }

    /// The fingerprint of fields by name, in any order.
    ///
    /// # Errors
    ///
    /// Fails if HMAC refuses the key, which cannot happen with its length.
    pub fn of<'a>(
        &self,
        context: &[&str],
        fields: impl IntoIterator<Item = (&'a str, &'a Secret)>,
    ) -> Result<Fingerprint, CliError> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&*self.key)
            .map_err(|error| CliError::io("HMAC", &std::io::Error::other(error)))?;
        let mut add = |bytes: &[u8]| {
            // The length makes different lists of parts different bytes.
            hmac.update(&(bytes.len() as u64).to_be_bytes());
            hmac.update(bytes);
        };
        for text in context {
            add(text.as_bytes());
        }
        let mut fields: Vec<(&str, &Secret)> = fields.into_iter().collect();
        fields.sort_by_key(|(name, _)| *name);
        for (name, value) in fields {
            add(name.as_bytes());
            add(value.expose());
        }
        Ok(Fingerprint(hmac.finalize().into_bytes().into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn the_same_fields_have_the_same_fingerprint_within_one_run() {
        let run = Fingerprints::new().ok().unwrap();
        let (a, b) = (Secret::from("a"), Secret::from("b"));
        let of = |run: &Fingerprints, fields: &[(&str, &Secret)]| {
            run.of(&["openai"], fields.iter().copied()).ok().unwrap()
        };
        let both = of(&run, &[("x", &a), ("y", &b)]);
        assert!(both == of(&run, &[("y", &b), ("x", &a)]));
        assert!(both != of(&run, &[("x", &b), ("y", &a)]));
        assert!(both != of(&run, &[("x", &a)]));
        let joined = Secret::from("ayb");
        assert!(both != of(&run, &[("x", &joined)]));
        assert!(both != of(&Fingerprints::new().ok().unwrap(), &[("x", &a), ("y", &b)]));
    }
}
