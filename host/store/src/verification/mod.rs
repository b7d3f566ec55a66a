//! The verification of a whole database: every document, tree node and blob is compared
//! with the state that the journal describes.
//!
//! It works on a snapshot, so others can write concurrently. The checkpoint that this machine saw
//! last fixes everything before it by its chain of digests, and the keyring that this machine
//! trusts fixes those before it. What comes later must be signed by the keys that are in force.
//! The signatures of what came before are verified as well, by the keys that were in force then.

mod check;
mod expected;
mod journal;
pub(crate) mod report;

use check::{BlobNames, Check};
use report::{CheckReport, Visitor};

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
