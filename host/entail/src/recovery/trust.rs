//! Which backups are trusted.
//!
//! A backup is trusted if its history leads from a keyring that is trusted, by signatures of
//! owners alone, to the keyring that is in force at its end.

use std::path::Path;

use entail_store::{History, KeyId, Keyring, Receipt, Revision};

use crate::error::Error;

/// Which backups are trusted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Trusted owners: a store is trusted if enough of its owners are among them.
    pub owners: Vec<KeyId>,
    /// What is known of the store: a backup must contain each of these states. Its owners are
    /// trusted if all receipts name them, and as many must have signed as the receipt that requires
    /// the most: each may be from another person, who has a share of a recovery key.
    pub receipts: Vec<Receipt>,
    /// The oldest revision to accept, instead of those of the receipts.
    pub at_least: Option<Revision>,
}

impl Trust {
    /// Fails unless a backup is trusted, and new enough. `own` is the keyring that this machine
    /// trusts.
    pub(super) fn check(
        &self,
        history: &History,
        own: Option<&Keyring>,
        backup: &Path,
    ) -> Result<(), Error> {
        let shown = backup.display();
        let is_other = |receipt: &Receipt| receipt.store != history.store();
        if self.receipts.iter().any(is_other) {
            return Err(of_another_store(backup));
        }
        let is_own = own.is_some_and(|own| is_signed_by_present_keys(history, own));
        if !is_own
            && !history.is_owned_by(&self.owners, 1)
            && !self.is_owned_as_receipts_say(history)
        {
            let is_same_store = own.is_some_and(|own| own.store() == history.store());
            let differ = self.receipts.iter().any(|receipt| {
                self.receipts
                    .first()
                    .is_some_and(|first| first.owners != receipt.owners)
            });
            let reason = if differ {
                "is a backup of a store whose owners are not trusted: not all shares name them; \
                 compare the lines # owner in their files"
            } else if is_same_store {
                "is not an earlier state of the present store, and a key that was removed since \
                 may have signed it"
            } else {
                "is a backup of a store whose owners are not trusted"
            };
            let signed_by = history.signed_by().into_iter();
            return Err(Error::Untrusted {
                message: format!("{shown} {reason}"),
                owners: signed_by.map(|owner| owner.to_string()).collect(),
            });
        }
        self.check_age(history, backup)
    }

    /// Whether enough owners signed a backup: only owners that all receipts name count, and the
    /// receipt that requires the most decides how many are enough.
    fn is_owned_as_receipts_say(&self, history: &History) -> bool {
        let Some((first, others)) = self.receipts.split_first() else {
            return false;
        };
        let mut owners = first.owners.clone();
        owners.retain(|owner| others.iter().all(|other| other.owners.contains(owner)));
        let required = self.receipts.iter().map(|receipt| receipt.required).max();
        required.is_some_and(|required| history.is_owned_by(&owners, required))
    }

    /// Fails unless a backup is new enough.
    pub(super) fn check_age(&self, history: &History, backup: &Path) -> Result<(), Error> {
        let shown = backup.display();
        let untrusted = |message: String| Error::Untrusted {
            message,
            owners: Vec::new(),
        };
        let found = history.position().revision;
        if let Some(required) = self.at_least
            && found < required
        {
            return Err(untrusted(format!(
                "{shown} is at revision {found}, and at least {required} is required"
            )));
        }
        let required = self.receipts.iter().map(|receipt| receipt.position);
        let missing = required
            .filter(|position| self.at_least.is_none_or(|least| least >= position.revision))
            .find(|position| !history.has(*position));
        match missing {
            Some(position) => Err(untrusted(format!(
                "{shown} (revision {found}) does not contain the state that the recovery key \
                 names (revision {}); to accept an older or another state, add \
                 --at-least with a lower revision",
                position.revision
            ))),
            None => Ok(()),
        }
    }
}

/// Whether keys that have power now signed a backup: it is under the keyring `own` or a later one,
/// or under one that as many of the present owners signed as must sign now, and that names no
/// signer that was removed or limited since.
fn is_signed_by_present_keys(history: &History, own: &Keyring) -> bool {
    let owners = &own.authority().owners;
    let present: Vec<KeyId> = owners.ids().collect();
    let mut signers = history.keyring().authority().signers.iter();
    history.descends_from(own)
        || history.store() == own.store()
            && signers.all(|signer| own.covers(signer))
            && history.is_owned_by(&present, owners.threshold)
}

/// The error that a backup is of another store than the recovery key.
pub(super) fn of_another_store(backup: &Path) -> Error {
    Error::Untrusted {
        message: format!(
            "{} is a backup of another store than the one that the recovery key belongs to",
            backup.display()
        ),
        owners: Vec::new(),
    }
}
