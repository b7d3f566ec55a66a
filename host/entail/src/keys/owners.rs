//! The owner keys, and how many of them must sign a change of keys and recipients.

use entail_store::{Authority, KeyId, LabelledKey, Owners, check_label};
use serde_json::json;

use super::renewing::Renewing;
use crate::error::Error;

impl Renewing {
    /// [`StoreKeys::add_owner`](super::StoreKeys::add_owner).
    pub(crate) async fn add_owner(
        &self,
        owner: LabelledKey,
        required: Option<usize>,
    ) -> Result<(), Error> {
        let record = json!({
            "change": "add-owner",
            "owner": owner.key.id().to_string(),
            "label": owner.label,
            "required": required,
        });
        self.change_authority(&record, |authority| {
            with_owner(authority, owner.clone(), required)
        })
        .await
    }

    /// [`StoreKeys::remove_owner`](super::StoreKeys::remove_owner).
    pub(crate) async fn remove_owner(
        &self,
        which: &str,
        required: Option<usize>,
    ) -> Result<(), Error> {
        let record = json!({"change": "remove-owner", "owner": which, "required": required});
        self.change_authority(&record, |authority| {
            without_owner(authority, which, required)
        })
        .await
    }

    /// [`StoreKeys::require_owners`](super::StoreKeys::require_owners).
    pub(crate) async fn require_owners(&self, required: usize) -> Result<(), Error> {
        let record = json!({"change": "require-owners", "required": required});
        self.change_authority(&record, |authority| requiring(authority, required))
            .await
    }
}

/// The authority with one more owner.
pub(super) fn with_owner(
    authority: &Authority,
    owner: LabelledKey,
    required: Option<usize>,
) -> Result<Authority, Error> {
    check_label(&owner.label)?;
    let id = owner.key.id();
    let mut keys = authority.owners.keys.clone();
    if keys.iter().any(|known| known.key.id() == id) {
        return Err(Error::OwnerExists(id.to_string()));
    }
    keys.push(owner);
    with_owners(authority, keys, required)
}

/// The authority without the owner of that fingerprint or label.
pub(super) fn without_owner(
    authority: &Authority,
    which: &str,
    required: Option<usize>,
) -> Result<Authority, Error> {
    let is_meant =
        |owner: &LabelledKey| owner.label == which || owner.key.id().to_string() == which;
    let (meant, kept): (Vec<LabelledKey>, Vec<LabelledKey>) =
        authority.owners.keys.iter().cloned().partition(is_meant);
    match meant.as_slice() {
        [] => Err(Error::UnknownOwner(which.to_owned())),
        [_] => with_owners(authority, kept, required),
        several => Err(several_match(several.iter().map(|owner| owner.key.id()))),
    }
}

/// The authority with another number of owners that must sign.
pub(super) fn requiring(authority: &Authority, required: usize) -> Result<Authority, Error> {
    with_owners(authority, authority.owners.keys.clone(), Some(required))
}

fn with_owners(
    authority: &Authority,
    keys: Vec<LabelledKey>,
    required: Option<usize>,
) -> Result<Authority, Error> {
    let threshold = required.unwrap_or(authority.owners.threshold);
    if threshold == 0 || threshold > keys.len() {
        return Err(Error::OwnersOutOfRange {
            required: threshold,
            owners: keys.len(),
        });
    }
    Ok(Authority {
        owners: Owners { threshold, keys },
        ..authority.clone()
    })
}

/// The error that a label names several keys.
pub(super) fn several_match(ids: impl Iterator<Item = KeyId>) -> Error {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    Error::Invalid(format!(
        "several keys match; give the fingerprint of one of them: {}",
        ids.join(", ")
    ))
}
