//! Tells whether two credentials are the same without comparing secrets side by side.

use entail::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The HMAC-SHA256 of fields under the key of this run. It has no `Debug` and is never
/// shown or written, though without the key it says nothing of a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// Makes fingerprints that can be compared with each other, and with no others.
pub struct Fingerprints {
    key: Zeroizing<[u8; 32]>,
}

impl Fingerprints {
    /// With a key of its own.
    ///
    /// # Errors
    ///
    /// Fails if the system has no randomness.
    pub fn new() -> Result<Self, Failure> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)
            .map_err(|error| Failure::io("randomness", &std::io::Error::other(error)))?;
        Ok(Fingerprints { key })
    }

    /// The fingerprint of fields by name, in any order.
    ///
    /// # Errors
    ///
    /// Fails if HMAC does not take the key, which has its length.
    pub fn of<'a>(
        &self,
        context: &[&str],
        fields: impl IntoIterator<Item = (&'a str, &'a Secret)>,
    ) -> Result<Fingerprint, Failure> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&*self.key)
            .map_err(|error| Failure::io("HMAC", &std::io::Error::other(error)))?;
        let mut add = |bytes: &[u8]| {
            // With its length, so that no two lists of parts are the same bytes.
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
#[allow(clippy::unwrap_used)] // a test may
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
