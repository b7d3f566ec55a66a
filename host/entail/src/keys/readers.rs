//! Who may read the secrets of each organization.

use std::sync::Arc;

use entail_store::{
    Authority, Batch, Digest, Epoch, EpochKey, KeyError, Keyring, Keys, Readers, Recipient,
    RecipientError, SealError, find_recipient, with_recipient, without_recipient,
};
use serde_json::{Value, json};

use super::renewal::Renewal;
use super::renewing::Renewing;
use crate::error::Error;
use entail_decision::name::ScopePath;

/// The next list of recipients, given the present one.
pub(super) type Edit<'a> =
    dyn Fn(&[Recipient]) -> Result<Vec<Recipient>, RecipientError> + Sync + 'a;

/// A change of readers, not committed yet.
pub(super) struct ReadersChange {
    pub(super) authority: Authority,
    add_blobs: Vec<Vec<u8>>,
    remove_blobs: Vec<Digest>,
    /// The organizations whose readers or epochs change.
    pub(super) organizations: Vec<String>,
}

impl Renewing {
    /// [`StoreKeys::add_recipient`](super::StoreKeys::add_recipient).
    pub(crate) async fn add_recipient(
        &self,
        recipient: Recipient,
        organization: Option<&ScopePath>,
    ) -> Result<Renewal, Error> {
        let record = json!({
            "change": "add-recipient", "recipient": recipient.key, "label": recipient.label,
            "organization": organization,
        });
        let edit = |list: &[Recipient]| with_recipient(list, recipient.clone());
        let keys = self.store().keys();
        let keyring = self.store().keyring().await?;
        self.check_opens(keyring.authority(), organization, &keys)
            .await?;
        let changed = self
            .change_readers(&record, organization, &keys, &edit)
            .await?;
        Ok(Renewal {
            organizations: changed,
            ..Renewal::default()
        })
    }

    /// Fails unless `keys` open the secrets of an organization, or of all, so that they can be
    /// shared with a recipient.
    pub(super) async fn check_opens(
        &self,
        authority: &Authority,
        organization: Option<&ScopePath>,
        keys: &Keys,
    ) -> Result<(), Error> {
        let is_meant = |readers: &&Readers| {
            organization.is_none_or(|only| only.as_str() == readers.organization)
        };
        for readers in authority.readers.iter().filter(is_meant) {
            // Without an identity, that is the error.
            keys.own_recipients("", 0)?;
            for epoch in &readers.epochs {
                if self.open_epoch(keys, epoch).await?.is_err() {
                    return Err(Error::Invalid(format!(
                        "this machine's identity does not open the secrets of {0}, so it cannot \
                         share them; do this on a machine that opens them, or name other \
                         organizations",
                        readers.organization
                    )));
                }
            }
        }
        Ok(())
    }

    /// [`StoreKeys::remove_recipient`](super::StoreKeys::remove_recipient).
    pub(crate) async fn remove_recipient(
        &self,
        which: &str,
        organization: Option<&ScopePath>,
    ) -> Result<Renewal, Error> {
        let keyring = self.store().keyring().await?;
        self.without(keyring.authority(), which, organization)?;
        let key = named_key(keyring.authority(), which, organization)?;
        let record = json!({
            "change": "remove-recipient", "recipient": key, "organization": organization,
        });
        let edit = |list: &[Recipient]| without_recipient(list, &key);
        let keys = self.store().keys();
        let changed = self
            .change_readers(&record, organization, &keys, &edit)
            .await?;
        let renewal = self.reseal().await?;
        Ok(Renewal {
            organizations: changed,
            ..renewal
        })
    }

    /// The authority without a recipient, which must not be that of this machine's own identity.
    pub(super) fn without(
        &self,
        authority: &Authority,
        which: &str,
        organization: Option<&ScopePath>,
    ) -> Result<Authority, Error> {
        let key = named_key(authority, which, organization);
        let removed = key.and_then(|key| {
            let edit = |list: &[Recipient]| without_recipient(list, &key);
            edited(authority, organization, &edit)
        });
        let (next, _) = removed.map_err(|error| match error {
            // `which` may be a key entered by mistake, so the error quotes it safely.
            Error::Recipient(RecipientError::Unknown(_)) => {
                Error::UnknownRecipient(which.to_owned())
            }
            other => other,
        })?;
        let keys = self.store().keys();
        let loses_own = |(before, after): (&Readers, &Readers)| {
            keys.identity_ids()
                .any(|id| before.has(id) && !after.has(id))
        };
        if authority.readers.iter().zip(&next.readers).any(loses_own) {
            return Err(Error::OwnRecipient);
        }
        Ok(next)
    }

    /// Changes the recipients of an organization, or of all organizations and those that are
    /// created later. Returns the changed organizations.
    pub(super) async fn change_readers(
        &self,
        record: &Value,
        organization: Option<&ScopePath>,
        keys: &Keys,
        edit: &Edit<'_>,
    ) -> Result<Vec<String>, Error> {
        self.documents
            .until_not_contended(|| async {
                let snapshot = self.store().read(&[]).await?;
                let before = snapshot.keyring.authority();
                let (next, changed) = edited(before, organization, edit)?;
                let change = self.renewed(next, changed, keys).await?;
                let organizations = change.organizations.clone();
                if change.authority != *before {
                    self.commit_readers(&snapshot, change, record).await?;
                }
                Ok(organizations)
            })
            .await
    }

    /// Seals the keys of epochs again where recipients changed, as far as `keys` open them.
    /// Returns the organizations with keys that are sealed to exactly the present recipients now.
    pub(super) async fn renew_epochs(&self, keys: &Keys) -> Result<Vec<String>, Error> {
        self.documents
            .until_not_contended(|| async {
                let snapshot = self.store().read(&[]).await?;
                let before = snapshot.keyring.authority();
                let stale = |readers: &&Readers| !readers.is_current();
                let stale = before.readers.iter().filter(stale);
                let stale: Vec<String> = stale.map(|known| known.organization.clone()).collect();
                if stale.is_empty() || !self.signs_alone(&snapshot.keyring) {
                    return Ok(Vec::new());
                }
                let change = self.renewed(before.clone(), stale.clone(), keys).await?;
                let is_renewed = |readers: &&Readers| {
                    stale.contains(&readers.organization) && readers.is_current()
                };
                let renewed = change.authority.readers.iter().filter(is_renewed);
                let renewed = renewed
                    .map(|readers| readers.organization.clone())
                    .collect();
                if change.authority != *before {
                    let record = json!({"change": "renew-epochs"});
                    self.commit_readers(&snapshot, change, &record).await?;
                }
                Ok(renewed)
            })
            .await
    }

    /// Whether no other owner must sign a change of the keyring.
    fn signs_alone(&self, keyring: &Keyring) -> bool {
        let missing = self
            .store()
            .keys()
            .missing_owners(&keyring.authority().owners);
        missing.is_ok_and(|missing| missing == 0)
    }

    /// Removes the epochs to which no secret is sealed any more. `is_used` says whether one is.
    pub(super) async fn drop_epochs(
        &self,
        is_used: impl Fn(&str, u32) -> bool,
        expected: entail_store::Revision,
    ) -> Result<(), Error> {
        let snapshot = self.store().read(&[]).await?;
        // No reason to ask other owners.
        if snapshot.revision != expected || !self.signs_alone(&snapshot.keyring) {
            return Ok(());
        }
        let mut authority = snapshot.keyring.authority().clone();
        let mut remove_blobs = Vec::new();
        for readers in &mut authority.readers {
            let newest = readers.newest().map_or(0, |newest| newest.number);
            let organization = readers.organization.clone();
            let keep =
                |epoch: &Epoch| epoch.number == newest || is_used(&organization, epoch.number);
            let dropped = readers.epochs.iter().filter(|epoch| !keep(epoch));
            remove_blobs.extend(dropped.map(|epoch| epoch.sealed));
            readers.epochs.retain(keep);
        }
        if remove_blobs.is_empty() {
            return Ok(());
        }
        let change = ReadersChange {
            authority,
            add_blobs: Vec::new(),
            remove_blobs,
            organizations: Vec::new(),
        };
        let record = json!({"change": "drop-epochs"});
        match self.commit_readers(&snapshot, change, &record).await {
            // The next renewal does it.
            Err(Error::Contended) => Ok(()),
            committed => committed,
        }
    }

    /// Renews the epochs of `organizations` in `authority` for their recipients.
    pub(super) async fn renewed(
        &self,
        mut authority: Authority,
        organizations: Vec<String>,
        keys: &Keys,
    ) -> Result<ReadersChange, Error> {
        let mut add_blobs = Vec::new();
        let mut remove_blobs = Vec::new();
        for readers in &mut authority.readers {
            if !organizations.contains(&readers.organization) {
                continue;
            }
            let mut opened = Vec::new();
            for epoch in &readers.epochs {
                opened.push((epoch.sealed, self.open_epoch(keys, epoch).await?.ok()));
            }
            let before = readers.clone();
            let renewed = before
                .clone()
                .renewed(|epoch| {
                    let mut opened = opened.iter();
                    let found = opened.find(|(sealed, _)| *sealed == epoch.sealed);
                    found.and_then(|(_, key)| key.clone())
                })
                .map_err(entail_store::Error::Seal)?;
            let kept = |epoch: &&Epoch| {
                let mut epochs = renewed.readers.epochs.iter();
                !epochs.any(|now| now.sealed == epoch.sealed)
            };
            let replaced = before.epochs.iter().filter(kept);
            remove_blobs.extend(replaced.map(|epoch| epoch.sealed));
            add_blobs.extend(renewed.add_blobs);
            *readers = renewed.readers;
        }
        Ok(ReadersChange {
            authority,
            add_blobs,
            remove_blobs,
            organizations,
        })
    }

    async fn commit_readers(
        &self,
        snapshot: &entail_store::Snapshot,
        change: ReadersChange,
        record: &Value,
    ) -> Result<(), Error> {
        let mut draft = snapshot.keyring.next();
        draft.authority = change.authority;
        let batch = Batch {
            keyring: Some(draft.into()),
            add_blobs: change.add_blobs,
            remove_blobs: change.remove_blobs,
            ..Batch::default()
        };
        self.commit(snapshot.revision, batch, record).await
    }

    /// Opens the key of an epoch with `keys`. Without an identity, none opens.
    pub(super) async fn open_epoch(
        &self,
        keys: &Keys,
        epoch: &Epoch,
    ) -> Result<Result<Arc<EpochKey>, SealError>, Error> {
        if let Some(key) = self.opened_epoch(epoch) {
            return Ok(Ok(key));
        }
        let sealed = self.store().blob(&epoch.sealed).await?;
        match keys.open_epoch(&sealed, epoch) {
            Ok(Ok(key)) => {
                let key = Arc::new(key);
                self.keep_epoch(epoch, &key);
                Ok(Ok(key))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(KeyError::NoIdentity | KeyError::Locked) => Ok(Err(SealError::NotForThisIdentity)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The organizations with secrets that the identities of `keys` do not open. Without an unlocked
/// identity, these are all.
pub(crate) fn unreadable(authority: &Authority, keys: &Keys) -> Vec<String> {
    let is_open = |epoch: &Epoch| {
        let mut own = keys.identity_ids();
        own.any(|id| epoch.sealed_to.iter().any(|to| to == id))
    };
    let all = authority.readers.iter();
    all.filter(|readers| !readers.epochs.iter().all(is_open))
        .map(|readers| readers.organization.clone())
        .collect()
}

/// The key of the recipient that `which` names: its label, key or fingerprint. One recipient may
/// have several labels, and has one key.
fn named_key(
    authority: &Authority,
    which: &str,
    organization: Option<&ScopePath>,
) -> Result<String, Error> {
    let is_meant =
        |readers: &&Readers| organization.is_none_or(|only| only.as_str() == readers.organization);
    let meant = authority.readers.iter().filter(is_meant);
    let mut all: Vec<Recipient> = meant
        .flat_map(|readers| readers.recipients.clone())
        .collect();
    if organization.is_none() {
        all.extend(authority.default_recipients.iter().cloned());
    }
    all.sort_by(|one, other| (&one.key, &one.label).cmp(&(&other.key, &other.label)));
    all.dedup_by(|one, other| (&one.key, &one.label) == (&other.key, &other.label));
    Ok(find_recipient(&all, which)?.key.clone())
}

/// Applies `edit` to the recipients of one organization, or of all and the defaults. Those to which
/// it does not apply (a duplicate, an unknown recipient) stay as they are, unless it applies to
/// none. Also returns the changed organizations.
pub(super) fn edited(
    authority: &Authority,
    organization: Option<&ScopePath>,
    edit: &Edit<'_>,
) -> Result<(Authority, Vec<String>), Error> {
    let mut next = authority.clone();
    let mut changed = Vec::new();
    let mut is_applied = false;
    let mut inapplicable = None;
    let mut apply = |list: &mut Vec<Recipient>| -> Result<bool, Error> {
        match edit(list) {
            Ok(edited) => {
                is_applied = true;
                let is_changed = *list != edited;
                *list = edited;
                Ok(is_changed)
            }
            Err(error @ (RecipientError::Duplicate(_) | RecipientError::Unknown(_))) => {
                inapplicable = Some(error);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    };
    if organization.is_none() {
        apply(&mut next.default_recipients)?;
    }
    let mut is_known = organization.is_none();
    for readers in &mut next.readers {
        let is_meant = organization.is_none_or(|only| only.as_str() == readers.organization);
        is_known |= is_meant;
        if is_meant && apply(&mut readers.recipients)? {
            changed.push(readers.organization.clone());
        }
    }
    match (organization, inapplicable) {
        (Some(only), _) if !is_known => Err(Error::UnknownScope(only.clone())),
        (_, Some(error)) if !is_applied => Err(error.into()),
        _ => Ok((next, changed)),
    }
}
