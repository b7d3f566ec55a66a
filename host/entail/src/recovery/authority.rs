//! Who may change and read a restored store.
//!
//! That is carried over from the present state, so a restore brings back no key and no reader that
//! was removed since.

use entail_store::{
    Authority, Epoch, History, JournalPosition, Keyring, Proposal, ProposalError, Readers,
    Recipient,
};

use crate::error::Error;
use crate::keys::proposals::ProposedRestore;

/// The present authority over a restored store: the organizations and epochs of the backup, with
/// the present readers. Also returns the files of the epochs that begin.
pub(super) fn carried_over(
    present: &Authority,
    history: &History,
) -> Result<(Authority, Vec<Vec<u8>>), Error> {
    let mut authority = present.clone();
    authority.readers.clear();
    let mut add_blobs = Vec::new();
    for before in &history.keyring().authority().readers {
        let mut known = present.readers.iter();
        let now = known.find(|now| now.organization == before.organization);
        let now = now.cloned().unwrap_or_else(|| returning(before, present));
        let restored = before.clone().restored(&now);
        let restored = restored.map_err(entail_store::Error::Seal)?;
        authority.readers.push(restored.readers);
        add_blobs.extend(restored.add_blobs);
    }
    Ok((authority, add_blobs))
}

/// The readers of an organization of the backup that does not exist at present, after an earlier
/// restore. Only recipients that are still known come back: the others may have been removed before
/// that restore.
fn returning(before: &Readers, present: &Authority) -> Readers {
    let all = present.readers.iter().map(|readers| &readers.recipients);
    let known: Vec<&Recipient> = all.chain([&present.default_recipients]).flatten().collect();
    let is_known = |recipient: &&Recipient| known.iter().any(|known| known.key == recipient.key);
    let mut recipients: Vec<Recipient> =
        before.recipients.iter().filter(is_known).cloned().collect();
    if recipients.is_empty() {
        recipients.clone_from(&present.default_recipients);
    }
    Readers {
        recipients,
        epochs: Vec::new(),
        ..before.clone()
    }
}

/// The labels of the readers of `before` that are not among those of `now`.
pub(super) fn removed_labels(before: &Authority, now: &Authority) -> Vec<String> {
    let mut labels = Vec::new();
    for readers in &before.readers {
        let mut all = now.readers.iter();
        let now = all.find(|now| now.organization == readers.organization);
        let removed = readers
            .recipients
            .iter()
            .filter(|recipient| now.is_none_or(|now| !now.has(&recipient.id())));
        labels.extend(removed.map(|recipient| recipient.label.clone()));
    }
    labels.sort();
    labels.dedup();
    labels
}

/// Fails unless a proposal is for this restore: it names the backup, follows `newest`, gives the
/// same power as `expected`, and contains the keys of the epochs that begin, which are new for each restore.
pub(super) fn check_proposed(
    proposal: &Proposal,
    newest: &Keyring,
    expected: &Authority,
    backup: JournalPosition,
) -> Result<(), Error> {
    let proposed = ProposedRestore::of(proposal).ok_or(ProposalError::NoRestore)?;
    if proposed.position() != backup {
        return Err(ProposalError::OtherBackup {
            revision: proposed.backup,
        }
        .into());
    }
    let without_epochs = |authority: &Authority| {
        let mut authority = authority.clone();
        for readers in &mut authority.readers {
            readers.epochs.clear();
        }
        authority
    };
    let found = proposal.keyring().authority();
    if proposal.previous().digest() != newest.digest()
        || without_epochs(found) != without_epochs(expected)
    {
        return Err(ProposalError::Outdated.into());
    }
    let epochs = |authority: &Authority| -> Vec<Epoch> {
        let all = authority.readers.iter();
        all.flat_map(|readers| readers.epochs.clone()).collect()
    };
    let expected = epochs(expected);
    let begun = epochs(found);
    let mut begun = begun.iter().filter(|epoch| !expected.contains(epoch));
    if begun.all(|epoch| proposal.adds_blob(&epoch.sealed)) {
        Ok(())
    } else {
        Err(ProposalError::Outdated.into())
    }
}
