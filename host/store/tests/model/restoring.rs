//! Restores: of a backup over the store of a machine, and on a clean machine. The checks are
//! those of `import_over` and `Trust::check` in the crate `entail`.

use std::sync::Arc;

use super::home::Home;
use super::reading::{descends_from, is_consistent, is_owned_by};
use super::rules::{Rule, Rules};
use super::statements::{Authority, Checkpoint, Database, Epoch, Key, KeySet, Keyring, Position};

/// The numbers of keys that a restore may generate.
#[derive(Clone, Copy, Debug)]
pub struct FreshKeys {
    pub epoch: Key,
    pub lineage: u8,
}

/// What is known of a store: it stands with the recovery key.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Receipt {
    pub owners: KeySet,
    pub checkpoint: Arc<Checkpoint>,
}

impl Receipt {
    fn position(&self) -> Position {
        self.checkpoint.position
    }
}

/// Restores `backup` over the store of `home`, which finds `present`. `None` if the backup is
/// not trusted.
pub fn in_place(
    rules: Rules,
    home: &Home,
    present: &Database,
    backup: &Database,
    fresh: FreshKeys,
) -> Option<Database> {
    let is_present_usable = is_consistent(present) && descends_from(present, &home.trusted);
    let is_earlier_state = is_present_usable && present.head.has(backup.head.position);
    let is_trusted = is_earlier_state
        || is_signed_by_present_keys(backup, &home.trusted)
        || !rules.keep(Rule::RestoreTrustsPresentKeys);
    if !is_complete(backup) || !is_trusted || !opens(backup, home.identity) {
        return None;
    }
    let own = match is_present_usable {
        true => &present.head.keyring,
        false => &home.trusted,
    };
    let newest = match descends_from(backup, own) {
        true => &backup.head.keyring,
        false => own,
    };
    let mut authority = carried_over(rules, &newest.authority, &backup.head.keyring.authority);
    let is_other_epoch = match rules.keep(Rule::RestoreComparesEpochs) {
        true => newest.authority.newest_epoch() != authority.newest_epoch(),
        false => is_known_to_others(&authority),
    };
    if is_other_epoch && rules.keep(Rule::RestoreBeginsEpoch) {
        begin_epoch(&mut authority, fresh.epoch);
    }
    // The keyrings of the present state that come after those of the backup are kept.
    let present = match rules.keep(Rule::RestoreTakesProvenKeyrings) {
        true => &present.head.keyring,
        false => &present.keyrings,
    };
    let before = match is_present_usable && present.descends_from(backup.keyrings.digest) {
        true => present,
        false => &backup.head.keyring,
    };
    begin_lineage(home, before, &backup.head, authority, fresh)
}

/// Restores `backup` on a clean machine with the keys of `home`.
pub fn on_clean_machine(
    rules: Rules,
    home: &Home,
    backup: &Database,
    receipt: &Receipt,
    recovery: Key,
    fresh: FreshKeys,
) -> Option<Database> {
    let is_contained = backup.head.has(receipt.position()) || !rules.keep(Rule::ReceiptContained);
    let is_owned = is_owned_by(backup, receipt.owners) || !rules.keep(Rule::ReceiptOwners);
    if !is_complete(backup) || !is_contained || !is_owned || !opens(backup, recovery) {
        return None;
    }
    let mut authority = backup.head.keyring.authority.clone();
    authority.owners = KeySet::of(&[home.owner?]);
    authority.signers = KeySet::of(&[home.signer?]);
    authority.readers = authority.readers.with(home.identity);
    if is_known_to_others(&authority) {
        begin_epoch(&mut authority, fresh.epoch);
    }
    begin_lineage(home, &backup.head.keyring, &backup.head, authority, fresh)
}

fn begin_lineage(
    home: &Home,
    before: &Arc<Keyring>,
    head: &Arc<Checkpoint>,
    authority: Authority,
    fresh: FreshKeys,
) -> Option<Database> {
    let signed_by = KeySet::of(&[home.owner?]);
    let keyring = Keyring::new(
        Some(Arc::clone(before)),
        fresh.lineage,
        authority,
        signed_by,
    );
    if !home.owns(&keyring) || !home.signs(&keyring) {
        return None;
    }
    let previous = Some(Arc::clone(head));
    let restored = Checkpoint::new(previous, keyring, home.signer?, head.secret);
    Some(Database::of(restored))
}

/// Whether a backup is consistent, and its list of keyrings ends with the one in force.
fn is_complete(backup: &Database) -> bool {
    is_consistent(backup)
        && backup.keyrings == backup.head.keyring
        && backup.keyrings.back().all(|keyring| keyring.is_signed())
}

fn is_signed_by_present_keys(backup: &Database, own: &Keyring) -> bool {
    let signers = backup.head.keyring.authority.signers;
    descends_from(backup, own)
        || signers.is_within(own.authority.signers) && is_owned_by(backup, own.authority.owners)
}

fn opens(backup: &Database, identity: Key) -> bool {
    let mut epochs = backup.head.keyring.authority.epochs.iter();
    epochs.any(|epoch| epoch.sealed_to.has(identity))
}

/// The present authority with the epochs of the backup.
fn carried_over(rules: Rules, present: &Authority, backup: &Authority) -> Authority {
    let mut authority = Authority {
        epochs: backup.epochs.clone(),
        ..present.clone()
    };
    if !rules.keep(Rule::RestoreKeepsReaders) {
        authority.readers = backup.readers;
    }
    if !rules.keep(Rule::RestoreKeepsSigners) {
        authority.signers = authority.signers.and(backup.signers);
        authority.owners = authority.owners.and(backup.owners);
    }
    authority
}

/// Whether the newest epoch is sealed to somebody who is no reader.
pub fn is_known_to_others(authority: &Authority) -> bool {
    !authority
        .newest_epoch()
        .sealed_to
        .is_within(authority.readers)
}

pub fn begin_epoch(authority: &mut Authority, key: Key) {
    authority.epochs.push(Epoch {
        number: authority.newest_epoch().number + 1,
        key,
        sealed_to: authority.readers,
    });
}
