//! The recovery key that a user gives: whole, or as shares.

use std::path::{Path, PathBuf};

use super::error::ShareError;
use super::find::find_share;
use super::receipt::Receipt;
use super::share::{self, Share};
use crate::keys::identity;
use crate::secret::Secret;

/// A recovery key that a user gave.
#[allow(missing_debug_implementations)] // holds a secret
pub struct RecoveryKey {
    /// The identity, in the format of the age tools. A whole key is not parsed yet.
    pub identity: Secret,
    /// The receipts that are with it: at most one for a whole key, or for each share.
    pub receipts: Vec<Receipt>,
}

impl RecoveryKey {
    /// Reads a recovery key from the text of one file, or from shares of it in any order. The
    /// paths are only for messages.
    ///
    /// # Errors
    ///
    /// [`ShareError`] if there are several texts, or the first is a share, and they do not combine
    /// to one key.
    pub fn from_texts(files: &[(PathBuf, Secret)]) -> Result<Self, ShareError> {
        if let [(file, text)] = files
            && find_share(file, text)?.is_none()
        {
            return Ok(RecoveryKey {
                identity: text.clone(),
                receipts: Receipt::find(text).into_iter().collect(),
            });
        }
        let mut shares: Vec<Share> = Vec::new();
        for (file, text) in files {
            let share = find_share(file, text)?.ok_or_else(|| {
                if identity::parse(text).is_some() {
                    ShareError::WholeKey(file.clone())
                } else {
                    ShareError::NotAShare(file.clone())
                }
            })?;
            for (known, (first, _)) in shares.iter().zip(files) {
                check_together(known, first, &share, file)?;
            }
            shares.push(share);
        }
        let threshold = shares.first().map_or(0, |share| share.threshold);
        let found = shares.len();
        if found < threshold.into() {
            return Err(ShareError::TooFew { found, threshold });
        }
        let identity = share::combine(&shares).ok_or(ShareError::NotGenuine)?;
        let receipts = files.iter().filter_map(|(_, text)| Receipt::find(text));
        Ok(RecoveryKey {
            identity: identity::to_text([&identity]),
            receipts: receipts.collect(),
        })
    }
}

/// Fails unless two shares are different ones of the same key.
fn check_together(
    known: &Share,
    first: &Path,
    share: &Share,
    second: &Path,
) -> Result<(), ShareError> {
    let (first, second) = (first.to_owned(), second.to_owned());
    if (known.key, known.threshold) != (share.key, share.threshold) {
        return Err(ShareError::Mixed { first, second });
    }
    if known.number == share.number {
        let number = share.number;
        return Err(ShareError::Doubled {
            first,
            second,
            number,
        });
    }
    Ok(())
}
