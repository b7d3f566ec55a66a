//! What the protocol promises.
//!
//! The properties that are judged at a step use only what happened ([`Memory`]), never the
//! anchor or the trusted keyring of a machine, which a broken rule may have falsified.
//!
//! Whoever holds the present owner key has all power: a keyring that it signed is legitimate
//! here, whoever used it.

use std::sync::Arc;

use stateright::Property;

use super::home::Memory;
use super::model::{KeyringModel, Kind};
use super::reading::is_consistent;
use super::restoring::Receipt;
use super::rules::Rules;
use super::state::{State, Violation};
use super::statements::{Database, Keyring};

pub const NO_ROLLBACK: &str = "no machine accepts an older or another state than it has seen";
pub const FORMER_SIGNERS: &str = "a former signer signs nothing after its keyring";
pub const OWNERS_DECIDE: &str = "only owners add signers and readers";
pub const REMOVED_READERS: &str = "a removed reader opens nothing that is sealed later";
pub const NOTHING_BROUGHT_BACK: &str = "a restore brings back no removed key";
pub const TRUSTED_BACKUPS: &str = "a restore accepts only a backup that keys with power signed";
pub const NOT_LOCKED_OUT: &str = "honest actions lock no machine out";
pub const NOTHING_LOST: &str = "readers open every secret after honest actions";

/// All properties.
pub fn all() -> Vec<Property<KeyringModel>> {
    fn holds(state: &State, violation: Violation) -> bool {
        !state.violations.contains(&violation)
    }
    vec![
        Property::always(NO_ROLLBACK, |_, state| holds(state, Violation::RolledBack)),
        Property::always(FORMER_SIGNERS, |_, state| {
            holds(state, Violation::FormerSigner)
        }),
        Property::always(OWNERS_DECIDE, |_, state| holds(state, Violation::NoOwner)),
        Property::always(REMOVED_READERS, |_, state| {
            holds(state, Violation::RemovedReader)
        }),
        Property::always(NOTHING_BROUGHT_BACK, |_, state| {
            holds(state, Violation::BroughtBack)
        }),
        Property::always(TRUSTED_BACKUPS, |_, state| {
            holds(state, Violation::UntrustedBackup)
        }),
        Property::always(NOT_LOCKED_OUT, |model, state| {
            is_hostile(state) || is_readable(model.rules, state)
        }),
        Property::always(NOTHING_LOST, |_, state| {
            is_hostile(state) || is_secret_readable(state)
        }),
    ]
}

/// Judges what a machine accepted, and remembers it.
pub fn judge_read(memory: &mut Memory, database: &Database) -> Option<Violation> {
    let head = &database.head;
    let violation = match head.has(memory.seen.position) {
        false => Some(Violation::RolledBack),
        true => judge_entries(memory, database),
    };
    memory.remember(head);
    violation
}

fn judge_entries(memory: &Memory, database: &Database) -> Option<Violation> {
    let mut keyring = &memory.seen.keyring;
    for row in database.head.after(memory.seen.position.revision) {
        if keyring.number > row.keyring.number && keyring.descends_from(row.keyring.digest) {
            return Some(Violation::FormerSigner);
        }
        if !is_succession(keyring, &row.keyring) {
            return Some(Violation::NoOwner);
        }
        keyring = &row.keyring;
        if !keyring.authority.signers.has(row.signed_by) {
            return Some(Violation::FormerSigner);
        }
    }
    None
}

/// Whether owners led from one keyring to the other.
fn is_succession(from: &Arc<Keyring>, to: &Arc<Keyring>) -> bool {
    let mut later = to
        .back()
        .take_while(|keyring| keyring.digest != from.digest);
    to.descends_from(from.digest)
        && later.all(|keyring| {
            let before = keyring.previous.as_ref();
            before.is_some_and(|before| keyring.signed_by.meets(before.authority.owners))
        })
}

/// Judges the sealing of a secret by a machine to the newest epoch of a keyring.
pub fn judge_sealing(memory: &Memory, keyring: &Keyring) -> Option<Violation> {
    let authority = &keyring.authority;
    let knew = memory.knew(authority.newest_epoch().key);
    (!knew.is_within(authority.readers)).then_some(Violation::RemovedReader)
}

/// Judges a restore over the store of a machine.
pub fn judge_restore(
    memory: &Memory,
    present: &Database,
    backup: &Database,
    restored: &Arc<Keyring>,
) -> Option<Violation> {
    let candidates = [
        is_consistent(present).then_some(&present.head.keyring),
        Some(&backup.head.keyring),
    ];
    let newest = candidates
        .into_iter()
        .flatten()
        .filter(|keyring| is_succession(&memory.seen.keyring, keyring))
        .max_by_key(|keyring| keyring.number)
        .unwrap_or(&memory.seen.keyring);
    if restored.descends_from(newest.digest) && !is_succession(newest, restored) {
        return Some(Violation::NoOwner);
    }
    let (now, then) = (&newest.authority, &restored.authority);
    let is_carried_over = then.owners.is_within(now.owners)
        && then.signers.is_within(now.signers)
        && then.readers.is_within(now.readers);
    if !is_carried_over {
        return Some(Violation::BroughtBack);
    }
    let is_signed = |head: &super::statements::Checkpoint| now.signers.has(head.signed_by);
    let is_known = memory.seen.has(backup.head.position)
        || is_signed(&present.head) && present.head.has(backup.head.position);
    (!is_known && !is_signed(&backup.head)).then_some(Violation::UntrustedBackup)
}

/// Judges a restore on a clean machine: the backup must contain the state of the receipt, and
/// an owner in the receipt, or owners that it led to, must have signed the newest keyring.
pub fn judge_clean_restore(receipt: &Receipt, backup: &Database) -> Option<Violation> {
    let newest = &backup.head.keyring;
    let is_owned = |keyring: &Arc<Keyring>| {
        let mut owners = keyring.authority.owners.keys();
        owners.any(|owner| receipt.owners.has(owner) && keyring.signed_by.has(owner))
    };
    let mut keyrings = newest.back();
    let is_trusted = backup.head.has(receipt.checkpoint.position)
        && keyrings.any(|keyring| is_owned(keyring) && is_succession(keyring, newest));
    (!is_trusted).then_some(Violation::UntrustedBackup)
}

/// Whether the adversary did anything.
pub fn is_hostile(state: &State) -> bool {
    [
        Kind::Theft,
        Kind::Replacement,
        Kind::Forgery,
        Kind::ForgedKeyring,
    ]
    .into_iter()
    .any(|kind| state.spent[kind as usize] > 0)
}

/// Whether every machine and process reads the database; after a restore, one that did it.
fn is_readable(rules: Rules, state: &State) -> bool {
    let reads = |home: &super::home::Home| home.clone().read(rules, &state.database).is_ok();
    let polls = |home: &super::home::Home| home.clone().poll(rules, &state.database).is_ok();
    match state.is_restored {
        true => state.homes.iter().any(reads),
        false => state.homes.iter().all(|home| reads(home) && polls(home)),
    }
}

/// Whether the readers open the secret: all of them, but for those that the epochs of a
/// restored store are not sealed to yet.
fn is_secret_readable(state: &State) -> bool {
    let head = &state.database.head;
    let authority = &head.keyring.authority;
    authority.epoch_of(head.secret.epoch).is_some_and(|epoch| {
        if state.is_restored && !authority.is_current() {
            epoch.sealed_to.meets(authority.readers)
        } else {
            authority.readers.is_within(epoch.sealed_to)
        }
    })
}
