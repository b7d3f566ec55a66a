//! The error type of [`Store`](crate::Store).

use crate::anchor::AnchorError;
use crate::backend::BackendError;
use crate::journal::position::Revision;
use crate::keyring::proposal::{Proposal, ProposalError};
use crate::keys::error::KeyError;
use crate::sealing::context::SealError;
use crate::tampering::Tampering;

/// Why an operation on a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database does not hold what was written to it.
    #[error("{}", .0.as_error())]
    Tampered(Tampering),
    /// The store changed concurrently. Nothing was written.
    #[error("the store is at revision {found}, not at {expected}")]
    Conflict {
        /// The revision that the change was made for.
        expected: Revision,
        /// The current revision of the store.
        found: Revision,
    },
    /// Owners that this machine trusts restored an earlier state on another machine, which this
    /// machine has not accepted yet.
    #[error(
        "the store was restored to an earlier state elsewhere, by owners that this machine \
         trusts: it is at revision {found}, and this machine has seen revision {seen} of the \
         state before"
    )]
    RestoredElsewhere {
        /// The newest revision of the database.
        found: Revision,
        /// The newest revision that this machine has seen.
        seen: Revision,
    },
    /// The database cannot be used.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] BackendError),
    /// A key is missing or cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// More owners must sign the new keyring. Nothing was written.
    #[error("{}", .0.waiting())]
    OwnersRequired(Box<Proposal>),
    /// A proposal cannot be applied.
    #[error("the proposal: {0}")]
    Proposal(#[from] ProposalError),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(SealError),
    /// The anchor cannot be read or written.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The change is committed, but the anchor could not be updated.
    #[error("the change is committed, but the anchor could not be updated: {0}")]
    NotAnchored(#[source] AnchorError),
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
