//! A machine: its private keys, the anchor, the keyring that it trusts, and a running process.

use std::sync::Arc;

use super::reading::{Fault, Start, read};
use super::rules::{Rule, Rules};
use super::statements::{Checkpoint, Database, Key, KeySet, Keyring, Position};

/// How many keys of epochs a trace can generate.
pub const EPOCH_KEYS: usize = 8;

/// A machine.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Home {
    pub owner: Option<Key>,
    pub signer: Option<Key>,
    pub identity: Key,
    pub anchor: Position,
    pub trusted: Arc<Keyring>,
    /// A process that was started with the home.
    pub process: Start,
    pub memory: Memory,
}

/// What the machine has seen. The protocol does not use it: properties judge the protocol by it.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Memory {
    /// The newest checkpoint that any process accepted since the last restore.
    pub seen: Arc<Checkpoint>,
    /// Who was ever given the key of each epoch, by an accepted keyring.
    pub knew: [KeySet; EPOCH_KEYS],
}

impl Home {
    pub fn new(
        owner: Option<Key>,
        signer: Option<Key>,
        identity: Key,
        head: &Arc<Checkpoint>,
    ) -> Self {
        let mut home = Home {
            owner,
            signer,
            identity,
            anchor: head.position,
            trusted: Arc::clone(&head.keyring),
            process: Start {
                position: head.position,
                keyring: Arc::clone(&head.keyring),
                is_verified: true,
            },
            memory: Memory {
                seen: Arc::clone(head),
                knew: [KeySet::default(); EPOCH_KEYS],
            },
        };
        home.memory.remember(head);
        home
    }

    /// Whether the keys of this machine can change the keyring.
    pub fn owns(&self, keyring: &Keyring) -> bool {
        self.owner
            .is_some_and(|owner| keyring.authority.owners.has(owner))
    }

    /// Whether the signer of this machine can change the store.
    pub fn signs(&self, keyring: &Keyring) -> bool {
        self.signer
            .is_some_and(|signer| keyring.authority.signers.has(signer))
    }

    /// A read by a process that starts now.
    pub fn read(&mut self, rules: Rules, database: &Database) -> Result<(), Fault> {
        let start = Start {
            position: self.anchor,
            keyring: Arc::clone(&self.trusted),
            is_verified: false,
        };
        read(rules, &start, self.anchor, database)?;
        self.advance(&database.head);
        Ok(())
    }

    /// A read by the running process.
    pub fn poll(&mut self, rules: Rules, database: &Database) -> Result<(), Fault> {
        let anchored = match rules.keep(Rule::ProcessReadsAnchor) {
            true => self.anchor,
            false => self.process.position,
        };
        read(rules, &self.process, anchored, database)?;
        self.process = Start {
            position: database.head.position,
            keyring: Arc::clone(&database.head.keyring),
            is_verified: true,
        };
        self.advance(&database.head);
        Ok(())
    }

    /// Records a verified checkpoint in the anchor, and its keyring.
    pub fn advance(&mut self, head: &Arc<Checkpoint>) {
        if head.position.revision <= self.anchor.revision {
            return;
        }
        self.anchor = head.position;
        if head.keyring.number > self.trusted.number {
            self.trusted = Arc::clone(&head.keyring);
        }
    }

    /// Adopts a restored store, whatever was seen before.
    pub fn restore(&mut self, head: &Arc<Checkpoint>) {
        self.anchor = head.position;
        self.trusted = Arc::clone(&head.keyring);
        self.memory.remember(head);
    }
}

impl Memory {
    pub fn remember(&mut self, head: &Arc<Checkpoint>) {
        for keyring in head.keyring.back() {
            for epoch in &keyring.authority.epochs {
                let knew = &mut self.knew[usize::from(epoch.key)];
                *knew = knew.and(epoch.sealed_to);
            }
        }
        self.seen = Arc::clone(head);
    }

    /// Who was given the key of an epoch.
    pub fn knew(&self, epoch: Key) -> KeySet {
        self.knew[usize::from(epoch)]
    }
}
