//! The state of the model: the database, the machines, the backups, and what the adversary
//! knows.

use std::sync::Arc;

use super::home::Home;
use super::restoring::Receipt;
use super::statements::{Authority, Checkpoint, Database, Epoch, Key, KeySet, Keyring, Secret};

/// The identities: of the two machines, of a reader who is added and removed, of the recovery
/// key, and of the clean machine.
pub const IDENTITIES: [Key; 2] = [0, 1];
pub const GUEST: Key = 2;
pub const RECOVERY: Key = 3;
pub const CLEAN_IDENTITY: Key = 4;

/// The adversary's own key in each role.
pub const ADVERSARY: Key = 7;

/// The machine with the owner key, and the one without.
pub const ADMIN: usize = 0;
pub const OTHER: usize = 1;

/// The state.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct State {
    pub database: Database,
    pub homes: Vec<Home>,
    pub backups: Vec<Database>,
    pub receipt: Receipt,
    /// Every state that the database was ever in, as the newest of each branch.
    pub branches: Vec<Database>,
    /// The private keys that the adversary has.
    pub stolen: Stolen,
    pub fresh: Fresh,
    /// How often each limited action was taken.
    pub spent: Vec<u8>,
    /// Whether a store was restored.
    pub is_restored: bool,
    /// The properties that were violated.
    pub violations: Vec<Violation>,
}

/// The private keys that the adversary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stolen {
    pub owners: KeySet,
    pub signers: KeySet,
}

/// The next unused number of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fresh {
    pub owner: Key,
    pub signer: Key,
    pub epoch: Key,
    pub lineage: u8,
    pub value: u8,
}

/// A violated property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    RolledBack,
    FormerSigner,
    NoOwner,
    RemovedReader,
    BroughtBack,
    UntrustedBackup,
}

impl State {
    /// A store at revision 1, with two machines that have read it.
    pub fn first() -> Self {
        let readers = KeySet::of(&[IDENTITIES[0], IDENTITIES[1], RECOVERY]);
        let authority = Authority {
            owners: KeySet::of(&[0]),
            signers: KeySet::of(&[0]),
            readers,
            epochs: vec![Epoch {
                number: 1,
                key: 0,
                sealed_to: readers,
            }],
        };
        let keyring = Keyring::first(authority, KeySet::of(&[0]));
        let head = Checkpoint::new(None, keyring, 0, Secret { value: 0, epoch: 0 });
        let database = Database::of(Arc::clone(&head));
        State {
            homes: vec![
                Home::new(Some(0), Some(0), IDENTITIES[0], &head),
                Home::new(None, None, IDENTITIES[1], &head),
            ],
            backups: Vec::new(),
            receipt: Receipt {
                owners: KeySet::of(&[0]),
                checkpoint: head,
            },
            branches: vec![database.clone()],
            database,
            stolen: Stolen {
                owners: KeySet::of(&[ADVERSARY]),
                signers: KeySet::of(&[ADVERSARY]),
            },
            fresh: Fresh {
                owner: 1,
                signer: 1,
                epoch: 1,
                lineage: 1,
                value: 1,
            },
            spent: Vec::new(),
            is_restored: false,
            violations: Vec::new(),
        }
    }

    /// Puts another database in the place of the present one.
    pub fn replace_database(&mut self, database: Database) {
        let is_known = self.branches.iter().any(|known| known.contains(&database));
        if !is_known {
            let mut branches = self.branches.iter_mut();
            match branches.find(|branch| database.contains(branch)) {
                Some(branch) => *branch = database.clone(),
                None => self.branches.push(database.clone()),
            }
        }
        self.database = database;
    }

    /// Records a property that was violated, if any was.
    pub fn violate(&mut self, violation: Option<Violation>) {
        if let Some(violation) = violation
            && !self.violations.contains(&violation)
        {
            self.violations.push(violation);
        }
    }
}
