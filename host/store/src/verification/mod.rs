//! The verification of a whole database: every document, tree node and blob is compared
//! with the state that the journal describes.
//!
//! It works on a snapshot, so others can write concurrently. It trusts the newest entry,
//! which the anchor and the current key confirm. From there the hash chain fixes every
//! byte of every earlier entry. The columns beside the signed bytes (signature, signer)
//! are verified with the keys that the journal itself names.

mod check;
mod expected;
mod journal;
pub(crate) mod report;

use check::{BlobNames, Check};
use report::{CheckReport, NoopVisitor, Visitor};

use crate::backend::ReadTransaction;
use crate::error::Error;
use crate::journal::head::JournalHead;
use crate::journal::position::JournalPosition;

/// Verifies a snapshot against its journal, and the journal against `head` and the
/// anchored position. `names` returns the blobs that a document refers to.
pub(crate) async fn verify(
    snapshot: &dyn ReadTransaction,
    head: &JournalHead,
    anchored: JournalPosition,
    visitor: &mut dyn Visitor,
    names: &BlobNames<'_>,
) -> Result<CheckReport, Error> {
    let mut check = Check::new(snapshot, visitor);
    match check.run(head, anchored, names).await {
        // Damage that ends the check is one of the faults.
        Err(Error::Tampered(fault)) => check.report.faults.push(fault),
        done => done?,
    }
    Ok(check.report)
}

/// Verifies the rows of a snapshot, without the contents of documents.
pub(crate) async fn verify_rows(
    snapshot: &dyn ReadTransaction,
    head: &JournalHead,
    anchored: JournalPosition,
) -> Result<CheckReport, Error> {
    verify(snapshot, head, anchored, &mut NoopVisitor, &|_| Vec::new()).await
}
