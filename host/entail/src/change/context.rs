//! What a change needs to know, and what it does besides changing the scope's document.

use entail_store::{Digest, Fields, Keyring, KeyringDraft, Keys, Readers};

use crate::documents::retirements::{Grace, Times};
use crate::documents::scope::{Credential, Version};
use crate::error::Error;
use entail_decision::name::ScopePath;
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
    /// The keyring that is in force.
    pub(crate) keyring: &'a Keyring,
    /// The keys of this machine.
    pub(crate) keys: &'a Keys,
    /// The provider that the change names.
    pub(crate) provider: Option<&'a Provider>,
    /// The present secret of the credential, if the change may have to seal it again and this
    /// machine can open it.
    pub(crate) present_secret: Option<Fields>,
}

/// What a change does to the store besides the document.
#[derive(Default)]
pub(crate) struct Effects {
    /// The keyring from this change on, if it changes.
    pub(crate) keyring: Option<KeyringDraft>,
    pub(crate) add_blobs: Vec<Vec<u8>>,
    pub(crate) remove_blobs: Vec<Digest>,
    pub(crate) applied: Applied,
}

impl Effects {
    /// What adding a scope does: an organization gets readers.
    pub(crate) fn of_new_scope(path: &ScopePath, context: &Context<'_>) -> Result<Self, Error> {
        let mut effects = Effects::default();
        if path.is_organization() {
            let mut draft = context.keyring.next();
            let recipients = draft.authority.default_recipients.clone();
            let first = Readers::first(path.as_str(), recipients)
                .map_err(|error| Error::from(entail_store::Error::Seal(error)))?;
            let readers = &mut draft.authority.readers;
            readers.push(first.readers);
            readers.sort_by(|one, other| one.organization.cmp(&other.organization));
            effects.keyring = Some(draft);
            effects.add_blobs = first.add_blobs;
        }
        Ok(effects)
    }

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
