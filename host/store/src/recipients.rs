//! The recipients that secrets are sealed to.
//!
//! The list is part of the keyring, which the owners sign, and is read at the same revision as the
//! data it protects. So nobody but an owner adds a reader, and a removed recipient receives nothing
//! new, even from a process that has been running since before the removal.

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The maximum number of recipients. Each adds 98 bytes to every secret.
const MAX_RECIPIENTS: usize = 64;

/// The fingerprint of a recipient: the SHA-256 of its key in hexadecimal digits.
pub type RecipientId = String;

/// How many digits of a fingerprint name a recipient at least.
const MIN_ID_DIGITS: usize = 8;

/// The list of recipients that secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipients {
    /// Counts the versions of the list, from 1. A sealed secret names the version it was sealed
    /// for.
    pub epoch: u32,
    /// The recipients on the list.
    pub recipients: Vec<Recipient>,
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

/// Why a recipient cannot be parsed, added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The text is not an age recipient.
    #[error("not an age recipient (age1…)")]
    Malformed,
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

    /// The id of this recipient.
    pub fn id(&self) -> RecipientId {
        id_of(&self.key)
    }
}

/// The fingerprint of a recipient with that key.
pub(crate) fn id_of(key: &str) -> RecipientId {
    Digest::of(key.as_bytes()).to_string()
}

impl Recipients {
    /// Creates the first version of the list.
    pub fn first(recipients: Vec<Recipient>) -> Self {
        Recipients {
            epoch: 1,
            recipients,
        }
    }

    /// The ids of all recipients.
    pub fn ids(&self) -> Vec<RecipientId> {
        self.recipients.iter().map(Recipient::id).collect()
    }

    /// Whether the recipient with that id is on the list.
    pub fn has(&self, id: &str) -> bool {
        self.recipients.iter().any(|recipient| recipient.id() == id)
    }

    /// Returns the next version of the list, with `recipient` added.
    ///
    /// # Errors
    ///
    /// [`RecipientError::Duplicate`], [`RecipientError::TooMany`].
    pub fn with(&self, recipient: Recipient) -> Result<Self, RecipientError> {
        if self.has(&recipient.id()) {
            return Err(RecipientError::Duplicate(recipient.id()));
        }
        self.check_room()?;
        let mut next = self.next();
        next.recipients.push(recipient);
        Ok(next)
    }

    /// Fails if the list is full.
    ///
    /// # Errors
    ///
    /// [`RecipientError::TooMany`].
    pub fn check_room(&self) -> Result<(), RecipientError> {
        if self.recipients.len() >= MAX_RECIPIENTS {
            return Err(RecipientError::TooMany);
        }
        Ok(())
    }

    /// Returns the next version of the list, without the recipient of that label, key or
    /// fingerprint, of which the first eight digits are enough.
    ///
    /// # Errors
    ///
    /// [`RecipientError::Unknown`], [`RecipientError::Last`].
    pub fn without(&self, which: &str) -> Result<Self, RecipientError> {
        let has_id = |recipient: &Recipient| {
            which.len() >= MIN_ID_DIGITS && recipient.id().starts_with(which)
        };
        let matches = |recipient: &&Recipient| {
            has_id(recipient) || recipient.label == which || recipient.key == which
        };
        let matching: Vec<RecipientId> = self
            .recipients
            .iter()
            .filter(matches)
            .map(Recipient::id)
            .collect();
        match matching.as_slice() {
            [] => return Err(RecipientError::Unknown(which.to_owned())),
            [_] => {}
            several => return Err(RecipientError::Ambiguous(several.join(", "))),
        }
        let mut next = self.next();
        next.recipients
            .retain(|recipient| !matching.contains(&recipient.id()));
        if next.recipients.is_empty() {
            return Err(RecipientError::Last);
        }
        Ok(next)
    }

    fn next(&self) -> Self {
        Recipients {
            epoch: self.epoch + 1,
            recipients: self.recipients.clone(),
        }
    }
}
