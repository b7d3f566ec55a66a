//! Backing up the store.

use std::path::Path;
use std::sync::Arc;

use entail_store::Revision;

use super::verify::blobs_of;
use crate::authorize::authorize_whole;
use crate::blocking::run_future_on_thread;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::recovery::handle::Maintenance;

impl Maintenance<'_> {
    /// Writes a backup of the store, as of one moment, to `file`, which must not exist.
    /// Others may change the store concurrently. Returns the revision of the backup.
    ///
    /// A backup is one file, a database like that of the store: sealed secrets, signed
    /// documents, the journal. It does not contain the keys (the recovery key is kept
    /// elsewhere; signers are created again), the settings and additional providers. The
    /// file gets its name after it was fsynced, read back, and verified as a restore would.
    ///
    /// Runs on a separate thread, which continues if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`]; [`Error::Unavailable`]; [`Error::Invalid`] if the file exists, or
    /// the path does not name a file; [`Error::Unreadable`] without its directory.
    pub async fn backup(self, principal: &Principal, file: &Path) -> Result<Revision, Error> {
        authorize_whole(principal, Action::Administer)?;
        let invalid = |problem| Err(Error::Invalid(format!("{} {problem}", file.display())));
        if file.file_name().is_none() {
            return invalid("is not the name of a file");
        }
        if file.symlink_metadata().is_ok() {
            return invalid("exists already");
        }
        if let Some(directory) = file.parent().filter(|parent| *parent != Path::new("")) {
            directory.metadata().map_err(|error| Error::Unreadable {
                file: directory.to_owned(),
                error,
            })?;
        }
        let (store, file) = (Arc::clone(&self.entail.documents.store), file.to_owned());
        run_future_on_thread("entail-backup", move || async move {
            Ok(store.copy_to(&file, &blobs_of).await?)
        })
        .await
    }
}
