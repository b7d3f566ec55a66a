//! A verification in progress: the steps, and the comparison of rows with the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::expected::JournalState;
use super::report::{CheckReport, DocumentBlobs, Progress, Visitor};
use crate::backend::{ReadTransaction, RowCounts};
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::head::JournalHead;
use crate::journal::position::JournalPosition;
use crate::journal::search::was_written;
use crate::row::{BlobRow, DocumentKey};
use crate::store::read::{old_document, removed_document, unknown_document};
use crate::tampering::{Fault, Tampering};
use crate::tree::Tree;

/// The number of rows to read at once.
pub(super) const PAGE: usize = 500;

/// Returns the blobs that a document refers to.
pub(crate) type BlobNames<'a> = dyn Fn(&Document) -> Vec<Digest> + Sync + 'a;

/// A verification in progress.
pub(super) struct Check<'a> {
    pub(super) snapshot: &'a dyn ReadTransaction,
    visitor: &'a mut dyn Visitor,
    pub(super) report: CheckReport,
    pub(super) progress: Progress,
    /// Whether the database's own integrity check failed.
    pub(super) is_damaged: bool,
}

impl<'a> Check<'a> {
    pub(super) fn new(snapshot: &'a dyn ReadTransaction, visitor: &'a mut dyn Visitor) -> Self {
        Check {
            snapshot,
            visitor,
            report: CheckReport::default(),
            progress: Progress { done: 0, all: 0 },
            is_damaged: false,
        }
    }
}

impl Check<'_> {
    /// Verifies everything.
    pub(super) async fn run(
        &mut self,
        head: &JournalHead,
        anchored: JournalPosition,
        names: &BlobNames<'_>,
    ) -> Result<(), Error> {
        let damages = self.snapshot.damages().await?;
        // In edited pages, counting can loop forever, while an ordered walk ends. So a
        // damaged database is walked through, but not counted.
        if damages.is_empty() {
            self.report.counts = self.snapshot.counts().await?;
        }
        self.is_damaged = !damages.is_empty();
        self.report.faults.extend(damages);
        let RowCounts {
            entries,
            keyrings: _,
            documents,
            blobs,
            nodes,
        } = self.report.counts;
        self.progress.all = entries + documents + blobs + nodes;
        // Without a valid journal there is nothing to compare the rest with.
        let Some((state, checkpoint)) = self.journal(head, anchored).await? else {
            return Ok(());
        };
        let before = self.progress.done;
        self.tree(&state, &checkpoint).await?;
        self.check_count("tree", before, nodes);
        let before = self.progress.done;
        self.documents(&state, names).await?;
        self.check_count("documents", before, documents);
        let before = self.progress.done;
        self.blobs(&state).await?;
        self.check_count("blobs", before, blobs);
        Ok(())
    }

    /// Compares the number of rows that an ordered walk found with the number of all
    /// rows: edited pages can contain rows that no ordered walk finds.
    fn check_count(&mut self, table: &str, before: u64, rows: u64) {
        let found = self.progress.done - before;
        if found != rows && !self.is_damaged {
            let reason = format!("has {rows} rows, but an ordered walk finds {found}");
            self.fault(Fault::Forged, format_args!("the table {table}"), reason);
        }
    }

    pub(super) fn fault(
        &mut self,
        fault: Fault,
        what: impl fmt::Display,
        reason: impl fmt::Display,
    ) {
        let tampering = Tampering::new(fault, what, reason);
        self.report.faults.push(tampering);
    }

    pub(super) fn step(&mut self, rows: usize) {
        self.progress.done += u64::try_from(rows).unwrap_or(0);
        self.visitor.progress(self.progress);
    }

    /// Compares the tree nodes with the tree of the documents in the journal.
    async fn tree(&mut self, state: &JournalState, checkpoint: &Checkpoint) -> Result<(), Error> {
        let tree = Tree::of(&state.documents)?;
        let mut expected = tree.into_changed();
        let expected_root = expected
            .get(&Vec::new())
            .and_then(Option::as_ref)
            .map(|node| Digest::of(node));
        let count = u64::try_from(state.documents.len()).ok();
        if expected_root != Some(checkpoint.tree) || count != Some(checkpoint.documents) {
            self.fault(
                Fault::Forged,
                "the journal",
                "describes documents other than those of its newest entry",
            );
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.snapshot.nodes(after.as_deref(), PAGE).await?;
            self.step(rows.len());
            let Some((last, _)) = rows.last() else {
                break;
            };
            after = Some(last.clone());
            for (path, node) in rows {
                let what = format!("node {} of the document tree", path_text(&path));
                match expected.remove(&path).flatten() {
                    Some(expected) if expected == node => {}
                    Some(_) => self.fault(Fault::Forged, what, "is not what was written"),
                    None => self.fault(Fault::Extra, what, "does not belong to any document"),
                }
            }
        }
        // The root of an empty tree may be missing.
        let missing = expected
            .iter()
            .filter(|(path, node)| {
                node.is_some() && !(path.is_empty() && state.documents.is_empty())
            })
            .map(|(path, _)| format!("node {} of the document tree", path_text(path)))
            .collect::<Vec<_>>();
        for what in missing {
            self.fault(Fault::Missing, what, "is missing");
        }
        Ok(())
    }

    /// Compares the documents with the journal.
    async fn documents(
        &mut self,
        state: &JournalState,
        names: &BlobNames<'_>,
    ) -> Result<(), Error> {
        let mut missing: BTreeSet<&DocumentKey> = state.documents.keys().collect();
        let mut after: Option<DocumentKey> = None;
        loop {
            let rows = self.snapshot.documents(after.as_ref(), PAGE).await?;
            self.step(rows.len());
            let Some((last, _)) = rows.last() else {
                break;
            };
            after = Some(last.clone());
            let snapshot = self.snapshot;
            let page = |after| snapshot.journal(after, PAGE);
            for (key, bytes) in &rows {
                missing.remove(key);
                let Some(digest) = state.documents.get(key) else {
                    let fault = match was_written(page, key, bytes).await? {
                        true => removed_document(key),
                        false => unknown_document(key),
                    };
                    self.report.faults.push(fault);
                    continue;
                };
                match Document::verify(key, bytes, *digest) {
                    Ok(document) => match document.check_readable() {
                        Ok(_) => self.visit(&document, names).await?,
                        Err(error) => self.report.faults.push(error),
                    },
                    Err(error) => {
                        let fault = match was_written(page, key, bytes).await? {
                            true => old_document(key),
                            false => error,
                        };
                        self.report.faults.push(fault);
                    }
                }
            }
        }
        for key in missing {
            self.fault(Fault::Missing, key, "is missing");
        }
        Ok(())
    }

    /// Passes a document to the visitor, with the blobs that it refers to.
    async fn visit(&mut self, document: &Document, names: &BlobNames<'_>) -> Result<(), Error> {
        let mut blobs = BTreeMap::new();
        for digest in names(document) {
            if let Some(bytes) = self.snapshot.blob(&digest).await? {
                blobs.insert(digest, bytes);
            }
        }
        let blobs = DocumentBlobs { blobs: &blobs };
        let faults = self.visitor.document(document, &blobs);
        self.report.faults.extend(faults);
        Ok(())
    }

    /// Compares the blobs with the journal.
    async fn blobs(&mut self, state: &JournalState) -> Result<(), Error> {
        let mut missing = state.blobs.clone();
        let mut after: Option<i64> = None;
        loop {
            let rows = self.snapshot.blobs(after, PAGE).await?;
            self.step(rows.len());
            let Some(last) = rows.last() else {
                break;
            };
            after = Some(last.place);
            for BlobRow { name, bytes, .. } in rows {
                let named = <[u8; 32]>::try_from(name.as_slice()).ok().map(Digest::from);
                let found = Digest::of(&bytes);
                let what = match named {
                    Some(digest) => format!("blob {digest}"),
                    None => "a blob whose name is not a digest".to_owned(),
                };
                match named.filter(|digest| state.blobs.contains(digest)) {
                    None => self.fault(Fault::Extra, what, "is not in the journal"),
                    Some(digest) => {
                        missing.remove(&digest);
                        if state.blobs.contains(&found) && digest != found {
                            self.fault(Fault::Swapped, what, format_args!("contains blob {found}"));
                        } else if digest != found {
                            self.fault(Fault::Forged, what, "does not match its digest");
                        }
                    }
                }
            }
        }
        for digest in missing {
            self.fault(Fault::Missing, format_args!("blob {digest}"), "is missing");
        }
        Ok(())
    }
}

/// A path as text.
fn path_text(path: &[u8]) -> String {
    match path {
        [] => "/".to_owned(),
        path => String::from_utf8_lossy(path).replace('\0', "/"),
    }
}
