//! How a machine reads the database: the checks of `JournalHead::advance`, of the keyring chain
//! and of `History`.

use std::sync::Arc;

use super::rules::{Rule, Rules};
use super::statements::{Checkpoint, Database, KeySet, Keyring, Position};

/// Why a database is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    Stale,
    Forged,
}

/// Where a reader begins.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Start {
    pub position: Position,
    /// The keyring in force at the position, or the one that the machine trusts.
    pub keyring: Arc<Keyring>,
    /// Whether the process has verified the checkpoint at the position itself.
    pub is_verified: bool,
}

/// Verifies a database from `start` to its end.
pub fn read(
    rules: Rules,
    start: &Start,
    anchored: Position,
    database: &Database,
) -> Result<(), Fault> {
    let is_same = |row: &Checkpoint, position: Position| {
        row.position == position || !rules.keep(Rule::AnchorNamesCheckpoint)
    };
    let head = &database.head;
    if anchored.revision <= start.position.revision
        && rules.keep(Rule::ProcessReadsAnchoredEntry)
        && rules.keep(Rule::ProcessReadsAnchor)
    {
        let row = head.at(anchored.revision).ok_or(Fault::Stale)?;
        if !is_same(row, anchored) {
            return Err(Fault::Forged);
        }
    }
    let row = head.at(start.position.revision).ok_or(Fault::Stale)?;
    if !is_same(row, start.position) {
        return Err(Fault::Forged);
    }
    let mut keyring = &start.keyring;
    let mut is_trusted = false;
    if !start.is_verified && row.keyring.digest != keyring.digest {
        check_trust(rules, database, &start.keyring)?;
        is_trusted = true;
        keyring = database.keyring(row.keyring.digest).ok_or(Fault::Forged)?;
    }
    for row in head.after(start.position.revision) {
        if row.keyring.digest != keyring.digest {
            if !is_trusted {
                check_trust(rules, database, &start.keyring)?;
                is_trusted = true;
            }
            let found = database.keyring(row.keyring.digest).ok_or(Fault::Forged)?;
            if found.number < keyring.number && rules.keep(Rule::KeyringsAdvance) {
                return Err(Fault::Forged);
            }
            keyring = found;
        }
        if !signers(rules, keyring).has(row.signed_by) {
            return Err(Fault::Forged);
        }
        if row.position.revision == anchored.revision && !is_same(row, anchored) {
            return Err(Fault::Forged);
        }
    }
    if head.position.revision < anchored.revision {
        return Err(Fault::Stale);
    }
    if head.position.revision == anchored.revision && !is_same(head, anchored) {
        return Err(Fault::Forged);
    }
    Ok(())
}

/// The signers that count under a keyring.
fn signers(rules: Rules, keyring: &Arc<Keyring>) -> KeySet {
    if rules.keep(Rule::FormerSignersEnd) {
        return keyring.authority.signers;
    }
    keyring.back().fold(KeySet::default(), |all, known| {
        all.and(known.authority.signers)
    })
}

/// Fails unless the database contains the trusted keyring, and the owners made each later one
/// the next.
fn check_trust(rules: Rules, database: &Database, trusted: &Keyring) -> Result<(), Fault> {
    let is_known = database.keyring(trusted.digest).is_some();
    if !is_known && rules.keep(Rule::TrustedKeyringRequired) {
        return Err(Fault::Forged);
    }
    if !rules.keep(Rule::KeyringsFollowed) {
        return Err(Fault::Forged);
    }
    let later = database.keyrings.back();
    let mut later = later.take_while(|keyring| keyring.number > trusted.number);
    let is_followed =
        later.all(|keyring| keyring.follows_previous() || !rules.keep(Rule::OwnersSignKeyrings));
    match is_followed {
        true => Ok(()),
        false => Err(Fault::Forged),
    }
}

/// Whether a copy is consistent with itself, whoever signed it.
pub fn is_consistent(database: &Database) -> bool {
    let mut number = 0;
    database.head.after(0).into_iter().all(|row| {
        let found = database.keyring(row.keyring.digest);
        found.is_some_and(|keyring| {
            let is_later = keyring.number >= number;
            number = keyring.number;
            is_later && keyring.authority.signers.has(row.signed_by)
        })
    })
}

/// Whether the newest checkpoint is under `trusted`, or under a keyring that its owners
/// authorized through an unbroken chain.
pub fn descends_from(database: &Database, trusted: &Keyring) -> bool {
    database.keyring(trusted.digest).is_some() && is_endorsed_from(database, trusted.number)
}

/// Whether one of `owners` signed a keyring of theirs, from which an unbroken chain leads to the
/// newest checkpoint.
pub fn is_owned_by(database: &Database, owners: KeySet) -> bool {
    database.keyrings.back().any(|keyring| {
        let own = keyring.authority.owners;
        keyring.is_signed()
            && own
                .keys()
                .any(|key| keyring.signed_by.has(key) && owners.has(key))
            && is_endorsed_from(database, keyring.number)
    })
}

fn is_endorsed_from(database: &Database, number: u8) -> bool {
    let end = &database.head.keyring;
    number <= end.number
        && end
            .back()
            .take_while(|keyring| keyring.number > number)
            .all(|keyring| keyring.follows_previous())
}
