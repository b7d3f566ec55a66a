//! Creating a home: its contents are prepared in a staging directory, and moved to their
//! places when they are complete.
//!
//! The keys are moved twice. In `keys.staged` they say that everything is complete, and that
//! a database in the home belongs to them; in `keys` they make the directory a home. Creating
//! a home that was interrupted before that starts over, and loses nothing: its keys were never
//! used.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use entail_store::{
    Batch, JournalPosition, Keys, Secret, Sqlite, Store, check_ancestors, check_parent,
    private_directory,
};
use serde_json::json;

use super::layout::{Home, checked, exists};
use crate::blocking::run_future_on_thread;
use crate::clock::{SystemClock, now_ms};
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::principal::Principal;

/// The label of the keys that a home begins with.
pub(crate) const FIRST_LABEL: &str = "first";

impl Home {
    /// Creates a home: the directory if needed, new keys, and a store that seals to the new
    /// identity. A `passphrase` protects the identity. Runs on a separate thread, which
    /// continues if the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails if the directory is a home already, or cannot be written.
    pub async fn create(directory: &Path, passphrase: Option<&Secret>) -> Result<Self, Error> {
        let (directory, passphrase) = (directory.to_owned(), passphrase.cloned());
        run_future_on_thread("entail-create", move || async move {
            let home = Home::prepare(&directory)?;
            let _lock = home.lock()?;
            home.check_free()?;
            home.discard_interrupted()?;
            let staged = home.staging_dir()?;
            let built = staged.build(passphrase.as_ref()).await;
            if let Err(error) = built.and_then(|()| home.promote(&staged)) {
                home.discard(&staged);
                return Err(error);
            }
            Ok(home)
        })
        .await
    }

    /// Checks whether [`Home::create`] would fail, as far as that can be known before.
    /// Creates nothing.
    ///
    /// # Errors
    ///
    /// As [`Home::create`].
    pub fn check_new(directory: &Path) -> Result<(), Error> {
        let home = Home::at(directory);
        home.check_free()?;
        if directory.is_dir() {
            return home.check_permissions();
        }
        home.check_location()
    }

    /// Creates the directory of a home if needed. Does not check what is in it.
    pub(crate) fn prepare(directory: &Path) -> Result<Self, Error> {
        let home = Home::at(directory);
        home.check_location()?;
        private_directory(directory).map_err(|error| home.error(&error))?;
        home.check_permissions()?;
        Ok(home)
    }

    /// Fails if others could redirect the path of the home. Checks the existing part of
    /// the path, before anything is created.
    fn check_location(&self) -> Result<(), Error> {
        let directory =
            std::path::absolute(self.directory()).map_err(|error| self.error(&error))?;
        match directory.ancestors().find(|above| exists(above)) {
            Some(above) if !above.is_dir() => {
                let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
                Err(Home::at(above).error(&error))
            }
            Some(above) if above == directory => checked(check_ancestors(above)),
            Some(above) => checked(check_parent(above)),
            None => Ok(()),
        }
    }

    /// Fails if the directory is a home, or has a database or keys of one.
    pub(crate) fn check_free(&self) -> Result<(), Error> {
        let shown = self.directory().display();
        if self.is_home() {
            return Err(Error::Home(format!("{shown} is a home already")));
        }
        if self.is_interrupted() {
            return Ok(());
        }
        if let Error::Home(message) = self.error_of_no_home() {
            return Err(Error::Home(message));
        }
        let keys = self.keys_directory();
        if std::fs::read_dir(&keys).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Home(format!(
                "{} is not empty, and contains no keyring; move it away",
                keys.display()
            )));
        }
        if exists(&self.database_file()) {
            return Err(Error::Home(format!(
                "{shown} has a database and no keys; put the keys back, or move {} away",
                self.database_file().display()
            )));
        }
        Ok(())
    }

    /// Creates an empty staging directory. Removes one that a stopped process left behind,
    /// so the caller must hold the lock.
    pub(crate) fn staging_dir(&self) -> Result<Self, Error> {
        let staged = self.staging();
        match std::fs::remove_dir_all(staged.directory()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(staged.error(&error));
            }
            _ => {}
        }
        private_directory(staged.directory()).map_err(|error| staged.error(&error))?;
        Ok(staged)
    }

    async fn build(&self, passphrase: Option<&Secret>) -> Result<(), Error> {
        let now_ms = now_ms();
        let keys = Keys::create(&self.keys_directory(), passphrase, FIRST_LABEL, now_ms)?;
        self.anchor()
            .set(JournalPosition::default(), keys.keyring())
            .map_err(Error::Anchor)?;
        let database = Sqlite::create(&self.database_file()).map_err(entail_store::Error::from)?;
        let store = Store::open(Arc::new(database), keys, self.anchor())?;
        let documents = DocumentStore::new(store, Arc::new(SystemClock));
        let change = json!({"change": "create-home"});
        documents
            .commit(&Principal::LocalOwner, 0, Batch::default(), &change)
            .await
    }

    /// Removes what an interrupted [`Home::promote`] moved, the staged keys last. The caller
    /// must hold the lock.
    pub(crate) fn discard_interrupted(&self) -> Result<(), Error> {
        if !self.is_interrupted() {
            return Ok(());
        }
        let removed = self.remove_write_ahead_log().and_then(|()| {
            remove_file(&self.database_file())?;
            remove_file(&self.anchor_file())?;
            sync_directory(self.directory())?;
            std::fs::remove_dir_all(self.staged_keys())
        });
        removed.map_err(|error| self.error(&error))
    }

    /// Removes everything that was prepared, after an error. What cannot be removed is removed
    /// when the home is created again.
    pub(crate) fn discard(&self, staged: &Home) {
        let _ = self.discard_interrupted();
        let _ = std::fs::remove_dir_all(staged.directory());
    }

    /// Moves the contents of the staging directory to their places, the keys last: with
    /// them the directory becomes a home.
    pub(crate) fn promote(&self, staged: &Home) -> Result<(), Error> {
        staged.check_closed()?;
        let keys = self.staged_keys();
        let promoted = self.remove_write_ahead_log().and_then(|()| {
            std::fs::rename(staged.keys_directory(), &keys)?;
            sync_directory(self.directory())?;
            std::fs::rename(staged.anchor_file(), self.anchor_file())?;
            std::fs::rename(staged.database_file(), self.database_file())?;
            std::fs::remove_dir_all(staged.directory())?;
            sync_directory(self.directory())?;
            std::fs::rename(&keys, self.keys_directory())?;
            sync_directory(self.directory())
        });
        promoted.map_err(|error| self.error(&error))
    }

    /// Removes the write-ahead log of a database that is gone: it would be applied to the
    /// database that takes its place.
    pub(crate) fn remove_write_ahead_log(&self) -> std::io::Result<()> {
        for suffix in ["-wal", "-shm"] {
            let mut name = self.database_file().into_os_string();
            name.push(suffix);
            remove_file(Path::new(&name))?;
        }
        Ok(())
    }

    /// Fails if the write-ahead log of the database is not empty: moving the database file
    /// would lose its contents.
    pub(crate) fn check_closed(&self) -> Result<(), Error> {
        let mut log = self.database_file().into_os_string();
        log.push("-wal");
        match std::fs::metadata(&log) {
            Ok(metadata) if metadata.len() > 0 => Err(Error::Home(format!(
                "{} was not written back to its database",
                Path::new(&log).display()
            ))),
            _ => Ok(()),
        }
    }
}

/// Removes a file, if there is one.
fn remove_file(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
