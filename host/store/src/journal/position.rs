//! Positions in the journal.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Counts the changes of a store. An empty store is at 0.
pub type Revision = u64;

/// The largest revision: numbers up to it are exact in every JSON implementation.
pub(crate) const MAX_REVISION: Revision = (1 << 53) - 1;

/// A position in the journal: a checkpoint and its revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalPosition {
    /// The revision; 0 is before the first change.
    pub revision: Revision,
    /// The SHA-256 of the checkpoint's signed bytes; `None` before the first change.
    pub checkpoint: Option<Digest>,
}
