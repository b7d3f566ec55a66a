//! The history of a store as its database tells it. A copy of a store is judged by it where
//! there is no anchor.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backend::Backend;
use crate::digest::Digest;
use crate::error::Error;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::delegation::verify_next;
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::keyring::chain::KeyringChain;
use crate::random_id::RandomId;
use crate::signing::KeyId;
use crate::tampering::{Fault, Tampering};

/// The number of journal entries to read at once.
const PAGE: usize = 1_000;

/// A journal and its keyrings, consistent with each other.
#[derive(Clone, Debug)]
pub struct History {
    keyrings: KeyringChain,
    /// The keyring that is in force at the end.
    keyring: Arc<Keyring>,
    position: JournalPosition,
    at_ms: u64,
    /// The digests of all checkpoints.
    checkpoints: HashSet<Digest>,
}

impl History {
    /// Reads the journal of a database. Verifies its chain, and every signature against the
    /// keyrings that the database itself contains. Does not decide whether anything of it is
    /// trusted.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn of(backend: &dyn Backend) -> Result<Self, Error> {
        let keyrings = KeyringChain::parse(None, None, &backend.keyrings(0).await?)?;
        let mut position = JournalPosition::default();
        let mut keyring: Option<Arc<Keyring>> = None;
        let mut previous: Option<Checkpoint> = None;
        let mut checkpoints = HashSet::new();
        loop {
            let rows = backend.journal(position.revision, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let known = keyrings.iter().map(|known| &**known);
                let checkpoint = Checkpoint::parse_signed(row, known)?;
                let in_force = keyrings
                    .in_force(keyring.as_deref(), checkpoint.keyring)
                    .ok_or_else(|| row.tampering("names a keyring that is not in force"))?;
                verify_next(row, &checkpoint, position, previous.as_ref(), in_force)?;
                keyring = Some(Arc::clone(in_force));
                position = row.position();
                checkpoints.extend(position.checkpoint);
                previous = Some(checkpoint);
            }
        }
        let keyring =
            keyring.ok_or_else(|| Tampering::new(Fault::Missing, "the journal", "is empty"))?;
        Ok(History {
            keyrings,
            keyring,
            position,
            at_ms: previous.map_or(0, |newest| newest.at_ms),
            checkpoints,
        })
    }

    /// Whether the journal contains the checkpoint at this position.
    pub fn has(&self, position: JournalPosition) -> bool {
        position
            .checkpoint
            .is_some_and(|checkpoint| self.checkpoints.contains(&checkpoint))
    }

    /// The position of the newest checkpoint.
    pub fn position(&self) -> JournalPosition {
        self.position
    }

    /// The time of the newest change, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The keyring that is in force at the end.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The keyrings after the one that is in force at the end of `self`, if `later` is a
    /// continuation of the keyrings of `self`, up to the one that is in force at its end. No
    /// checkpoint proves those after it.
    pub fn later_keyrings(&self, later: &History) -> Option<Vec<Arc<Keyring>>> {
        let newest = self.keyrings.newest()?;
        let place = later.keyrings.place(newest.digest())?;
        let end = later.keyrings.place(later.keyring.digest())?;
        let proven = later.keyrings.iter().take(end + 1);
        Some(proven.skip(place + 1).cloned().collect())
    }

    /// Whether the newest checkpoint is under `trusted`, or under a keyring that its owners
    /// authorized through an unbroken chain.
    pub fn descends_from(&self, trusted: &Keyring) -> bool {
        let known = self.keyrings.place(trusted.digest());
        known.is_some_and(|place| self.is_endorsed_from(place))
    }

    /// Whether the newest checkpoint is under a keyring that enough of its owners signed who are
    /// among `trusted`, and at least `required` of them, or under one that such a keyring's owners
    /// authorized through an unbroken chain.
    ///
    /// A keyring says itself how many owners are enough. So one of several owners could make one
    /// for which its signature is enough, unless `required` is the number that is known.
    pub fn is_owned_by(&self, trusted: &[KeyId], required: usize) -> bool {
        let mut before: Option<&Keyring> = None;
        for (place, keyring) in self.keyrings.iter().enumerate() {
            let signed_by = keyring.signers(before).unwrap_or_default();
            if keyring.is_owned_by(&signed_by, trusted, required) && self.is_endorsed_from(place) {
                return true;
            }
            before = Some(keyring);
        }
        false
    }

    /// As many owners as had to sign the keyring that is in force at the end, and did. Whoever
    /// trusts all of them trusts the store.
    pub fn signed_by(&self) -> Vec<KeyId> {
        let owners = &self.keyring.authority().owners;
        let place = self.keyrings.place(self.keyring.digest());
        let before = place.and_then(|place| self.keyrings.iter().take(place).last());
        let signed_by = self.keyring.signers(before.map(|before| &**before));
        let mut signed_by = signed_by.unwrap_or_default();
        signed_by.retain(|key| owners.has(*key));
        signed_by.truncate(owners.threshold);
        signed_by
    }

    /// Whether the owners of each keyring from that place on authorized the next one, up to the
    /// one that is in force at the end.
    fn is_endorsed_from(&self, place: usize) -> bool {
        let Some(end) = self.keyrings.place(self.keyring.digest()) else {
            return false;
        };
        let chain = self
            .keyrings
            .iter()
            .skip(place)
            .take((end + 1).saturating_sub(place));
        place <= end
            && chain
                .clone()
                .zip(chain.skip(1))
                .all(|(before, keyring)| keyring.check_follows(before).is_ok())
    }

    /// The id of the store.
    pub fn store(&self) -> RandomId {
        self.keyring.store()
    }
}
