//! What machines and the adversary do. Each action is one step, and either done or refused.

use std::sync::Arc;

use super::adversary;
use super::changes::{self, Change};
use super::home::Home;
use super::properties::{judge_clean_restore, judge_read, judge_restore, judge_sealing};
use super::reading::Fault;
use super::restoring::{self, FreshKeys, Receipt};
use super::rules::Rules;
use super::state::{ADMIN, CLEAN_IDENTITY, OTHER, RECOVERY, State};
use super::statements::{Checkpoint, Database, Key};

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A machine reads in a new process.
    Read(usize),
    /// The running process of a machine reads.
    Poll(usize),
    /// A machine replaces the secret.
    Write(usize),
    RotateSigner,
    /// The other machine gets a signer.
    AddSigner,
    RemoveSigner,
    RotateOwner,
    AddReader,
    RemoveReader,
    /// A machine renews what a change of readers left behind, one commit at a time.
    Renew(usize),
    BackUp,
    /// The receipt of the recovery key is renewed.
    Receipt,
    /// The admin restores a backup over its store.
    Restore(Source),
    /// A clean machine is set up from a backup and the recovery key.
    RestoreClean(Source),
    StealSigner(usize),
    StealOwner,
    /// The adversary puts an earlier state in the place of the database, possibly with the
    /// keyrings of the later state.
    Replace {
        branch: usize,
        revision: u8,
        with_later_keyrings: bool,
    },
    /// The adversary continues a journal with a stolen signer, under the keyring of that number.
    Forge {
        branch: usize,
        revision: u8,
        keyring: u8,
        signer: Key,
    },
    /// The adversary continues a journal with a keyring of its own after that of that number.
    ForgeKeyring {
        branch: usize,
        revision: u8,
        after: u8,
    },
}

/// Where a backup comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A backup that a machine made.
    Backup(usize),
    /// The newest state of a branch, which the adversary gave to the machine.
    Branch(usize),
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The database was refused.
    Refused(Fault),
    /// The database was accepted, but the action is not allowed.
    NotAllowed,
    /// The store says that the state comes from another machine's restore. The model refuses it
    /// as stale or forged.
    RestoredElsewhere,
}

/// Takes an action. `None` if there is nothing that it could apply to.
pub fn step(rules: Rules, state: &State, action: Action) -> Option<(State, Outcome)> {
    let mut next = state.clone();
    let outcome = match action {
        Action::Read(home) => read(rules, &mut next, home)?,
        Action::Poll(home) => {
            let database = next.database.clone();
            let found = next.homes.get_mut(home)?;
            match found.poll(rules, &database) {
                Ok(()) => accept(&mut next, home),
                Err(fault) => Outcome::Refused(fault),
            }
        }
        Action::BackUp => {
            let outcome = read(rules, &mut next, ADMIN)?;
            if outcome == Outcome::Done {
                if next.database.keyrings != next.database.head.keyring {
                    return Some((next, Outcome::NotAllowed));
                }
                next.backups.push(next.database.clone());
            }
            outcome
        }
        Action::Receipt => {
            let outcome = read(rules, &mut next, ADMIN)?;
            if outcome == Outcome::Done {
                let checkpoint = Arc::clone(&next.database.head);
                let owners = checkpoint.keyring.authority.owners;
                next.receipt = Receipt { owners, checkpoint };
            }
            outcome
        }
        Action::Write(home) => {
            next.homes.get(home)?.signer?;
            commit(rules, &mut next, home, changes::write)?
        }
        Action::Renew(home) => {
            let found = next.homes.get(home)?;
            found.owner.and(found.signer)?;
            commit(rules, &mut next, home, changes::renew)?
        }
        Action::RotateSigner => commit(rules, &mut next, ADMIN, changes::rotate_signer)?,
        Action::AddSigner => {
            let signers = next.database.head.keyring.authority.signers;
            let own = next.homes.get(OTHER)?.signer;
            if own.is_some_and(|own| signers.has(own)) {
                return None;
            }
            commit(rules, &mut next, ADMIN, changes::add_signer)?
        }
        Action::RemoveSigner => {
            let own = next.homes.get(OTHER)?.signer?;
            let signers = next.database.head.keyring.authority.signers;
            if !signers.has(own) {
                return None;
            }
            commit(rules, &mut next, ADMIN, changes::remove_signer)?
        }
        Action::RotateOwner => commit(rules, &mut next, ADMIN, changes::rotate_owner)?,
        Action::AddReader => commit(rules, &mut next, ADMIN, changes::add_reader)?,
        Action::RemoveReader => commit(rules, &mut next, ADMIN, changes::remove_reader)?,
        Action::Restore(source) => restore(rules, &mut next, source)?,
        Action::RestoreClean(source) => restore_clean(rules, &mut next, source)?,
        Action::StealSigner(home) => {
            let signer = next.homes.get(home)?.signer?;
            if next.stolen.signers.has(signer) {
                return None;
            }
            next.stolen.signers = next.stolen.signers.with(signer);
            Outcome::Done
        }
        Action::StealOwner => {
            let owner = next.homes.get(ADMIN)?.owner?;
            if next.stolen.owners.has(owner) {
                return None;
            }
            next.stolen.owners = next.stolen.owners.with(owner);
            Outcome::Done
        }
        Action::Replace {
            branch,
            revision,
            with_later_keyrings,
        } => {
            let earlier = adversary::earlier(state, branch, revision, with_later_keyrings)?;
            next.replace_database(earlier);
            Outcome::Done
        }
        Action::Forge {
            branch,
            revision,
            keyring,
            signer,
        } => {
            let forged = adversary::with_entry(state, branch, revision, keyring, signer)?;
            next.replace_database(forged);
            Outcome::Done
        }
        Action::ForgeKeyring {
            branch,
            revision,
            after,
        } => {
            let forged = adversary::with_keyring(state, branch, revision, after)?;
            next.replace_database(forged);
            Outcome::Done
        }
    };
    Some((next, outcome))
}

/// A read by a new process of a machine.
fn read(rules: Rules, state: &mut State, home: usize) -> Option<Outcome> {
    let database = state.database.clone();
    Some(match state.homes.get_mut(home)?.read(rules, &database) {
        Ok(()) => accept(state, home),
        Err(fault) => Outcome::Refused(fault),
    })
}

fn accept(state: &mut State, home: usize) -> Outcome {
    let violation = judge_read(&mut state.homes[home].memory, &state.database);
    state.violate(violation);
    Outcome::Done
}

/// Reads the database, and commits a change.
fn commit(
    rules: Rules,
    state: &mut State,
    home: usize,
    change: fn(Rules, &mut State, usize) -> Option<Change>,
) -> Option<Outcome> {
    if let refused @ Outcome::Refused(_) = read(rules, state, home)? {
        return Some(refused);
    }
    let before = state.clone();
    let head = Arc::clone(&state.database.head);
    let Some(change) = change(rules, state, home) else {
        *state = before;
        return Some(Outcome::NotAllowed);
    };
    let keyring = match change.authority {
        Some(authority) => head.keyring.next(authority, change.owners),
        None => Arc::clone(&head.keyring),
    };
    // The number of the next keyring may be taken by one that no checkpoint names.
    let is_dangling = state.database.keyrings != head.keyring;
    let is_free = keyring == head.keyring || !is_dangling;
    if !is_free || !state.homes[home].signs(&keyring) {
        *state = before;
        return Some(Outcome::NotAllowed);
    }
    if change.secret != head.secret {
        let violation = judge_sealing(&state.homes[home].memory, &keyring);
        state.violate(violation);
    }
    let signer = state.homes[home].signer?;
    let after = Checkpoint::new(Some(head), keyring, signer, change.secret);
    let mut database = Database::of(Arc::clone(&after));
    if is_dangling {
        database.keyrings = Arc::clone(&state.database.keyrings);
    }
    state.replace_database(database);
    state.homes[home].advance(&after);
    state.homes[home].memory.remember(&after);
    Some(Outcome::Done)
}

fn source(state: &State, source: Source) -> Option<Database> {
    match source {
        Source::Backup(number) => state.backups.get(number).cloned(),
        Source::Branch(number) => state.branches.get(number).cloned(),
    }
}

fn fresh_keys(state: &mut State) -> FreshKeys {
    let fresh = FreshKeys {
        epoch: state.fresh.epoch,
        lineage: state.fresh.lineage,
    };
    state.fresh.epoch += 1;
    state.fresh.lineage += 1;
    fresh
}

fn restore(rules: Rules, state: &mut State, from: Source) -> Option<Outcome> {
    let backup = source(state, from)?;
    let fresh = fresh_keys(state);
    let home = &state.homes[ADMIN];
    let present = state.database.clone();
    let Some(restored) = restoring::in_place(rules, home, &present, &backup, fresh) else {
        return Some(Outcome::NotAllowed);
    };
    let head = Arc::clone(&restored.head);
    let violation = judge_restore(&home.memory, &present, &backup, &head.keyring);
    state.violate(violation);
    state.replace_database(restored);
    state.homes[ADMIN].restore(&head);
    state.is_restored = true;
    Some(Outcome::Done)
}

fn restore_clean(rules: Rules, state: &mut State, from: Source) -> Option<Outcome> {
    let backup = source(state, from)?;
    if state.homes.len() > 2 {
        return None;
    }
    let fresh = fresh_keys(state);
    let (owner, signer) = (state.fresh.owner, state.fresh.signer);
    state.fresh.owner += 1;
    state.fresh.signer += 1;
    let new = Home::new(Some(owner), Some(signer), CLEAN_IDENTITY, &backup.head);
    let receipt = &state.receipt;
    let restored = restoring::on_clean_machine(rules, &new, &backup, receipt, RECOVERY, fresh);
    let Some(restored) = restored else {
        return Some(Outcome::NotAllowed);
    };
    let violation = judge_clean_restore(&state.receipt, &backup);
    state.violate(violation);
    let head = Arc::clone(&restored.head);
    state.replace_database(restored);
    state
        .homes
        .push(Home::new(Some(owner), Some(signer), CLEAN_IDENTITY, &head));
    state.is_restored = true;
    Some(Outcome::Done)
}
