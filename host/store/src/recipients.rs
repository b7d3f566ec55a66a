//! Who may read the secrets of an organization.
//!
//! The secrets of an organization are sealed to the key of its newest epoch. That key is sealed to
//! the recipients of the organization, in one small file. So a new recipient costs one file, and
//! the key of one organization opens nothing of another.
//!
//! The lists are part of the keyring, which the owners sign, and are read at the same revision as
//! the data they protect. So nobody but an owner adds a reader. When a recipient is removed, a new
//! epoch begins: nothing that is sealed from then on opens with a key that it knew.

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The maximum number of recipients of an organization.
const MAX_RECIPIENTS: usize = 64;

/// The maximum length of a label, in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// The fingerprint of a recipient: the SHA-256 of its key in hexadecimal digits.
pub type RecipientId = String;

/// How many digits of a fingerprint name a recipient at least.
const MIN_ID_DIGITS: usize = 8;

/// The readers of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readers {
    /// The organization.
    pub organization: String,
    /// The class of its recipients: all are of one class.
    pub class: RecipientClass,
    /// The recipients.
    pub recipients: Vec<Recipient>,
    /// The epochs whose keys secrets may be sealed to, the newest last; at least one.
    pub epochs: Vec<Epoch>,
}

/// A class of age recipients. Files are sealed to recipients of one class only, since the weakest
/// recipient decides how safe a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientClass {
    /// X25519: `age1…`.
    X25519,
}

/// A recipient that secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The age recipient: `age1…`.
    pub key: String,
    /// A label for people.
    pub label: String,
    /// The time it was added, in milliseconds since 1970-01-01T00:00:00Z.
    pub added_at_ms: u64,
}

/// An epoch: a key that secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The number; the first is 1.
    pub number: u32,
    /// The public key: an age recipient.
    pub key: String,
    /// The blob with the private key, sealed to the recipients.
    pub sealed: Digest,
    /// The fingerprints of the recipients that it is sealed to.
    pub sealed_to: Vec<RecipientId>,
}

/// Why a recipient cannot be parsed, added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The text is not an age recipient.
    #[error("not an age recipient (age1…)")]
    Malformed,
    /// The label is too long.
    #[error("a label has at most {MAX_LABEL_BYTES} bytes")]
    LongLabel,
    /// The recipient is already on the list.
    #[error("the recipient {} is already on the list", sanitized(.0))]
    Duplicate(RecipientId),
    /// Several recipients match.
    #[error("several recipients match; give the id of one of them: {}", sanitized(.0))]
    Ambiguous(String),
    /// The recipient is not on the list.
    #[error("there is no recipient {}", sanitized(.0))]
    Unknown(String),
    /// The list would be empty, and nobody could open sealed secrets.
    #[error("the last recipient cannot be removed: nobody could open sealed secrets")]
    Last,
    /// The list is full.
    #[error("the list already has {MAX_RECIPIENTS} recipients, the maximum")]
    TooMany,
}

impl Recipient {
    /// Creates a recipient, if `key` is an age recipient (X25519).
    ///
    /// # Errors
    ///
    /// [`RecipientError::Malformed`].
    pub fn new(key: &str, label: &str, added_at_ms: u64) -> Result<Self, RecipientError> {
        let key: age::x25519::Recipient = key.parse().map_err(|_| RecipientError::Malformed)?;
        Ok(Recipient {
            key: key.to_string(),
            label: label.to_owned(),
            added_at_ms,
        })
    }

    /// The fingerprint of this recipient.
    pub fn id(&self) -> RecipientId {
        id_of(&self.key)
    }
}

/// The fingerprint of a recipient with that key.
pub(crate) fn id_of(key: &str) -> RecipientId {
    Digest::of(key.as_bytes()).to_string()
}

/// The fingerprints of recipients.
pub(crate) fn ids(recipients: &[Recipient]) -> Vec<RecipientId> {
    recipients.iter().map(Recipient::id).collect()
}

/// Returns `recipients` with one more.
///
/// # Errors
///
/// [`RecipientError::Duplicate`], [`RecipientError::TooMany`].
pub fn with_recipient(
    recipients: &[Recipient],
    recipient: Recipient,
) -> Result<Vec<Recipient>, RecipientError> {
    let id = recipient.id();
    if recipients.iter().any(|known| known.id() == id) {
        return Err(RecipientError::Duplicate(id));
    }
    check_recipient_room(recipients)?;
    check_label(&recipient.label)?;
    Ok(recipients.iter().cloned().chain([recipient]).collect())
}

/// Fails if a label is too long.
///
/// # Errors
///
/// [`RecipientError::LongLabel`].
pub fn check_label(label: &str) -> Result<(), RecipientError> {
    if label.len() > MAX_LABEL_BYTES {
        return Err(RecipientError::LongLabel);
    }
    Ok(())
}

/// Fails if the list is full.
///
/// # Errors
///
/// [`RecipientError::TooMany`].
pub fn check_recipient_room(recipients: &[Recipient]) -> Result<(), RecipientError> {
    if recipients.len() >= MAX_RECIPIENTS {
        return Err(RecipientError::TooMany);
    }
    Ok(())
}

/// Finds the recipient of that label, key or fingerprint, of which the first eight digits are
/// enough. A recipient may occur more than once.
///
/// # Errors
///
/// [`RecipientError::Unknown`], [`RecipientError::Ambiguous`].
pub fn find_recipient<'a>(
    recipients: &'a [Recipient],
    which: &str,
) -> Result<&'a Recipient, RecipientError> {
    let has_id =
        |recipient: &Recipient| which.len() >= MIN_ID_DIGITS && recipient.id().starts_with(which);
    let matches = |recipient: &&Recipient| {
        has_id(recipient) || recipient.label == which || recipient.key == which
    };
    let found: Vec<&Recipient> = recipients.iter().filter(matches).collect();
    let first = found
        .first()
        .ok_or_else(|| RecipientError::Unknown(which.to_owned()))?;
    if found.iter().all(|recipient| recipient.key == first.key) {
        return Ok(first);
    }
    let mut ids: Vec<RecipientId> = found.iter().map(|recipient| recipient.id()).collect();
    ids.dedup();
    Err(RecipientError::Ambiguous(ids.join(", ")))
}

/// Returns `recipients` without the one of that key.
///
/// # Errors
///
/// [`RecipientError::Unknown`], [`RecipientError::Last`].
pub fn without_recipient(
    recipients: &[Recipient],
    key: &str,
) -> Result<Vec<Recipient>, RecipientError> {
    let (removed, kept): (Vec<Recipient>, Vec<Recipient>) = recipients
        .iter()
        .cloned()
        .partition(|recipient| recipient.key == key);
    if removed.is_empty() {
        return Err(RecipientError::Unknown(key.to_owned()));
    }
    if kept.is_empty() {
        return Err(RecipientError::Last);
    }
    Ok(kept)
}

impl Readers {
    /// The epoch that secrets are sealed to now.
    pub fn newest(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The epoch with that number.
    pub fn epoch(&self, number: u32) -> Option<&Epoch> {
        self.epochs.iter().find(|epoch| epoch.number == number)
    }

    /// Whether the recipient with that fingerprint is on the list.
    pub fn has(&self, id: &str) -> bool {
        self.recipients.iter().any(|recipient| recipient.id() == id)
    }

    /// Whether every epoch is sealed to exactly the recipients, and none that was removed knows
    /// the newest.
    pub fn is_current(&self) -> bool {
        let ids = ids(&self.recipients);
        self.epochs.iter().all(|epoch| epoch.is_sealed_to(&ids))
    }
}

impl Epoch {
    /// Whether it is sealed to exactly these recipients.
    pub(crate) fn is_sealed_to(&self, ids: &[RecipientId]) -> bool {
        let has = |list: &[RecipientId], id: &RecipientId| list.contains(id);
        ids.iter().all(|id| has(&self.sealed_to, id))
            && self.sealed_to.iter().all(|id| has(ids, id))
    }
}
