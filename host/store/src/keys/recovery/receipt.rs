//! Receipts: which store a recovery key belongs to, and what is known of that store.

use std::path::{Path, PathBuf};

use super::find::find_share;
use super::share;
use crate::files;
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::keys::error::KeyError;
use crate::keys::identity::{self, Identity};
use crate::random_id::RandomId;
use crate::secret::Secret;
use crate::signing::KeyId;

/// What is known of a store at some time: enough to recognize its backups.
///
/// It stands in comments of a file with a recovery key, which the age tools can read, or with a
/// share of one:
///
/// ```text
/// # store: 0b3f…                       the id of the store
/// # owner: ed25519:9c1e…               an owner; one line for each
/// # required: 1                        how many of the owners must sign
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
    /// How many of them must sign; at least 1.
    pub required: usize,
    /// The newest checkpoint.
    pub position: JournalPosition,
}

const STORE: &str = "# store: ";
const OWNER: &str = "# owner: ";
const REQUIRED: &str = "# required: ";
const CHECKPOINT: &str = "# checkpoint: ";

impl Receipt {
    /// The receipt of a store at that position, under `keyring`.
    pub fn new(keyring: &Keyring, position: JournalPosition) -> Self {
        let owners = &keyring.authority().owners;
        Receipt {
            store: keyring.store(),
            owners: owners.ids().collect(),
            required: owners.threshold,
            position,
        }
    }

    /// Finds the receipt in the text of a recovery key or of a share; `None` if there is none, or
    /// a malformed one.
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
            required: lines(REQUIRED)
                .next()?
                .parse()
                .ok()
                .filter(|required| *required > 0)?,
            position: JournalPosition {
                revision: revision.parse().ok()?,
                checkpoint: Some(checkpoint.parse().ok()?),
            },
        })
    }

    /// Replaces the receipts in files with recovery keys, or with shares of them, which must be
    /// readers of `keyring`. If one is not, replaces none.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or replaced, or has another key; [`KeyError::ForeignRecoveryKey`].
    pub fn renew(&self, files: &[PathBuf], keyring: &Keyring) -> Result<(), KeyError> {
        let renewed = files.iter().map(|file| self.renewed(file, keyring));
        let renewed: Vec<Secret> = renewed.collect::<Result<_, _>>()?;
        for (file, text) in files.iter().zip(&renewed) {
            files::replace(file, text.expose()).map_err(|error| failed(file, error))?;
        }
        Ok(())
    }

    /// The text of a file with this receipt.
    fn renewed(&self, file: &Path, keyring: &Keyring) -> Result<Secret, KeyError> {
        let malformed = || KeyError::Malformed {
            file: file.to_owned(),
            expected: "a recovery key, or a share of one",
        };
        let text = Secret::read_regular_file(file, identity::MAX_BYTES)
            .map_err(|error| failed(file, error))?
            .ok_or_else(malformed)?;
        let is_reader = if let Some(share) = find_share(file, &text)? {
            let mut readers = keyring.recipients();
            readers.any(|recipient| share::tag_of(&recipient.key) == share.key)
        } else {
            let identities = identity::parse(&text).ok_or_else(malformed)?;
            let is_reader = |identity: &Identity| keyring.has_reader(&identity.id);
            identities.iter().all(is_reader)
        };
        let is_of_this_store = Self::find(&text).is_none_or(|found| found.store == self.store);
        if !is_of_this_store || !is_reader {
            return Err(KeyError::ForeignRecoveryKey(file.to_owned()));
        }
        let is_of_receipt = |line: &str| {
            [STORE, OWNER, REQUIRED, CHECKPOINT]
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
        Ok(Secret::joined(&parts))
    }

    pub(super) fn to_lines(&self) -> String {
        let mut lines = vec![format!("{STORE}{}", self.store)];
        lines.extend(self.owners.iter().map(|owner| format!("{OWNER}{owner}")));
        lines.push(format!("{REQUIRED}{}", self.required));
        if let Some(digest) = self.position.checkpoint {
            lines.push(format!("{CHECKPOINT}{} {digest}", self.position.revision));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn failed(file: &Path, error: std::io::Error) -> KeyError {
    let file = file.to_owned();
    KeyError::File { file, error }
}
