//! The databases that the adversary makes: earlier states, and continuations that it signs with
//! the keys that it has. `None` if it cannot make one.

use std::sync::Arc;

use super::state::{ADVERSARY, State};
use super::statements::{Authority, Checkpoint, Database, Key, KeySet, Keyring};

/// An earlier state, possibly with the keyrings of the later one.
pub fn earlier(
    state: &State,
    branch: usize,
    revision: u8,
    with_later_keyrings: bool,
) -> Option<Database> {
    let (branch, head) = place(state, branch, revision)?;
    let mut database = Database::of(head);
    if with_later_keyrings {
        database.keyrings = Arc::clone(&branch.keyrings);
    }
    (database != state.database).then_some(database)
}

/// A continuation of a journal, signed with a stolen signer, under the keyring of that number.
pub fn with_entry(
    state: &State,
    branch: usize,
    revision: u8,
    keyring: u8,
    signer: Key,
) -> Option<Database> {
    if !state.stolen.signers.has(signer) {
        return None;
    }
    let (branch, base) = place(state, branch, revision)?;
    let keyring = numbered(branch, keyring)?;
    let (before, secret) = (Arc::clone(&base.keyring), base.secret);
    let forged = Checkpoint::new(Some(base), keyring, signer, secret);
    let mut database = Database::of(forged);
    if before.number > database.keyrings.number {
        database.keyrings = before;
    }
    Some(database)
}

/// A continuation of a journal under a keyring of the adversary after that of that number.
pub fn with_keyring(state: &State, branch: usize, revision: u8, after: u8) -> Option<Database> {
    let (branch, base) = place(state, branch, revision)?;
    let keyring = forged_keyring(state, &numbered(branch, after)?);
    let secret = base.secret;
    let forged = Checkpoint::new(Some(base), keyring, ADVERSARY, secret);
    Some(Database::of(forged))
}

/// A branch, and its checkpoint at a revision.
fn place(state: &State, branch: usize, revision: u8) -> Option<(&Database, Arc<Checkpoint>)> {
    let branch = state.branches.get(branch)?;
    Some((branch, Arc::clone(branch.head.at(revision)?)))
}

fn numbered(branch: &Database, number: u8) -> Option<Arc<Keyring>> {
    let mut keyrings = branch.keyrings.back();
    keyrings.find(|keyring| keyring.number == number).cloned()
}

/// A keyring that gives all power to the adversary, signed with every owner key that it has.
fn forged_keyring(state: &State, before: &Arc<Keyring>) -> Arc<Keyring> {
    let own = KeySet::of(&[ADVERSARY]);
    let stolen = before.authority.owners.keys();
    let signed_by = stolen
        .filter(|owner| state.stolen.owners.has(*owner))
        .fold(own, KeySet::with);
    let authority = Authority {
        owners: own,
        signers: own,
        readers: before.authority.readers.with(ADVERSARY),
        epochs: before.authority.epochs.clone(),
    };
    before.next(authority, signed_by)
}
