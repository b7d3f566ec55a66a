//! The progress and the result of renewing secrets or documents.

use entail_store::SealError;

use crate::documents::scope::{Credential, Version};
use crate::error::Error;
use entail_decision::name::ScopePath;

/// Scopes renewed per commit: enough that waiting for the disk is short
/// compared with the work, few enough that other writers are not held up.
pub(super) const BATCH: usize = 16;

/// Documents read at a time.
pub(super) const PAGE: usize = 1_000;

/// The progress of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Scopes done.
    pub done: usize,
    /// Scopes in all.
    pub all: usize,
}

/// Called after each step.
pub type OnStep<'a> = &'a mut (dyn FnMut(Step) + Send);

/// The result of a renewal.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Whether it was begun earlier, and was finished now.
    pub resumed: bool,
    /// The organizations whose readers changed.
    pub organizations: Vec<String>,
    /// How many secrets were sealed again.
    pub renewed: usize,
    /// The secrets that could not be sealed again.
    pub skipped: Vec<StaleSecret>,
    /// The organizations with secrets that this machine's new identity does not open; only a
    /// rotation of the identity finds them.
    pub unreadable: Vec<String>,
    /// Whether the old identity is kept, because only it may open skipped secrets.
    pub old_identity_kept: bool,
}

/// A secret that is sealed to an earlier epoch.
#[derive(Debug)]
pub struct StaleSecret {
    /// The scope that holds it.
    pub scope: ScopePath,
    /// Its provider, name and version.
    pub credential: String,
    /// Why it could not be sealed again; `None` if that was not tried.
    pub reason: Option<Error>,
    /// Whether the document of the scope cannot be read. All epochs are kept for it.
    is_unreadable_scope: bool,
}

impl StaleSecret {
    pub(crate) fn new(
        scope: &ScopePath,
        credential: &Credential,
        version: &Version,
        reason: Option<Error>,
    ) -> Self {
        StaleSecret {
            scope: scope.clone(),
            credential: format!(
                "{} {} version {}",
                credential.provider, credential.name, version.number
            ),
            reason,
            is_unreadable_scope: false,
        }
    }

    /// All secrets of a scope whose document cannot be read.
    pub(super) fn of_scope(scope: &ScopePath, reason: Error) -> Self {
        StaleSecret {
            scope: scope.clone(),
            credential: "all credentials".to_owned(),
            reason: Some(reason),
            is_unreadable_scope: true,
        }
    }

    /// Whether the old identity may still open it after a repair: it was sealed to it.
    pub(super) fn needs_old_identity(&self) -> bool {
        let is_for_others = matches!(
            self.reason,
            Some(Error::Sealed {
                error: SealError::NotForThisIdentity,
                ..
            })
        );
        // The keys of all epochs are sealed to the new identity.
        !is_for_others && !self.is_unreadable_scope
    }
}
