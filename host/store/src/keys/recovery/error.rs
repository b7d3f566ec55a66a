//! Why shares of a recovery key cannot be used.

use std::path::PathBuf;

use entail_text::sanitized;

/// The most shares of a key. Each goes to another person and is an argument of the restore; the
/// field would allow 255.
pub(crate) const MAX_SHARES: u8 = 16;

/// Why a recovery key, or the shares of one, cannot be used. No message contains any part of a
/// share.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The share was changed, or copied with a mistake.
    #[error(
        "the share in {} is damaged; copy it again, without a change, or give another share",
        sanitized(.0.display())
    )]
    Damaged(PathBuf),
    /// The share was written by a newer version of this program.
    #[error(
        "the share in {} was written by a newer version of Entail, which is needed to read it",
        sanitized(.0.display())
    )]
    Newer(PathBuf),
    /// The comment with the public key does not belong to the share.
    #[error(
        "the share in {} is of another recovery key than its line \"# public key\" names; copy the whole file again, or give another share",
        sanitized(.0.display())
    )]
    ForeignPublicKey(PathBuf),
    /// The file has more than one share, or a share and something else.
    #[error(
        "{} has more than one share of a recovery key, or other lines; give each share in a file of its own",
        sanitized(.0.display())
    )]
    NotOne(PathBuf),
    /// One of several files has no share.
    #[error(
        "{} has no share of a recovery key; give several files only if each has a share",
        sanitized(.0.display())
    )]
    NotAShare(PathBuf),
    /// One of several files has a whole recovery key.
    #[error(
        "{} has a whole recovery key, not a share of one; give it alone",
        sanitized(.0.display())
    )]
    WholeKey(PathBuf),
    /// A share is where an identity is needed.
    #[error(
        "{} has a share of a recovery key, which opens nothing; combine shares to restore a backup: entail restore BACKUP --recovery SHARE --recovery SHARE",
        sanitized(.0.display())
    )]
    NotAnIdentity(PathBuf),
    /// Two files have the same share.
    #[error(
        "{} and {} have the same share, number {number}; give each share once, and another one in its place",
        sanitized(.first.display()),
        sanitized(.second.display())
    )]
    Doubled {
        /// A file.
        first: PathBuf,
        /// Another file.
        second: PathBuf,
        /// The number of the share.
        number: u8,
    },
    /// Two shares are of different keys.
    #[error(
        "{} and {} have shares of different recovery keys; give shares with the same line \"# public key\"",
        sanitized(.first.display()),
        sanitized(.second.display())
    )]
    Mixed {
        /// A file.
        first: PathBuf,
        /// Another file.
        second: PathBuf,
    },
    /// There are fewer shares than the threshold.
    #[error(
        "the recovery key needs {threshold} of its shares, and {found} {}; give the others too, each with --recovery FILE",
        if *.found == 1 { "is given" } else { "are given" }
    )]
    TooFew {
        /// How many shares there are.
        found: usize,
        /// How many are needed.
        threshold: u8,
    },
    /// The shares do not give the key that they name.
    #[error(
        "the shares do not give the recovery key that they name, so at least one of them is not genuine; give other shares"
    )]
    NotGenuine,
    /// A key cannot be split that way.
    #[error(
        "a recovery key has 2 to {MAX_SHARES} shares, and at least 2 and at most all of them restore it"
    )]
    InvalidSplit,
}
