//! What a verification reports, and how a caller takes part in it.

use std::collections::BTreeMap;

use crate::backend::RowCounts;
use crate::digest::Digest;
use crate::document::Document;
use crate::journal::position::Revision;
use crate::tampering::Tampering;

/// The progress of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of verified rows.
    pub done: u64,
    /// The number of all rows.
    pub all: u64,
}

/// The result of a verification.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// The revision of the verified snapshot.
    pub revision: Revision,
    /// The number of rows.
    pub counts: RowCounts,
    /// Everything that is wrong.
    pub faults: Vec<Tampering>,
}

impl CheckReport {
    /// The report of a database that cannot be read because of `fault`.
    pub(crate) fn of(fault: Tampering) -> Self {
        CheckReport {
            faults: vec![fault],
            ..CheckReport::default()
        }
    }
}

/// Called during a verification, to verify the contents of documents as well.
pub trait Visitor: Send {
    /// Called after more rows were verified.
    fn progress(&mut self, progress: Progress);

    /// Called for each valid document, with the blobs that it refers to. Returns what is
    /// wrong with them.
    fn document(&mut self, document: &Document, blobs: &DocumentBlobs<'_>) -> Vec<Tampering>;
}

/// The blobs that a document refers to.
#[allow(missing_debug_implementations)] // the blobs are large and not readable
pub struct DocumentBlobs<'a> {
    pub(super) blobs: &'a BTreeMap<Digest, Vec<u8>>,
}

impl DocumentBlobs<'_> {
    /// Returns a blob that the document refers to; `None` if it does not exist.
    pub fn blob(&self, digest: &Digest) -> Option<&[u8]> {
        self.blobs.get(digest).map(Vec::as_slice)
    }
}
