//! Reads the key files.

use std::path::Path;
use std::sync::Arc;

use super::error::KeyError;
use super::identity;
use super::names::{IDENTITY, LOCKED_IDENTITY};
use super::recovery::error::ShareError;
use super::recovery::find::find_share;
use super::source::{Identities, IdentitySource};
use crate::files;
use crate::keyring::{Keyring, MAX_KEYRING_BYTES};
use crate::secret::Secret;
use crate::signing::Signer;
use crate::statement::Statement;
use crate::tampering::Fault;

/// The maximum size of a key file.
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

/// The maximum size of the file with the keyring and its signatures.
const MAX_KEYRING_FILE_BYTES: usize = MAX_KEYRING_BYTES + 64 * 1024;

pub(super) fn read_identities(
    directory: &Path,
    source: &IdentitySource,
) -> Result<Identities, KeyError> {
    let parse = |file: &Path, text: &Secret| {
        let malformed = || KeyError::Malformed {
            file: file.to_owned(),
            expected: "an age identity (X25519)",
        };
        if find_share(file, text)?.is_some() {
            return Err(ShareError::NotAnIdentity(file.to_owned()).into());
        }
        let open = identity::parse(text).ok_or_else(malformed)?;
        Ok(Identities::Open(open))
    };
    match source {
        IdentitySource::Directory => {}
        IdentitySource::Given(text) => return parse(Path::new("the given identity"), text),
        IdentitySource::Service(identity) => return Ok(Identities::Elsewhere(identity.clone())),
    }
    let file = directory.join(IDENTITY);
    if let Some(text) = files::read_private(&file, identity::MAX_BYTES)? {
        return parse(&file, &text);
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
    parse_signer(&pem, file).map(Some)
}

/// Parses a private key. `file` names it in an error.
pub(super) fn parse_signer(pem: &Secret, file: &Path) -> Result<Signer, KeyError> {
    Signer::from_pem(pem).ok_or_else(|| KeyError::Malformed {
        file: file.to_owned(),
        expected: "an Ed25519 private key in PKCS #8 PEM form",
    })
}

pub(super) fn read_keyring(file: &Path) -> Result<Arc<Keyring>, KeyError> {
    let bytes = files::read_trusted(file, MAX_KEYRING_FILE_BYTES)?;
    let keyring = Statement::from_lines(&bytes).map(Keyring::parse);
    match keyring {
        Some(Ok(keyring)) if keyring.check_signed().is_ok() => Ok(Arc::new(keyring)),
        Some(Err(error)) if error.fault() == Fault::Newer => Err(KeyError::NewerKeyring),
        _ => Err(KeyError::Malformed {
            file: file.to_owned(),
            expected: "a keyring",
        }),
    }
}
