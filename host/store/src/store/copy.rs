//! Copies and verifications of the whole database.

use std::path::Path;

use super::Store;
use crate::backend::BackendError;
use crate::blocking::off_runtime;
use crate::digest::Digest;
use crate::document::Document;
use crate::error::Error;
use crate::files;
use crate::journal::position::Revision;
use crate::tampering::{Fault, Tampering};
use crate::verification;
use crate::verification::report::{CheckReport, DocumentBlobs, Progress, Visitor};

impl Store {
    /// Verifies the whole journal, and every document, tree node and blob. `names`
    /// returns the blobs that a document refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the database cannot be read;
    /// [`Error::RestoredElsewhere`]. Tampering is reported in
    /// [`CheckReport::faults`].
    pub async fn check(
        &self,
        visitor: &mut dyn Visitor,
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<CheckReport, Error> {
        // Before the snapshot: others may change the store meanwhile.
        let head = self.journal_head();
        let anchored = self.local.anchor.read()?;
        let snapshot = match self.backend.begin_read().await {
            Ok(snapshot) => snapshot,
            Err(BackendError::Tampered(fault)) => return Ok(CheckReport::of(fault)),
            Err(error) => return Err(error.into()),
        };
        let report = verification::verify(&*snapshot, &head, anchored, visitor, names).await?;
        if !report.faults.is_empty()
            && let Some(error) = self.restored_elsewhere().await
        {
            return Err(error);
        }
        Ok(report)
    }

    /// Writes a consistent copy of the database to the new file `file` with mode 0600,
    /// and returns its revision. Others may write concurrently. The file appears under its
    /// name only after it was written, fsynced and verified against the journal, and has all blobs
    /// that documents and epochs name. `names` returns those that a document names.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`]; [`Error::Unavailable`], also if the file exists. Then no file
    /// is left.
    pub async fn copy_to(
        &self,
        file: &Path,
        names: &(dyn Fn(&Document) -> Vec<Digest> + Sync),
    ) -> Result<Revision, Error> {
        let head = self.fetch(&[]).await?.head;
        let anchored = self.local.anchor.read()?;
        let failed =
            |error: std::io::Error| BackendError::Failed(format!("{}: {error}", file.display()));
        let temporary = files::temporary_path(file).map_err(failed)?;
        let write = async || -> Result<Revision, Error> {
            let copy = self.backend.copy_to(&temporary).await?;
            let visitor = &mut Completeness { names };
            let report = verification::verify(&*copy, &head, anchored, visitor, names).await?;
            let epochs = head.keyring.authority().readers.iter();
            for epoch in epochs.flat_map(|readers| &readers.epochs) {
                if copy.blob(&epoch.sealed).await?.is_none() {
                    let what = format!("blob {}", epoch.sealed);
                    let fault = Tampering::new(Fault::Missing, what, "is missing");
                    return Err(fault.into());
                }
            }
            if let Some(fault) = report.faults.into_iter().next() {
                return Err(fault.into());
            }
            drop(copy);
            let (from, to) = (temporary.clone(), file.to_owned());
            let renamed = off_runtime(move || files::name_new(&from, &to));
            renamed.await?.map_err(failed)?;
            Ok(report.revision)
        };
        write().await.inspect_err(|_| {
            // An incomplete copy is useless.
            let _ = std::fs::remove_file(&temporary);
        })
    }
}

/// Finds blobs that documents name and that do not exist.
struct Completeness<'a> {
    names: &'a (dyn Fn(&Document) -> Vec<Digest> + Sync),
}

impl Visitor for Completeness<'_> {
    fn progress(&mut self, _progress: Progress) {}

    fn document(&mut self, document: &Document, blobs: &DocumentBlobs<'_>) -> Vec<Tampering> {
        let named = (self.names)(document).into_iter();
        named
            .filter(|digest| blobs.blob(digest).is_none())
            .map(|digest| {
                let reason = format!("names blob {digest}, which is missing");
                Tampering::new(Fault::Missing, document.key(), reason)
            })
            .collect()
    }
}
