//! The files of a home, and who may use them.

use std::fs::File;
use std::path::{Path, PathBuf};

use entail_policy::CodeCache;
use entail_store::{Anchor, KeyError, check_ancestors, check_link, check_private, temporary_files};

use crate::error::Error;

/// The key file that makes a directory a home.
const KEYRING: &str = "keyring.jsonl";

/// A key file of homes that were created before there was a keyring.
const KEY_OF_EARLIER_HOMES: &str = "verifier.pem";

/// The directory in a home in which its contents are prepared.
const STAGING: &str = "staging";

/// The directory in a home with the keys that become its keys when the rest is in place.
const STAGED_KEYS: &str = "keys.staged";

/// The directory that holds everything of one installation.
#[derive(Clone, Debug)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    pub(super) fn at(directory: &Path) -> Self {
        Home {
            directory: directory.to_owned(),
        }
    }

    /// The staging directory of this home.
    pub(super) fn staging(&self) -> Self {
        Home::at(&self.directory.join(STAGING))
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of the keys.
    pub fn keys_directory(&self) -> PathBuf {
        self.directory.join("keys")
    }

    /// The keys of a home that is being created ([`Home::promote`]).
    pub(super) fn staged_keys(&self) -> PathBuf {
        self.directory.join(STAGED_KEYS)
    }

    /// The database file.
    pub fn database_file(&self) -> PathBuf {
        self.directory.join("entail.db")
    }

    /// The anchor file.
    pub(super) fn anchor_file(&self) -> PathBuf {
        self.directory.join("anchor.json")
    }

    /// The anchor.
    pub fn anchor(&self) -> Anchor {
        Anchor::at(self.anchor_file())
    }

    /// The current file of the decision log.
    pub fn decision_log(&self) -> PathBuf {
        self.directory.join("decisions.jsonl")
    }

    /// The file that says who the ids in the decision log are.
    pub fn principals_file(&self) -> PathBuf {
        self.directory.join("principals.jsonl")
    }

    /// The log of the decisions of shadow policies.
    pub fn shadow_log(&self) -> PathBuf {
        self.directory.join("shadow.jsonl")
    }

    /// The directory of proposals that wait for signatures of owners.
    pub fn proposals_directory(&self) -> PathBuf {
        self.directory.join("proposals")
    }

    /// The file of additional providers.
    pub fn providers_file(&self) -> PathBuf {
        self.directory.join("providers.toml")
    }

    /// The file of settings.
    pub fn settings_file(&self) -> PathBuf {
        self.directory.join("settings.toml")
    }

    /// The cache of compiled policies. Its key is not in the directory of the keys, which
    /// may be read-only and needs a backup; the cache needs none.
    pub fn code_cache(&self) -> CodeCache {
        CodeCache::new(
            self.directory.join("cache"),
            self.directory.join("cache.key"),
        )
    }

    /// What stopped processes left behind: incomplete homes and files. They may contain
    /// private keys.
    ///
    /// # Errors
    ///
    /// Fails if a directory cannot be read.
    pub fn temporary_files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = vec![self.directory.join(STAGING), self.staged_keys()];
        found.retain(|staged| staged.exists());
        for directory in [&self.directory, &self.keys_directory()] {
            found.extend(temporary_files(directory).map_err(|error| self.error(&error))?);
        }
        Ok(found)
    }

    /// Whether the directory is a home.
    pub fn exists(directory: &Path) -> bool {
        Home::at(directory).is_home()
    }

    pub(super) fn is_home(&self) -> bool {
        exists(&self.keys_directory().join(KEYRING))
    }

    /// Whether creating the home was interrupted when its contents were complete, but not all
    /// in their places.
    pub(super) fn is_interrupted(&self) -> bool {
        exists(&self.staged_keys()) && !self.is_home()
    }

    /// Why the directory is not a home of this version.
    pub(super) fn error_of_no_home(&self) -> Error {
        if self.is_interrupted() {
            return Error::Home(format!(
                "{} is not complete, because creating it was interrupted; create or restore it \
                 again",
                self.directory.display()
            ));
        }
        match self.keys_directory().join(KEYRING).symlink_metadata() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Error::Home(format!("{}: {error}", self.keys_directory().display()))
            }
            _ if exists(&self.keys_directory().join(KEY_OF_EARLIER_HOMES)) => Error::Home(format!(
                "{} was created by an earlier, unreleased version of Entail, whose form this \
                     version does not read; create a new home and enter the secrets again",
                self.directory.display()
            )),
            _ if exists(&self.keys_directory()) && exists(&self.database_file()) => {
                Error::Home(format!(
                    "{} is missing; copy it from where the keys are kept, or from another machine \
                     of this store",
                    self.keys_directory().join(KEYRING).display()
                ))
            }
            _ => Error::NotAHome(self.directory.clone()),
        }
    }

    /// Locks out other processes that create or restore this home, until the file is
    /// dropped. Blocks until the lock is free.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let directory = File::open(&self.directory).map_err(|error| self.error(&error))?;
        directory.lock().map_err(|error| self.error(&error))?;
        Ok(directory)
    }

    /// Fails if others can use the home.
    pub(super) fn check_permissions(&self) -> Result<(), Error> {
        checked(check_private(&self.directory))?;
        checked(check_ancestors(&self.directory))?;
        let database = |suffix: &str| {
            let mut name = self.database_file().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        for file in [
            database(""),
            database("-wal"),
            database("-shm"),
            database("-journal"),
            self.anchor_file(),
            self.settings_file(),
        ] {
            match check_private(&file) {
                // A missing file is fine, and SQLite may remove its files at any time. A
                // dangling link is not.
                Err(KeyError::File { error, .. })
                    if error.kind() == std::io::ErrorKind::NotFound && !file.is_symlink() => {}
                private => checked(private)?,
            }
        }
        checked(check_link(&self.providers_file()))?;
        // The writers of the logs check the rest.
        for log in [self.decision_log(), self.shadow_log()] {
            if log.is_symlink() {
                match check_ancestors(&log) {
                    // The target is created with the first record.
                    Err(KeyError::File { error, .. })
                        if error.kind() == std::io::ErrorKind::NotFound => {}
                    way => checked(way)?,
                }
            }
        }
        Ok(())
    }

    /// Adds the directory to an error.
    pub(super) fn error(&self, error: &std::io::Error) -> Error {
        Error::Home(format!("{}: {error}", self.directory.display()))
    }
}

/// Whether there is an entry with that name, a dangling link included.
pub(super) fn exists(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}

pub(super) fn checked(check: Result<(), KeyError>) -> Result<(), Error> {
    check.map_err(|error| Error::Home(error.to_string()))
}
