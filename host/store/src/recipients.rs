//! Who secrets are sealed to.
//!
//! The list is a document like any other: signed, journalled, and read at the same
//! revision as what is written, so that whoever was taken off it gets nothing new
//! from any writer, however long that writer has been running.

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::DocumentKey;

/// The most recipients; each adds 98 bytes to every secret.
const MAX_RECIPIENTS: usize = 64;

/// Names a recipient without the length of its key: the first 16 hexadecimal
/// digits of its SHA-256.
pub type RecipientId = String;

/// The kind of the document that lists the recipients.
pub const RECIPIENTS_KIND: &str = "keys";

/// The document that lists the recipients.
pub fn document_key() -> DocumentKey {
    DocumentKey::new(RECIPIENTS_KIND, "recipients")
}

/// Who secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipients {
    /// Counts the lists there have been, from 1. What is sealed says to which list.
    pub epoch: u32,
    /// Those on the list.
    pub recipients: Vec<Recipient>,
}

/// One who secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The age recipient: `age1…`.
    pub key: String,
    /// What people call it.
    pub label: String,
    /// When it was added, in milliseconds since 1970-01-01T00:00:00Z.
    pub added_at_ms: u64,
}

/// A text that is no recipient, or one that does not fit the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// It is no age recipient.
    #[error("that is not an age recipient (age1…)")]
    Malformed,
    /// It is on the list.
    #[error("the recipient {} is there already", sanitized(.0))]
    Known(RecipientId),
    /// Several are called that.
    #[error("several recipients are called that; say which by its id: {}", sanitized(.0))]
    Ambiguous(String),
    /// It is not on the list.
    #[error("there is no recipient {}", sanitized(.0))]
    Unknown(String),
    /// The list would be empty: nobody could open what is sealed.
    #[error("the last recipient cannot be removed: nobody could open what is sealed")]
    Last,
    /// The list is full.
    #[error("there are {MAX_RECIPIENTS} recipients, and no more are allowed")]
    TooMany,
}

impl Recipient {
    /// Checks that `key` is an age recipient (X25519).
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

    /// Names it.
    pub fn id(&self) -> RecipientId {
        id_of(&self.key)
    }
}

/// Names the recipient of that text.
pub(crate) fn id_of(key: &str) -> RecipientId {
    let digest = Digest::of(key.as_bytes()).to_string();
    digest.chars().take(16).collect()
}

impl Recipients {
    /// The first list.
    pub fn first(recipients: Vec<Recipient>) -> Self {
        Recipients {
            epoch: 1,
            recipients,
        }
    }

    /// Names all of them.
    pub fn ids(&self) -> Vec<RecipientId> {
        self.recipients.iter().map(Recipient::id).collect()
    }

    /// Whether the recipient of that name is on the list.
    pub fn has(&self, id: &str) -> bool {
        self.recipients.iter().any(|recipient| recipient.id() == id)
    }

    /// The next list, with `recipient` on it.
    ///
    /// # Errors
    ///
    /// [`RecipientError::Known`], [`RecipientError::TooMany`].
    pub fn with(&self, recipient: Recipient) -> Result<Self, RecipientError> {
        if self.has(&recipient.id()) {
            return Err(RecipientError::Known(recipient.id()));
        }
        self.check_room()?;
        let mut next = self.next();
        next.recipients.push(recipient);
        Ok(next)
    }

    /// Refuses if there is no room for one more.
    ///
    /// # Errors
    ///
    /// [`RecipientError::TooMany`].
    pub fn check_room(&self) -> Result<(), RecipientError> {
        match self.recipients.len() >= MAX_RECIPIENTS {
            true => Err(RecipientError::TooMany),
            false => Ok(()),
        }
    }

    /// The next list, without the recipient of that name, label or key.
    ///
    /// # Errors
    ///
    /// [`RecipientError::Unknown`], [`RecipientError::Last`].
    pub fn without(&self, which: &str) -> Result<Self, RecipientError> {
        let is_meant = |recipient: &&Recipient| {
            recipient.id() == which || recipient.label == which || recipient.key == which
        };
        let meant: Vec<RecipientId> = self
            .recipients
            .iter()
            .filter(is_meant)
            .map(Recipient::id)
            .collect();
        match meant.as_slice() {
            [] => return Err(RecipientError::Unknown(which.to_owned())),
            [_] => {}
            several => return Err(RecipientError::Ambiguous(several.join(", "))),
        }
        let mut next = self.next();
        next.recipients
            .retain(|recipient| !meant.contains(&recipient.id()));
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
