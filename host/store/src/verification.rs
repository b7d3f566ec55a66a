//! The long look: the whole journal from its first entry on, and every document,
//! node and blob held against what it tells.
//!
//! It looks at the database as it is at one moment, so others can write meanwhile.
//! What it trusts is the newest entry, which the anchor and the present key bear out;
//! from there the chain settles every byte of every entry before. That nothing
//! stands beside the bytes that was not written (another signature, another
//! signer) is checked as well, by the keys that the journal itself hands on.

use std::collections::{BTreeMap, BTreeSet};

use crate::Revision;
use crate::anchor::Mark;
use crate::backend::{BackendError, BlobRow, Counts, Frozen, SignedRow};
use crate::digest::Digest;
use crate::document::{Document, DocumentKey};
use crate::error::{Error, Fault, Tampering};
use crate::journal::Entry;
use crate::known::{Known, mark_of};
use crate::signing::Verifier;
use crate::store::Store;
use crate::tree::Tree;

/// Rows read at a time.
const PAGE: usize = 500;

/// What a check has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows looked at.
    pub done: u64,
    /// Rows that there are.
    pub all: u64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// The revision of the moment.
    pub revision: Revision,
    /// What there was to look at.
    pub counts: Counts,
    /// What is wrong.
    pub faults: Vec<Tampering>,
    /// Documents that have the signature of an earlier key.
    pub under_old_signer: Vec<DocumentKey>,
}

/// Gets to see what a check has found in order.
pub trait Visitor: Send {
    /// Some more was looked at.
    fn progress(&mut self, progress: Progress);

    /// A document that is as it should be; what is wrong with what it names comes
    /// back. A blob is read through [`Moment`].
    fn document(&mut self, document: &Document, moment: &Moment<'_>) -> Vec<Tampering>;
}

/// The database at the moment of a check.
#[allow(missing_debug_implementations)] // a view, and nothing to see
pub struct Moment<'a> {
    blobs: &'a BTreeMap<Digest, Vec<u8>>,
}

impl Moment<'_> {
    /// A blob that was looked at with the document that names it.
    pub fn blob(&self, digest: &Digest) -> Option<&[u8]> {
        self.blobs.get(digest).map(Vec::as_slice)
    }
}

/// What the journal says that there is.
#[derive(Default)]
struct Told {
    documents: BTreeMap<DocumentKey, Digest>,
    blobs: BTreeSet<Digest>,
    /// The root of the tree of documents, by the newest entry.
    root: Option<Digest>,
}

/// A check under way.
struct Check<'a> {
    frozen: &'a dyn Frozen,
    visitor: &'a mut dyn Visitor,
    report: Report,
    progress: Progress,
    /// Whether the pages of the database are not what they should be.
    is_damaged: bool,
}

impl Store {
    /// Walks the whole journal, and holds every document, node and blob against it.
    /// `names` says which blobs a document names.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the database cannot be read. What is wrong within
    /// is in [`Report::faults`].
    pub async fn check(
        &self,
        visitor: &mut dyn Visitor,
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<Report, Error> {
        let anchored = self.anchor().read()?;
        let frozen = match self.backend.freeze().await {
            Ok(frozen) => frozen,
            Err(BackendError::Tampered(fault)) => return Ok(Report::of(fault)),
            Err(error) => return Err(error.into()),
        };
        check_with(&*frozen, &self.known(), anchored, visitor, names).await
    }
}

/// Holds everything in a database against its journal, and that against what is known
/// of it; what documents say, and name, is not looked into.
pub(crate) async fn check_rows(
    frozen: &dyn Frozen,
    known: &Known,
    anchored: Mark,
) -> Result<Report, Error> {
    check_with(frozen, known, anchored, &mut Unseen, &|_| Vec::new()).await
}

/// Looks into nothing.
struct Unseen;

impl Visitor for Unseen {
    fn progress(&mut self, _progress: Progress) {}

    fn document(&mut self, _document: &Document, _moment: &Moment<'_>) -> Vec<Tampering> {
        Vec::new()
    }
}

async fn check_with(
    frozen: &dyn Frozen,
    known: &Known,
    anchored: Mark,
    visitor: &mut dyn Visitor,
    names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
) -> Result<Report, Error> {
    let mut check = Check {
        frozen,
        visitor,
        report: Report::default(),
        progress: Progress { done: 0, all: 0 },
        is_damaged: false,
    };
    match check.all(known, anchored, names).await {
        // What is damaged ends the look, and is one of the things that are wrong.
        Err(Error::Tampered(fault)) => check.report.faults.push(fault),
        done => done?,
    }
    Ok(check.report)
}

impl Report {
    fn of(fault: Tampering) -> Self {
        Report {
            faults: vec![fault],
            ..Report::default()
        }
    }
}

impl Check<'_> {
    async fn all(
        &mut self,
        known: &Known,
        anchored: Mark,
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<(), Error> {
        let damages = self.frozen.damages().await?;
        // Who edits pages can have rows that are counted without end; a walk in order has
        // one. So what can still be named is, and how much there is remains unknown.
        if damages.is_empty() {
            self.report.counts = self.frozen.counts().await?;
        }
        self.is_damaged = !damages.is_empty();
        self.report.faults.extend(damages);
        let Counts {
            entries,
            documents,
            blobs,
            nodes,
        } = self.report.counts;
        self.progress.all = entries + documents + blobs + nodes;
        let told = self.journal(known, anchored).await?;
        // Without a journal there is nothing to hold the rest against.
        if let Some((told, verifiers)) = told {
            let walked = self.progress.done;
            self.tree(&told).await?;
            self.walked("tree", walked, nodes);
            let walked = self.progress.done;
            self.documents(&told, &verifiers, names).await?;
            self.walked("documents", walked, documents);
            let walked = self.progress.done;
            self.blobs(&told).await?;
            self.walked("blobs", walked, blobs);
        }
        Ok(())
    }

    /// Holds how many rows a walk in order came to against how many there are: who
    /// edits pages can have rows that no order leads to.
    fn walked(&mut self, table: &str, before: u64, rows: u64) {
        let came_to = self.progress.done - before;
        if came_to != rows && !self.is_damaged {
            let how = format!("has {rows} rows, and a walk in order comes to {came_to}");
            self.fault(Fault::Forged, format_args!("the table {table}"), how);
        }
    }

    fn fault(&mut self, fault: Fault, what: impl std::fmt::Display, how: impl std::fmt::Display) {
        self.report.faults.push(Tampering::new(fault, what, how));
    }

    fn step(&mut self, rows: usize) {
        self.progress.done += u64::try_from(rows).unwrap_or(0);
        self.visitor.progress(self.progress);
    }

    /// Walks the journal; answers with what it tells and whose signatures hold, if
    /// it can be believed.
    async fn journal(
        &mut self,
        known: &Known,
        anchored: Mark,
    ) -> Result<Option<(Told, Vec<Verifier>)>, Error> {
        let mut told = Told::default();
        let mut signers: Vec<Verifier> = Vec::new();
        let mut last: Option<(Mark, Entry)> = None;
        let mut believed = true;
        loop {
            let after = last.as_ref().map_or(0, |(mark, _)| mark.revision);
            let rows = self.frozen.journal(after, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            self.step(rows.len());
            for row in &rows {
                let before = last.as_ref().map(|(mark, _)| *mark).unwrap_or_default();
                let entry = self.entry(row, before, &mut signers);
                believed &= entry.is_some();
                // What follows is still worth looking at in the light of a bad one.
                let Some(entry) = entry.or_else(|| Entry::parse(row).ok()) else {
                    return Ok(None);
                };
                told.take_in(&entry);
                last = Some((mark_of(row), entry));
                for witnessed in [known.mark, anchored] {
                    if witnessed.revision == row.revision && witnessed != mark_of(row) {
                        believed = false;
                        self.fault(
                            Fault::Forged,
                            format_args!("journal entry {}", row.revision),
                            "is another one than was there before",
                        );
                    }
                }
            }
        }
        let (mark, entry) = match last {
            Some((mark, entry)) => (mark, Some(entry)),
            None => (Mark::default(), None),
        };
        self.report.revision = mark.revision;
        let walked = self.progress.done;
        if walked != self.report.counts.entries && !self.is_damaged {
            self.fault(Fault::Extra, "the journal", "has entries before its first");
        }
        if mark.revision < known.mark.revision.max(anchored.revision) {
            self.fault(
                Fault::Stale,
                "the journal",
                "has gone back behind an entry that was there",
            );
            believed = false;
        }
        let Some(entry) = entry.filter(|_| believed) else {
            return Ok(None);
        };
        // The key that signed last is the one that this node trusts.
        let trusted = known.verifiers.first().map(Verifier::id);
        if signers.first().map(Verifier::id) != trusted
            && mark.revision <= known.mark.revision.max(anchored.revision)
        {
            self.fault(
                Fault::Forged,
                "the journal",
                "ends under a key that is not trusted",
            );
            return Ok(None);
        }
        if u64::try_from(told.documents.len()).ok() != Some(entry.count) {
            self.fault(
                Fault::Forged,
                "the journal",
                "tells of another number of documents than its newest entry says",
            );
        }
        told.root = Some(entry.documents);
        Ok(Some((told, signers)))
    }

    /// Looks at one entry; none if it cannot be believed.
    fn entry(
        &mut self,
        row: &SignedRow,
        before: Mark,
        signers: &mut Vec<Verifier>,
    ) -> Option<Entry> {
        let unsigned = match Entry::parse(row) {
            Ok(entry) => entry,
            Err(error) => {
                self.report.faults.push(error);
                return None;
            }
        };
        let successor = match unsigned.successor() {
            Ok(successor) => successor,
            Err(error) => {
                self.report.faults.push(error);
                return None;
            }
        };
        // A key is handed on by the one before; the first by itself, and so is that
        // of a store that was restored without the one before.
        let by_itself = successor
            .clone()
            .filter(|key| key.id().as_str() == row.signer);
        let signer = by_itself.or_else(|| signers.first().cloned());
        let verified = match signer {
            Some(signer) => Entry::verify(row, &signer),
            None => Err(Entry::tampering(
                row.revision,
                "is the first, and names no key",
            )),
        };
        if let Some(successor) = successor {
            signers.retain(|known| known.id() != successor.id());
            signers.insert(0, successor);
        }
        match verified {
            Err(error) => {
                self.report.faults.push(error);
                None
            }
            Ok(entry) if !entry.follows(before) => {
                self.fault(
                    Fault::Forged,
                    format_args!("journal entry {}", row.revision),
                    "does not follow the one before",
                );
                None
            }
            Ok(entry) => Some(entry),
        }
    }

    /// Holds the nodes against the tree of what the journal tells of.
    async fn tree(&mut self, told: &Told) -> Result<(), Error> {
        let tree = Tree::of(&told.documents)?;
        let mut expected = tree.into_changed();
        let known_root = expected
            .get(&Vec::new())
            .and_then(Option::as_ref)
            .map(|node| Digest::of(node));
        if known_root != told.root {
            self.fault(
                Fault::Forged,
                "the journal",
                "tells of other documents than its newest entry says",
            );
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.frozen.nodes(after.as_deref(), PAGE).await?;
            self.step(rows.len());
            let Some((last, _)) = rows.last() else {
                break;
            };
            after = Some(last.clone());
            for (path, node) in rows {
                let what = format!("node {} of the tree of documents", digits(&path));
                match expected.remove(&path).flatten() {
                    Some(known) if known == node => {}
                    Some(_) => self.fault(Fault::Forged, what, "is not what was written"),
                    None => self.fault(Fault::Extra, what, "belongs to no document"),
                }
            }
        }
        // A tree without documents need not be written.
        let missing = expected
            .iter()
            .filter(|(path, node)| {
                node.is_some() && !(path.is_empty() && told.documents.is_empty())
            })
            .map(|(path, _)| format!("node {} of the tree of documents", digits(path)))
            .collect::<Vec<_>>();
        for what in missing {
            self.fault(Fault::Missing, what, "is missing");
        }
        Ok(())
    }

    /// Holds the documents against what the journal tells of.
    async fn documents(
        &mut self,
        told: &Told,
        verifiers: &[Verifier],
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<(), Error> {
        let mut missing: BTreeSet<&DocumentKey> = told.documents.keys().collect();
        let mut after: Option<DocumentKey> = None;
        loop {
            let rows = self.frozen.documents(after.as_ref(), PAGE).await?;
            self.step(rows.len());
            let Some((last, _)) = rows.last() else {
                break;
            };
            after = Some(last.clone());
            for (key, row) in &rows {
                missing.remove(key);
                let Some(digest) = told.documents.get(key) else {
                    self.fault(Fault::Extra, key, "is not in the journal");
                    continue;
                };
                match Document::verify(key, row, verifiers, *digest) {
                    Ok(document) => self.look_into(&document, verifiers, names).await?,
                    Err(error) => self.report.faults.push(error),
                }
            }
        }
        for key in missing {
            self.fault(Fault::Missing, key, "is missing");
        }
        Ok(())
    }

    /// Shows a document to the visitor, with the blobs that it names.
    async fn look_into(
        &mut self,
        document: &Document,
        verifiers: &[Verifier],
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<(), Error> {
        let current = verifiers.first().map(|verifier| verifier.id().as_str());
        if current != Some(document.signer()) {
            self.report.under_old_signer.push(document.key().clone());
        }
        let mut blobs = BTreeMap::new();
        for digest in names(document) {
            if let Some(bytes) = self.frozen.blob(&digest).await? {
                blobs.insert(digest, bytes);
            }
        }
        let moment = Moment { blobs: &blobs };
        let faults = self.visitor.document(document, &moment);
        self.report.faults.extend(faults);
        Ok(())
    }

    /// Holds the blobs against what the journal tells of.
    async fn blobs(&mut self, told: &Told) -> Result<(), Error> {
        let mut missing = told.blobs.clone();
        let mut after: Option<i64> = None;
        loop {
            let rows = self.frozen.blobs(after, PAGE).await?;
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
                    None => "a blob whose name is no digest".to_owned(),
                };
                match named.filter(|digest| told.blobs.contains(digest)) {
                    None => self.fault(Fault::Extra, what, "is not in the journal"),
                    Some(digest) => {
                        missing.remove(&digest);
                        if told.blobs.contains(&found) && digest != found {
                            self.fault(Fault::Swapped, what, format_args!("holds blob {found}"));
                        } else if digest != found {
                            self.fault(Fault::Forged, what, "holds other bytes than its name says");
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

impl Told {
    fn take_in(&mut self, entry: &Entry) {
        for effect in &entry.effects {
            match effect.after {
                Some(digest) => self.documents.insert(effect.key.clone(), digest),
                None => self.documents.remove(&effect.key),
            };
        }
        for digest in &entry.blobs_removed {
            self.blobs.remove(digest);
        }
        self.blobs.extend(&entry.blobs_added);
    }
}

/// A path as hexadecimal digits, as many as are worth showing.
fn digits(path: &[u8]) -> String {
    match path {
        [] => "/".to_owned(),
        path => path
            .iter()
            .take(16)
            .filter_map(|digit| char::from_digit(u32::from(*digit), 16))
            .collect(),
    }
}
