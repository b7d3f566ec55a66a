//! What a change writes.

use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::journal::position::Revision;
use crate::row::DocumentKey;
use crate::signing::Verifier;

/// What a change writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// Documents to create or replace.
    pub put: Vec<(DocumentKey, Box<RawValue>)>,
    /// Documents to remove.
    pub remove: Vec<DocumentKey>,
    /// Blobs to add.
    pub add_blobs: Vec<Vec<u8>>,
    /// Blobs to overwrite and remove.
    pub remove_blobs: Vec<Digest>,
    /// The key that signs from the next change on, if it changes.
    pub trust: Option<Verifier>,
    /// The new revision comes after this one, if it is later than the newest. A restore
    /// uses it to skip the numbers of lost changes.
    pub after: Revision,
}
