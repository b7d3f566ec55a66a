//! The signed statements of the model: keyrings, checkpoints, and the database that holds them.
//!
//! Digests are abstract: two statements have the same digest only if they are the same. A
//! digest covers the predecessor, as in the store, and also who signed, so that two forgeries
//! never coincide. Each keyring has one owner at least and a threshold of 1. A checkpoint
//! stands for the state of the store: one secret of one organization.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The number of a private key in its role: an owner key, a signer, an identity, or the key of
/// an epoch.
pub type Key = u8;

/// A set of keys in one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeySet(u8);

impl KeySet {
    pub fn of(keys: &[Key]) -> Self {
        keys.iter().fold(KeySet(0), |set, key| set.with(*key))
    }

    pub fn with(self, key: Key) -> Self {
        KeySet(self.0 | 1 << key)
    }

    pub fn without(self, key: Key) -> Self {
        KeySet(self.0 & !(1 << key))
    }

    pub fn has(self, key: Key) -> bool {
        self.0 & 1 << key != 0
    }

    pub fn and(self, other: Self) -> Self {
        KeySet(self.0 | other.0)
    }

    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub fn keys(self) -> impl Iterator<Item = Key> {
        (0..8).filter(move |key| self.has(*key))
    }
}

/// An epoch: the key that secrets are sealed to, and who it is sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    pub number: u8,
    pub key: Key,
    pub sealed_to: KeySet,
}

/// Who may change the store, and who may read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    pub owners: KeySet,
    pub signers: KeySet,
    pub readers: KeySet,
    pub epochs: Vec<Epoch>,
}

impl Authority {
    pub fn newest_epoch(&self) -> &Epoch {
        self.epochs.last().unwrap()
    }

    pub fn epoch_of(&self, key: Key) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.key == key)
    }

    /// Whether every epoch is sealed to exactly the readers.
    pub fn is_current(&self) -> bool {
        let mut epochs = self.epochs.iter();
        epochs.all(|epoch| epoch.sealed_to == self.readers)
    }
}

/// A keyring.
#[derive(Clone, Debug)]
pub struct Keyring {
    pub digest: u64,
    pub number: u8,
    pub lineage: u8,
    pub previous: Option<Arc<Keyring>>,
    pub authority: Authority,
    /// The owner keys that signed it.
    pub signed_by: KeySet,
}

impl Keyring {
    pub fn first(authority: Authority, signed_by: KeySet) -> Arc<Self> {
        Self::new(None, 0, authority, signed_by)
    }

    pub fn next(self: &Arc<Self>, authority: Authority, signed_by: KeySet) -> Arc<Self> {
        Self::new(Some(Arc::clone(self)), self.lineage, authority, signed_by)
    }

    pub fn new(
        previous: Option<Arc<Keyring>>,
        lineage: u8,
        authority: Authority,
        signed_by: KeySet,
    ) -> Arc<Self> {
        let number = previous.as_ref().map_or(1, |previous| previous.number + 1);
        let before = previous.as_ref().map(|previous| previous.digest);
        Arc::new(Keyring {
            digest: digest(&(number, lineage, before, &authority, signed_by)),
            number,
            lineage,
            previous,
            authority,
            signed_by,
        })
    }

    /// This keyring and its predecessors, the newest first.
    pub fn back(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Keyring>> {
        std::iter::successors(Some(self), |keyring| keyring.previous.as_ref())
    }

    pub fn descends_from(self: &Arc<Self>, digest: u64) -> bool {
        self.back().any(|keyring| keyring.digest == digest)
    }

    /// Whether an owner of the previous keyring and one of its own signed it, and nobody else.
    pub fn follows_previous(&self) -> bool {
        let own = self.authority.owners;
        self.previous.as_ref().is_some_and(|previous| {
            let before = previous.authority.owners;
            self.signed_by.meets(own)
                && self.signed_by.meets(before)
                && self.signed_by.is_within(own.and(before))
        })
    }

    /// Whether an owner of its own signed it, and nobody but them and the previous owners.
    pub fn is_signed(&self) -> bool {
        let own = self.authority.owners;
        let before = self.previous.as_ref();
        let before = before.map_or(KeySet::default(), |before| before.authority.owners);
        self.signed_by.meets(own) && self.signed_by.is_within(own.and(before))
    }
}

/// The only secret of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Secret {
    pub value: u8,
    /// The key of the epoch that it is sealed to.
    pub epoch: Key,
}

/// The place of a checkpoint in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub revision: u8,
    pub digest: u64,
}

/// A checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub position: Position,
    pub previous: Option<Arc<Checkpoint>>,
    /// The keyring that it names.
    pub keyring: Arc<Keyring>,
    pub signed_by: Key,
    pub secret: Secret,
}

impl Checkpoint {
    pub fn new(
        previous: Option<Arc<Checkpoint>>,
        keyring: Arc<Keyring>,
        signed_by: Key,
        secret: Secret,
    ) -> Arc<Self> {
        let before = previous.as_ref().map(|previous| previous.position);
        let revision = before.map_or(1, |before| before.revision + 1);
        let digest = digest(&(before, keyring.digest, signed_by, secret));
        Arc::new(Checkpoint {
            position: Position { revision, digest },
            previous,
            keyring,
            signed_by,
            secret,
        })
    }

    /// This checkpoint and its predecessors, the newest first.
    pub fn back(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Checkpoint>> {
        std::iter::successors(Some(self), |checkpoint| checkpoint.previous.as_ref())
    }

    pub fn at(self: &Arc<Self>, revision: u8) -> Option<&Arc<Checkpoint>> {
        self.back()
            .find(|checkpoint| checkpoint.position.revision == revision)
    }

    pub fn has(self: &Arc<Self>, position: Position) -> bool {
        self.at(position.revision)
            .is_some_and(|found| found.position == position)
    }

    /// The checkpoints after a revision, the oldest first.
    pub fn after(self: &Arc<Self>, revision: u8) -> Vec<&Arc<Checkpoint>> {
        let mut after: Vec<_> = self
            .back()
            .take_while(|checkpoint| checkpoint.position.revision > revision)
            .collect();
        after.reverse();
        after
    }
}

/// A database: a journal, and a list of keyrings that may be longer than the journal needs.
#[derive(Clone, Debug)]
pub struct Database {
    pub head: Arc<Checkpoint>,
    pub keyrings: Arc<Keyring>,
}

impl Database {
    pub fn of(head: Arc<Checkpoint>) -> Self {
        let keyrings = Arc::clone(&head.keyring);
        Database { head, keyrings }
    }

    pub fn keyring(&self, digest: u64) -> Option<&Arc<Keyring>> {
        self.keyrings
            .back()
            .find(|keyring| keyring.digest == digest)
    }

    /// Whether `other` is an earlier state of this database, or the same.
    pub fn contains(&self, other: &Database) -> bool {
        self.head.has(other.head.position) && self.keyring(other.keyrings.digest).is_some()
    }
}

macro_rules! identified_by {
    ($kind:ty, $($digest:tt).+) => {
        impl PartialEq for $kind {
            fn eq(&self, other: &Self) -> bool {
                self.$($digest).+ == other.$($digest).+
            }
        }

        impl Hash for $kind {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.$($digest).+.hash(state);
            }
        }
    };
}

identified_by!(Keyring, digest);
identified_by!(Checkpoint, position.digest);

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.keyrings == other.keyrings
    }
}

impl Hash for Database {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.head.hash(state);
        self.keyrings.hash(state);
    }
}

fn digest(content: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
