//! Positions in the journal.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Counts the changes of a store. An empty store is at 0.
pub type Revision = u64;

/// A position in the journal: an entry and its revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalPosition {
    /// The revision of the entry; 0 is before the first entry.
    pub revision: Revision,
    /// The SHA-256 of the entry's signed bytes; `None` before the first entry.
    pub entry: Option<Digest>,
}
