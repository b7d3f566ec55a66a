//! The error type of [`Keys`](crate::Keys) and of the checks of private files.

use std::path::PathBuf;

use entail_text::sanitized;

use super::names::{IDENTITY, KEYRING, LOCKED_IDENTITY, OWNER, SIGNER};
use super::recovery::error::ShareError;
use super::service::ServiceError;

/// An additional hint for a directory as a cluster creates it for a group (`fsGroup`), each
/// time it mounts a volume.
fn group_hint(mode: u32) -> &'static str {
    if mode & 0o2020 == 0o2020 {
        "; if a cluster mounts it for a group, mount it for the user alone: without fsGroup, \
         or with the home in a separate directory that fsGroup does not change \
         (fsGroupChangePolicy: OnRootMismatch)"
    } else {
        ""
    }
}

/// Why keys cannot be used. No message contains any part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}: {}", sanitized(.file.display()), sanitized(.error))]
    File {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        #[source]
        error: std::io::Error,
    },
    /// The directory of the keys cannot be written.
    #[error(
        "{}: {}; this replaces files there: make the directory writable, or do it where the keys \
         are kept",
        sanitized(.directory.display()),
        sanitized(.error)
    )]
    NotWritable {
        /// The directory.
        directory: PathBuf,
        /// The error of the system.
        #[source]
        error: std::io::Error,
    },
    /// Other users can read or write the file.
    #[error(
        "{file} is accessible to other users (mode {mode:04o}); run: chmod {remedy} {file}{}",
        group_hint(*.mode),
        file = sanitized(.file.display())
    )]
    TooOpen {
        /// The file or directory.
        file: PathBuf,
        /// The current mode.
        mode: u32,
        /// The argument of `chmod` that fixes it.
        remedy: &'static str,
    },
    /// The file belongs to another user.
    #[error(
        "{} belongs to another user",
        sanitized(.file.display())
    )]
    ForeignOwner {
        /// The file or directory.
        file: PathBuf,
    },
    /// The file is not a key.
    #[error("{} is not {expected}", sanitized(.file.display()))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What the file should be.
        expected: &'static str,
    },
    /// This machine has no identity, so it cannot open secrets.
    #[error("this machine has no identity ({IDENTITY}), so it cannot open secrets")]
    NoIdentity,
    /// The identity is protected by a passphrase, which was not given.
    #[error("the identity is protected by a passphrase")]
    Locked,
    /// The identity was not read from the key directory, so it cannot be rotated here.
    #[error(
        "the identity was not read from {IDENTITY} or {LOCKED_IDENTITY}; rotate it where it comes from"
    )]
    ForeignIdentity,
    /// A service that signs or decrypts failed.
    #[error("{}", sanitized(.0))]
    Service(#[from] ServiceError),
    /// The keyring is not valid, for example because it is too large.
    #[error("a keyring like this cannot be signed: {}", sanitized(.0))]
    InvalidKeyring(String),
    /// The key was not read from the key directory, so it cannot be rotated here.
    #[error(
        "the {0} was not read from the directory of the keys, so it cannot be rotated here; rotate it where it comes from"
    )]
    ForeignKey(&'static str),
    /// The passphrase is wrong.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Another process is rotating the keys.
    #[error(
        "another process is rotating or restoring the keys of this home; try again when it has ended"
    )]
    Busy,
    /// This machine has no signer, so it cannot change anything.
    #[error("this machine has no signer ({SIGNER}), so it cannot change anything")]
    NoSigner,
    /// The signer of this machine is no longer allowed to write.
    #[error(
        "the signer of this machine ({SIGNER}) is not allowed to write; if it was rotated on another machine, copy it from there"
    )]
    OldSigner,
    /// The signer of this machine may change only some scopes.
    #[error(
        "the signer of this machine may change {} only, and {} is outside; make this change on a machine with a signer for it",
        sanitized(.scopes.join(", ")),
        .what
    )]
    OutsideDelegation {
        /// The scopes that it may change, with all that are below them.
        scopes: Vec<String>,
        /// What it may not change.
        what: String,
    },
    /// This machine has no owner key, so it cannot change who may write or read.
    #[error(
        "this machine has no owner key ({OWNER}), so it cannot change who may write or who can open secrets; do that where the owner key is"
    )]
    NoOwner,
    /// The owner key of this machine does not own the store any more.
    #[error(
        "the owner key of this machine ({OWNER}) does not own the store; if it was rotated on another machine, copy it from there"
    )]
    OldOwner,
    /// The file has a key that is no recipient of this store.
    #[error(
        "the key in {} is not a recipient of this store, so a backup would not open with it; create a recovery key with: entail key add-recipient --recovery FILE",
        sanitized(.0.display())
    )]
    ForeignRecoveryKey(PathBuf),
    /// Shares of a recovery key cannot be used.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The keyring was written by a newer version of this program.
    #[error("{KEYRING} was written by a newer version of Entail, which is needed to read it")]
    NewerKeyring,
}
