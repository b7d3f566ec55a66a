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
    /// The keyring that is in force from this change on, if it changes.
    pub keyring: Option<NewKeyring>,
}

/// A keyring to put into force.
#[derive(Debug)]
pub struct NewKeyring {
    /// Signed keyrings that come before it and are not in the database yet, in order. A restore
    /// carries them over from the state that it replaces.
    pub before: Vec<Arc<Keyring>>,
    /// The keyring. The owner keys of this machine sign it.
    pub draft: KeyringDraft,
}

impl From<KeyringDraft> for NewKeyring {
    fn from(draft: KeyringDraft) -> Self {
        NewKeyring {
            before: Vec::new(),
            draft,
        }
    }
}
