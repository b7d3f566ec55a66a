//! What a change writes.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::keyring::{Keyring, KeyringDraft};
use crate::row::DocumentKey;

/// What a change writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Documents to create or replace.
    pub put: Vec<(DocumentKey, Box<RawValue>)>,
    /// Documents to overwrite and remove.
    pub remove: Vec<DocumentKey>,
    /// Blobs to add.
    pub add_blobs: Vec<Vec<u8>>,
    /// Blobs to overwrite and remove.
    pub remove_blobs: Vec<Digest>,
    /// The document that says who the author is, if the store does not have it yet. It is no part of
    /// a proposal: who applies one is the author.
    pub author: Option<(DocumentKey, Box<RawValue>)>,
    /// The keyring that is in force from this change on, if it changes.
    pub keyring: Option<NewKeyring>,
}

/// A keyring to put into force.
#[derive(Debug)]
pub struct NewKeyring {
    pub(super) before: Vec<Arc<Keyring>>,
    pub(super) form: Form,
    pub(super) takes_over: bool,
}

/// Whether a new keyring is signed.
#[derive(Debug)]
pub(super) enum Form {
    /// The owner keys of this machine sign it.
    Draft(Box<KeyringDraft>),
    /// Enough owners signed it.
    Signed(Arc<Keyring>),
}

impl NewKeyring {
    fn new(form: Form) -> Self {
        NewKeyring {
            before: Vec::new(),
            form,
            takes_over: false,
        }
    }

    /// A keyring that enough owners have signed.
    pub fn signed(keyring: Keyring) -> Self {
        Self::new(Form::Signed(Arc::new(keyring)))
    }

    /// Puts signed keyrings before it that are not in the database yet, in order. A restore carries
    /// them over from the state that it replaces.
    #[must_use]
    pub fn after(mut self, before: Vec<Arc<Keyring>>) -> Self {
        self.before = before;
        self
    }

    /// Allows that the owners of the keyring before it do not sign it. Only a machine that trusts
    /// the new keyring for another reason accepts it, as after a restore on a clean machine.
    #[must_use]
    pub fn taking_over(mut self) -> Self {
        self.takes_over = true;
        self
    }
}

impl From<KeyringDraft> for NewKeyring {
    fn from(draft: KeyringDraft) -> Self {
        Self::new(Form::Draft(Box::new(draft)))
    }
}
