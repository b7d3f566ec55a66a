//! What can go wrong with a store.

use std::fmt;

use entail_text::Shown;

use crate::Revision;
use crate::anchor::AnchorError;
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
    Unavailable(#[source] BackendError),
    /// A key is missing for what was asked.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(SealError),
    /// The anchor cannot be read or written.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The change is made, and the anchor does not know.
    #[error("the change is made, but the anchor could not be told: {0}")]
    NotAnchored(#[source] AnchorError),
}

/// In what way a thing in the database is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It was changed, or written by somebody who may not.
    Forged,
    /// It is an older state, put back.
    Stale,
    /// It is gone.
    Missing,
    /// Nobody put it there who may.
    Extra,
    /// It belongs in another place.
    Swapped,
    /// It cannot be opened.
    Unreadable,
}

impl Fault {
    /// A word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Forged => "forged",
            Fault::Stale => "stale",
            Fault::Missing => "missing",
            Fault::Extra => "extra",
            Fault::Swapped => "swapped",
            Fault::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A thing in the database that is not what was written, in what way, and how one
/// can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampering {
    fault: Fault,
    what: String,
    how: String,
}

impl Tampering {
    /// Names a thing, and how one can tell that it is not what was written. Both may
    /// hold names from a database that was tampered with, and are kept as they may be
    /// shown.
    pub fn new(fault: Fault, what: impl fmt::Display, how: impl fmt::Display) -> Self {
        Tampering {
            fault,
            what: Shown::of(&what.to_string()).to_string(),
            how: Shown::of(&how.to_string()).to_string(),
        }
    }

    /// In what way it is not what was written.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The thing.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How one can tell.
    pub fn how(&self) -> &str {
        &self.how
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.what, self.how, self.fault)
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Tampered(tampering) => Error::Tampered(tampering),
            error => Error::Unavailable(error),
        }
    }
}

impl From<Tampering> for Error {
    fn from(tampering: Tampering) -> Self {
        Error::Tampered(tampering)
    }
}
