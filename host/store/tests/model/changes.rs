//! The changes that machines commit: of the secret, and of the keyring. `None` means that a
//! change is not allowed.

use super::home::Home;
use super::restoring;
use super::rules::{Rule, Rules};
use super::state::{CLEAN_IDENTITY, GUEST, OTHER, RECOVERY, State};
use super::statements::{Authority, Key, KeySet, Secret};

/// What a change leads to: the keyring and the secret.
pub struct Change {
    pub authority: Option<Authority>,
    pub secret: Secret,
    /// The owner keys that sign a new keyring.
    pub owners: KeySet,
}

fn authority_of(state: &State) -> Authority {
    state.database.head.keyring.authority.clone()
}

/// A change of the keyring by a machine, which must be an owner.
fn by_owner(state: &State, home: usize, authority: Authority) -> Option<Change> {
    let keyring = &state.database.head.keyring;
    state.homes[home].owns(keyring).then_some(Change {
        authority: Some(authority),
        secret: state.database.head.secret,
        owners: KeySet::of(&[state.homes[home].owner?]),
    })
}

pub fn write(_: Rules, state: &mut State, _: usize) -> Option<Change> {
    let value = state.fresh.value;
    state.fresh.value += 1;
    let epoch = authority_of(state).epochs.last()?.key;
    Some(Change {
        authority: None,
        secret: Secret { value, epoch },
        owners: KeySet::default(),
    })
}

pub fn rotate_signer(_: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    let old = state.homes[home]
        .signer
        .filter(|old| authority.signers.has(*old))?;
    let new = state.fresh.signer;
    state.fresh.signer += 1;
    authority.signers = authority.signers.without(old).with(new);
    let change = by_owner(state, home, authority)?;
    state.homes[home].signer = Some(new);
    Some(change)
}

pub fn rotate_owner(_: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    let old = state.homes[home]
        .owner
        .filter(|old| authority.owners.has(*old))?;
    let new = state.fresh.owner;
    state.fresh.owner += 1;
    authority.owners = authority.owners.without(old).with(new);
    let mut change = by_owner(state, home, authority)?;
    change.owners = KeySet::of(&[old, new]);
    state.homes[home].owner = Some(new);
    Some(change)
}

pub fn add_signer(_: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    let new = state.fresh.signer;
    state.fresh.signer += 1;
    authority.signers = authority.signers.with(new);
    let change = by_owner(state, home, authority)?;
    state.homes[OTHER].signer = Some(new);
    Some(change)
}

pub fn remove_signer(_: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    authority.signers = authority.signers.without(state.homes[OTHER].signer?);
    by_owner(state, home, authority)
}

pub fn add_reader(rules: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    let identity = state.homes[home].identity;
    let mut epochs = authority.epochs.iter();
    let opens_all = epochs.all(|epoch| epoch.sealed_to.has(identity));
    if authority.readers.has(GUEST) || !opens_all {
        return None;
    }
    authority.readers = authority.readers.with(GUEST);
    if rules.keep(Rule::AdditionSealsEpochs) {
        seal_epochs(state, home, &mut authority);
    }
    by_owner(state, home, authority)
}

pub fn remove_reader(rules: Rules, state: &mut State, home: usize) -> Option<Change> {
    let mut authority = authority_of(state);
    if !authority.readers.has(GUEST) {
        return None;
    }
    authority.readers = authority.readers.without(GUEST);
    if rules.keep(Rule::RemovalBeginsEpoch) {
        seal_epochs(state, home, &mut authority);
    } else {
        seal_old_epochs(&state.homes[home], &mut authority);
    }
    by_owner(state, home, authority)
}

/// Seals the epochs to the readers, and begins another if somebody else knows the newest.
fn seal_epochs(state: &mut State, home: usize, authority: &mut Authority) {
    let is_known = restoring::is_known_to_others(authority);
    seal_old_epochs(&state.homes[home], authority);
    if is_known {
        restoring::begin_epoch(authority, state.fresh.epoch);
        state.fresh.epoch += 1;
    }
}

fn seal_old_epochs(home: &Home, authority: &mut Authority) {
    // The clean machine has the recovery key at hand.
    let identities = match home.identity {
        CLEAN_IDENTITY => KeySet::of(&[CLEAN_IDENTITY, RECOVERY]),
        own => KeySet::of(&[own]),
    };
    for epoch in &mut authority.epochs {
        if epoch.sealed_to.meets(identities) {
            epoch.sealed_to = authority.readers;
        }
    }
}

/// The next commit of a renewal: the keys of the epochs, the secret, or the unused epochs.
pub fn renew(rules: Rules, state: &mut State, home: usize) -> Option<Change> {
    let before = authority_of(state);
    let secret = state.database.head.secret;
    let mut authority = before.clone();
    if !before.is_current() {
        seal_epochs(state, home, &mut authority);
        if authority != before {
            return by_owner(state, home, authority);
        }
    }
    let newest = before.newest_epoch().key;
    let opened = before.epoch_of(secret.epoch)?;
    let is_openable = opened.sealed_to.has(state.homes[home].identity);
    if secret.epoch != newest && is_openable && rules.keep(Rule::UsedEpochsKept) {
        return Some(Change {
            authority: None,
            secret: Secret {
                epoch: newest,
                ..secret
            },
            owners: KeySet::default(),
        });
    }
    let is_kept =
        |key: Key| key == newest || key == secret.epoch && rules.keep(Rule::UsedEpochsKept);
    authority.epochs.retain(|epoch| is_kept(epoch.key));
    if authority == before {
        return None;
    }
    by_owner(state, home, authority)
}
