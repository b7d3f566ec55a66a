//! What can go wrong with a store.

use std::fmt;

use crate::Revision;
use crate::backend::BackendError;
use crate::keys::KeyError;
use crate::sealing::SealError;

/// What went wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the database holds is not what was written.
    #[error("tampered: {0}")]
    Tampered(Tampering),
    /// Somebody else changed the store meanwhile; nothing was written.
    #[error("the store is at revision {found}, not at {expected}")]
    Conflict {
        /// The revision that the change was made for.
        expected: Revision,
        /// The revision that the store is at.
        found: Revision,
    },
    /// The database does not answer.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[from] BackendError),
    /// A key is missing for what was asked.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(SealError),
}

/// A thing in the database that is not what was written, and how one can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    what: String,
    how: &'static str,
}

impl Tampering {
    pub(crate) fn new(what: impl fmt::Display, how: &'static str) -> Self {
        Tampering {
            what: what.to_string(),
            how,
        }
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.how)
    }
}

impl From<Tampering> for Error {
    fn from(tampering: Tampering) -> Self {
        Error::Tampered(tampering)
    }
}
