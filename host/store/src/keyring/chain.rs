//! The keyrings of a database, in order.

use std::sync::Arc;

use super::Keyring;
use crate::digest::Digest;
use crate::statement::Statement;
use crate::tampering::{Fault, Tampering};

/// Keyrings in the order of their numbers, each linked to the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyringChain {
    keyrings: Vec<Arc<Keyring>>,
}

impl KeyringChain {
    /// Parses the keyrings of a database after `base`, or all of them, and checks the links
    /// between them.
    ///
    /// That a keyring is of a newer version counts only if an owner of the one before it signed it;
    /// of the first, only if there is no `trusted` one, which would be newer as well.
    pub(crate) fn parse(
        base: Option<&Arc<Keyring>>,
        trusted: Option<&Keyring>,
        statements: &[Statement],
    ) -> Result<Self, Tampering> {
        let mut keyrings: Vec<Arc<Keyring>> = base.into_iter().cloned().collect();
        for statement in statements {
            let keyring = Keyring::parse(statement.clone()).map_err(|error| {
                let is_believed = match keyrings.last() {
                    Some(before) => before.owners_signed(statement),
                    None => trusted.is_none(),
                };
                if error.fault() == Fault::Newer && !is_believed {
                    Tampering::new(Fault::Forged, "a keyring", "is malformed")
                } else {
                    error
                }
            })?;
            match keyrings.last() {
                Some(before) => keyring.check_link(before)?,
                None if keyring.number == 1 && keyring.previous.is_none() => {}
                None => return Err(keyring.tampering("is not the first keyring")),
            }
            keyrings.push(Arc::new(keyring));
        }
        Ok(KeyringChain { keyrings })
    }

    /// Fails unless the chain contains `trusted`, and the owners made every later keyring the
    /// next. Earlier ones are fixed by their digests.
    pub(crate) fn check_trust(&self, trusted: &Keyring) -> Result<(), Tampering> {
        let place = self.place(trusted.digest).ok_or_else(|| {
            Tampering::new(
                Fault::Forged,
                "the list of keyrings",
                "lacks the keyring that this machine trusts",
            )
        })?;
        let later = self.keyrings.iter().skip(place);
        for (before, keyring) in later.clone().zip(later.skip(1)) {
            keyring.check_follows(before)?;
        }
        Ok(())
    }

    /// The place of the keyring with that digest.
    pub(crate) fn place(&self, digest: Digest) -> Option<usize> {
        let mut keyrings = self.keyrings.iter();
        keyrings.position(|keyring| keyring.digest == digest)
    }

    /// The keyring with that digest.
    pub(crate) fn get(&self, digest: Digest) -> Option<&Arc<Keyring>> {
        self.keyrings
            .iter()
            .find(|keyring| keyring.digest == digest)
    }

    /// The keyring with that digest, unless it is an earlier one than `before`.
    pub(crate) fn in_force(
        &self,
        before: Option<&Keyring>,
        digest: Digest,
    ) -> Option<&Arc<Keyring>> {
        let keyring = self.get(digest)?;
        let number = before.map_or(0, |before| before.number);
        (keyring.number >= number).then_some(keyring)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Keyring>> + Clone {
        self.keyrings.iter()
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Keyring>> {
        self.keyrings.last()
    }
}
