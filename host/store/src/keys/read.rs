//! Reads the key files.

use std::path::Path;

use super::error::KeyError;
use super::identity;
use super::names::{IDENTITY, LOCKED_IDENTITY};
use super::source::{Identities, IdentitySource};
use crate::files;
use crate::signing::{Signer, Verifier};

/// The maximum size of a key file.
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

pub(super) fn read_identities(
    directory: &Path,
    source: &IdentitySource,
) -> Result<Identities, KeyError> {
    let malformed = |file: &Path| KeyError::Malformed {
        file: file.to_owned(),
        expected: "an age identity (X25519)",
    };
    if let IdentitySource::Given(text) = source {
        let given = Path::new("the given identity");
        let open = identity::parse(text).map(Identities::Open);
        return open.ok_or_else(|| malformed(given));
    }
    let file = directory.join(IDENTITY);
    if let Some(text) = files::read_private(&file, identity::MAX_BYTES)? {
        let open = identity::parse(&text).map(Identities::Open);
        return open.ok_or_else(|| malformed(&file));
    }
    let locked = files::read_private(&directory.join(LOCKED_IDENTITY), MAX_KEY_FILE_BYTES)?;
    Ok(locked.map_or(Identities::Absent, |bytes| {
        Identities::Locked(bytes.expose().to_vec())
    }))
}

pub(super) fn read_signer(file: &Path) -> Result<Option<Signer>, KeyError> {
    let Some(pem) = files::read_private(file, MAX_KEY_FILE_BYTES)? else {
        return Ok(None);
    };
    match Signer::from_pem(&pem) {
        Some(signer) => Ok(Some(signer)),
        None => Err(KeyError::Malformed {
            file: file.to_owned(),
            expected: "an Ed25519 private key in PKCS #8 PEM form",
        }),
    }
}

pub(super) fn read_verifiers(file: &Path) -> Result<Vec<Verifier>, KeyError> {
    const END: &str = "-----END PUBLIC KEY-----";
    let bytes = files::read_trusted(file, MAX_KEY_FILE_BYTES)?;
    let text = String::from_utf8(bytes).ok();
    let keys = text.as_deref().unwrap_or_default();
    let verifiers: Option<Vec<Verifier>> = keys
        .split_inclusive(END)
        .filter(|key| !key.trim().is_empty())
        .map(|key| Verifier::from_pem(key.trim()))
        .collect();
    verifiers
        .filter(|verifiers| !verifiers.is_empty())
        .ok_or_else(|| KeyError::Malformed {
            file: file.to_owned(),
            expected: "an Ed25519 public key in PEM form",
        })
}
