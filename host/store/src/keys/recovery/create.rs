//! Creates recovery keys, whole or as shares.

use std::path::{Path, PathBuf};

use super::find::PUBLIC_KEY;
use super::receipt::Receipt;
use super::share::{self, Split};
use crate::files;
use crate::keys::error::KeyError;
use crate::keys::identity::{self, Identity};
use crate::recipients::Recipient;
use crate::secret::Secret;

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
    write(file, &[receipt.to_lines().as_bytes(), text.expose()])?;
    Ok(recipient(&identity, label, now_ms))
}

/// Generates a recovery key and splits it. Writes each share to a new file ([`share_files`]), with
/// the receipt of the store, and the key to none. Returns its recipient.
///
/// # Errors
///
/// If a file cannot be created, or exists. Then there is none of the others either.
pub fn create_recovery_shares(
    file: &Path,
    split: Split,
    receipt: &Receipt,
    label: &str,
    now_ms: u64,
) -> Result<Recipient, KeyError> {
    let identity = Identity::generate();
    let shares = share::split(&identity, split).map_err(|error| KeyError::File {
        file: file.to_owned(),
        error,
    })?;
    let files = share_files(file, split);
    for (index, (file, share)) in files.iter().zip(&shares).enumerate() {
        let comments = format!(
            "{}# share: {} of {}\n# threshold: {}\n{PUBLIC_KEY}{}\n",
            receipt.to_lines(),
            share.number,
            split.shares(),
            split.threshold(),
            identity.recipient()
        );
        let text = share.to_text();
        let written = write(file, &[comments.as_bytes(), text.expose(), b"\n"]);
        if let Err(error) = written {
            for written in files.iter().take(index) {
                let _ = std::fs::remove_file(written);
            }
            return Err(error);
        }
    }
    Ok(recipient(&identity, label, now_ms))
}

/// The files with the shares of a recovery key: `FILE.1`, `FILE.2`, …
pub fn share_files(file: &Path, split: Split) -> Vec<PathBuf> {
    let numbered = |number: u8| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    (1..=split.shares()).map(numbered).collect()
}

fn write(file: &Path, parts: &[&[u8]]) -> Result<(), KeyError> {
    let text = Secret::joined(parts);
    files::write_new(file, text.expose()).map_err(|error| KeyError::File {
        file: file.to_owned(),
        error,
    })
}

fn recipient(identity: &Identity, label: &str, now_ms: u64) -> Recipient {
    Recipient {
        key: identity.recipient(),
        label: label.to_owned(),
        added_at_ms: now_ms,
    }
}
