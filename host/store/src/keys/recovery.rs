//! Recovery keys: identities that are kept apart from the store, with a receipt that says which
//! store they belong to.

use std::path::Path;

use super::error::KeyError;
use super::identity::{self, Identity};
use crate::files;
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::random_id::RandomId;
use crate::recipients::Recipient;
use crate::secret::Secret;
use crate::signing::KeyId;

/// What is known of a store at some time: enough to recognize its backups.
///
/// It stands in comments of a file with a recovery key, which the age tools can read:
///
/// ```text
/// # store: 0b3f…                       the id of the store
/// # owner: ed25519:9c1e…               an owner; one line for each
/// # checkpoint: 17 a41f…               the newest checkpoint: its revision and SHA-256
/// # public key: age1…
/// AGE-SECRET-KEY-1…
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id of the store.
    pub store: RandomId,
    /// Its owners.
    pub owners: Vec<KeyId>,
    /// The newest checkpoint.
    pub position: JournalPosition,
}

const STORE: &str = "# store: ";
const OWNER: &str = "# owner: ";
const CHECKPOINT: &str = "# checkpoint: ";

impl Receipt {
    /// The receipt of a store at that position, under `keyring`.
    pub fn new(keyring: &Keyring, position: JournalPosition) -> Self {
        let owners = keyring.authority().owners.keys.iter();
        Receipt {
            store: keyring.store(),
            owners: owners.map(|owner| owner.key.id()).collect(),
            position,
        }
    }

    /// Finds the receipt in the text of a recovery key; `None` if there is none, or a malformed
    /// one.
    pub fn find(text: &Secret) -> Option<Self> {
        let text = text.expose_text()?.trim_start_matches('\u{feff}');
        let lines = |prefix: &'static str| {
            text.lines()
                .filter_map(move |line| line.strip_prefix(prefix))
                .map(str::trim)
        };
        let (revision, checkpoint) = lines(CHECKPOINT).next()?.split_once(' ')?;
        Some(Receipt {
            store: lines(STORE).next()?.parse().ok()?,
            owners: lines(OWNER)
                .map(|owner| owner.parse().ok())
                .collect::<Option<_>>()?,
            position: JournalPosition {
                revision: revision.parse().ok()?,
                checkpoint: Some(checkpoint.parse().ok()?),
            },
        })
    }

    /// Replaces the receipt in a file with a recovery key, which must be a reader of `keyring`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or replaced, or has another key; [`KeyError::ForeignRecoveryKey`].
    pub fn renew(&self, file: &Path, keyring: &Keyring) -> Result<(), KeyError> {
        let failed = |error| KeyError::File {
            file: file.to_owned(),
            error,
        };
        let malformed = || KeyError::Malformed {
            file: file.to_owned(),
            expected: "a recovery key",
        };
        let text = Secret::read_regular_file(file, identity::MAX_BYTES)
            .map_err(failed)?
            .ok_or_else(malformed)?;
        let identities = identity::parse(&text).ok_or_else(malformed)?;
        let is_reader = |identity: &Identity| keyring.has_reader(&identity.id);
        let is_of_this_store = Self::find(&text).is_none_or(|found| found.store == self.store);
        if !is_of_this_store || !identities.iter().all(is_reader) {
            return Err(KeyError::ForeignRecoveryKey(file.to_owned()));
        }
        let is_of_receipt = |line: &str| {
            [STORE, OWNER, CHECKPOINT]
                .iter()
                .any(|prefix| line.starts_with(prefix))
        };
        let lines = self.to_lines();
        let rest = text.expose_text().unwrap_or_default();
        let kept = rest
            .split_inclusive('\n')
            .filter(|line| !is_of_receipt(line));
        let parts: Vec<&[u8]> = std::iter::once(lines.as_str())
            .chain(kept)
            .map(str::as_bytes)
            .collect();
        files::replace(file, Secret::joined(&parts).expose()).map_err(failed)
    }

    fn to_lines(&self) -> String {
        let mut lines = vec![format!("{STORE}{}", self.store)];
        lines.extend(self.owners.iter().map(|owner| format!("{OWNER}{owner}")));
        if let Some(digest) = self.position.checkpoint {
            lines.push(format!("{CHECKPOINT}{} {digest}", self.position.revision));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Generates a recovery key: an identity in a new file, with the receipt of the store. Returns
/// its recipient.
///
/// # Errors
///
/// If the file cannot be created, or exists.
pub fn create_recovery_key(
    file: &Path,
    receipt: &Receipt,
    label: &str,
    now_ms: u64,
) -> Result<Recipient, KeyError> {
    let identity = Identity::generate();
    let text = identity::to_text([&identity]);
    let all = Secret::joined(&[receipt.to_lines().as_bytes(), text.expose()]);
    files::write_new(file, all.expose()).map_err(|error| KeyError::File {
        file: file.to_owned(),
        error,
    })?;
    Ok(Recipient {
        key: identity.recipient(),
        label: label.to_owned(),
        added_at_ms: now_ms,
    })
}
