//! What a change needs to know, and what it does besides changing the scope's document.

use entail_store::{Digest, Recipients};

use crate::documents::retirements::{Grace, Times};
use crate::documents::scope::{Credential, Version};
use entail_decision::provider::Provider;

/// The result of a change.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The current version of the credential.
    pub version: Option<u32>,
    /// Until when the previous version is kept, in milliseconds since
    /// 1970-01-01T00:00:00Z; `None` if it is not kept.
    pub retired_until_ms: Option<u64>,
}

/// What a change needs to know besides the document it changes.
pub(crate) struct Context<'a> {
    pub(crate) times: Times<'a>,
    /// The recipients that secrets are sealed to.
    pub(crate) recipients: &'a Recipients,
    /// The provider that the change names.
    pub(crate) provider: Option<&'a Provider>,
}

/// What a change does to the store besides the document.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) add_blobs: Vec<Vec<u8>>,
    pub(crate) remove_blobs: Vec<Digest>,
    pub(crate) applied: Applied,
}

impl Effects {
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.applied.notes.push(note.into());
    }

    /// How long something that is retired now is kept.
    pub(crate) fn grace(&mut self, grace_ms: u64, context: &Context<'_>) -> Option<Grace> {
        let grace = context.times.grace(grace_ms);
        if grace.is_some() && context.times.is_behind() {
            self.note(
                "this machine's clock is far behind the newest change, so the grace period starts at that change",
            );
        }
        grace
    }

    /// Retires a version of a credential.
    pub(crate) fn retire(
        &mut self,
        credential: &mut Credential,
        version: Version,
        expires_at_ms: Option<u64>,
        grace_ms: u64,
        context: &Context<'_>,
    ) {
        let grace = self.grace(grace_ms, context);
        self.applied.retired_until_ms = grace.as_ref().map(|grace| grace.until_ms);
        let note = credential.retire(version, expires_at_ms, grace, &mut self.remove_blobs);
        self.applied.notes.extend(note);
    }
}
