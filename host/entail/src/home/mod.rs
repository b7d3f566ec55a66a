//! A home: the folder in which everything of one installation lies.
//!
//! | in it | what |
//! |---|---|
//! | `entail.db` | the database, which is not trusted |
//! | `anchor.json` | the newest change that was seen, which the database cannot take back |
//! | `keys/` | the keys ([`entail_store::Keys`]) |
//! | `decisions.jsonl` | the decision log; full ones have a number: `decisions.000001.jsonl` |
//! | `decisions.ledger` | what was done to the log on purpose |
//! | `decisions.head` | how far the log had come, authenticated by `keys/log.key` |
//! | `settings.toml` | settings, if any ([`HomeSettings`]) |
//! | `providers.toml` | providers of one's own, if any |
//! | `cache/`, `cache.key` | compiled policies, and what they are authenticated with; may be deleted at any time |
//!
//! # Security
//!
//! Folders are made with mode 0700 and files with mode 0600. On opening, what others
//! can use is refused, and so is a home below a folder in which others could put
//! another in its place. The path is checked as it was given, links on the way included
//! ([`entail_store::check_ancestors`]).
//!
//! A file of the home may be a link, to a mounted secret or configuration for instance, if
//! nobody but the owner and the system can lead it elsewhere or write what it names; a
//! private one must be as private there. A link that leads to nothing is an error, not a
//! file that is missing. All but the decision log must be regular files, and no more is
//! read of them than their limits allow: no pipe and no device can keep the program
//! waiting.

pub(crate) mod settings;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_policy::CodeCache;
use entail_store::{
    Access, Anchor, AnchorError, Author, Batch, IdentitySource, JournalPosition, KeyError, Keys,
    Recipients, Secret, Sqlite, Store, check_ancestors, check_link, check_parent, check_private,
    private_directory, recipients_key, unfinished_files,
};
use serde_json::json;

use crate::clock::now_ms;
use crate::documents::encode;
use crate::error::Error;
use crate::home::settings::{HomeSettings, InvalidSettings};
use crate::principal::Principal;
use entail_decision::provider::{Catalog, MAX_FILE_BYTES};

/// The label of the recipient that a home is made with.
pub(crate) const FIRST: &str = "first";

/// The folder in a home in which another is made.
const WORKSHOP: &str = "unfinished";

/// The folder in which everything of one installation lies.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// Makes a home: the folder if need be, new keys, a store that seals to the new
    /// identity. The identity is put under `passphrase` if there is one.
    ///
    /// # Errors
    ///
    /// When there is a home already, or the system says no.
    pub async fn create(folder: &Path, passphrase: Option<&Secret>) -> Result<Self, Error> {
        let home = Home::at(folder);
        home.check_place()?;
        private_directory(folder).map_err(|error| home.failed(&error))?;
        let _lock = home.lock()?;
        home.check_free()?;
        home.check()?;
        let made = home.workshop()?;
        let built = made.build(passphrase).await;
        if let Err(error) = built.and_then(|()| home.move_in(&made)) {
            // Half a home is none.
            let _ = std::fs::remove_dir_all(&made.folder);
            return Err(error);
        }
        Ok(home)
    }

    /// Refuses what [`Home::create`] would, as far as that shows beforehand. Makes
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`Home::create`].
    pub fn check_new(folder: &Path) -> Result<(), Error> {
        let home = Home::at(folder);
        home.check_free()?;
        if folder.is_dir() {
            return home.check();
        }
        home.check_place()
    }

    /// Refuses a place to which others could lead elsewhere, before anything is made
    /// there. Directories that would be made are the owner's; the way to them must be as
    /// well.
    fn check_place(&self) -> Result<(), Error> {
        let folder = std::path::absolute(&self.folder).map_err(|error| self.failed(&error))?;
        let there = folder
            .ancestors()
            .find(|above| above.symlink_metadata().is_ok());
        match there {
            Some(above) if !above.is_dir() => {
                let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
                Err(Home::at(above).failed(&error))
            }
            Some(above) if above == folder => checked(check_ancestors(above)),
            Some(above) => checked(check_parent(above)),
            None => Ok(()),
        }
    }

    fn at(folder: &Path) -> Self {
        Home {
            folder: folder.to_owned(),
        }
    }

    /// Refuses to make a home where there is one, or what is left of one.
    pub(crate) fn check_free(&self) -> Result<(), Error> {
        let shown = self.folder.display();
        if self.is_made() {
            return Err(Error::Home(format!("{shown} is a home already")));
        }
        if is_there(&self.database_file()) {
            return Err(Error::Home(format!(
                "{shown} has a database and no keys; put the keys back, or move {} away",
                self.database_file().display()
            )));
        }
        Ok(())
    }

    /// A place within the home in which to make all that a home has.
    pub(crate) fn workshop(&self) -> Result<Self, Error> {
        let made = Home::at(&self.folder.join(WORKSHOP));
        // One that was left behind by a process that was stopped; the caller sees to it
        // that nobody is at work in it.
        match std::fs::remove_dir_all(&made.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(made.failed(&error));
            }
            _ => {}
        }
        private_directory(&made.folder).map_err(|error| made.failed(&error))?;
        Ok(made)
    }

    async fn build(&self, passphrase: Option<&Secret>) -> Result<(), Error> {
        let keys = Keys::create(&self.keys_folder(), passphrase)?;
        let now_ms = now_ms();
        let recipients = Recipients::first(keys.own_recipients(FIRST, now_ms)?);
        let trust = keys.verifiers().first().cloned();
        self.anchor()
            .set(JournalPosition::default())
            .map_err(Error::Anchor)?;
        let database = Sqlite::create(&self.database_file()).map_err(entail_store::Error::from)?;
        let store = Store::open(Arc::new(database), keys, self.anchor())?;
        let body = encode(&recipients)?;
        let batch = Batch {
            put: vec![(recipients_key(), body)],
            trust,
            ..Batch::default()
        };
        let author = Author {
            principal: &Principal::LocalOwner.to_string(),
            at_ms: now_ms,
            change: &encode(&json!({"change": "make-home"}))?,
        };
        store.commit(0, batch, author).await?;
        Ok(())
    }

    /// Takes over what was made in the workshop; the keys come last: with them a home
    /// is one.
    pub(crate) fn move_in(&self, made: &Home) -> Result<(), Error> {
        made.check_closed()?;
        for name in ["anchor.json", "entail.db", "keys"] {
            std::fs::rename(made.folder.join(name), self.folder.join(name))
                .map_err(|error| self.failed(&error))?;
        }
        std::fs::remove_dir_all(&made.folder).map_err(|error| self.failed(&error))?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failed(&error))
    }

    /// Refuses a database of which something still stands in its log, where it would stay
    /// when the file is moved.
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

    /// Holds off others that make or restore this home, until it is dropped.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let folder = File::open(&self.folder).map_err(|error| self.failed(&error))?;
        folder.lock().map_err(|error| self.failed(&error))?;
        Ok(folder)
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::Home(format!("{}: {error}", self.folder.display()))
    }

    /// Whether there is a home in `folder`.
    pub fn exists(folder: &Path) -> bool {
        Home::at(folder).is_made()
    }

    fn is_made(&self) -> bool {
        is_there(&self.keys_folder().join("verifier.pem"))
    }

    /// Uses the home in `folder`.
    ///
    /// # Errors
    ///
    /// When there is none, or others can use it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let home = Home::at(folder);
        if !home.is_made() {
            return Err(Error::NotAHome(folder.to_owned()));
        }
        home.check()?;
        Ok(home)
    }

    /// A home that is to be: what is in the folder is not looked at.
    pub(crate) fn to_be(folder: &Path) -> Result<Self, Error> {
        let home = Home::at(folder);
        home.check_place()?;
        private_directory(folder).map_err(|error| home.failed(&error))?;
        home.check()?;
        Ok(home)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the keys.
    pub fn keys_folder(&self) -> PathBuf {
        self.folder.join("keys")
    }

    /// The database file.
    pub fn database_file(&self) -> PathBuf {
        self.folder.join("entail.db")
    }

    /// The anchor.
    pub fn anchor(&self) -> Anchor {
        Anchor::at(self.folder.join("anchor.json"))
    }

    /// The decision log.
    pub fn decision_log(&self) -> PathBuf {
        self.folder.join("decisions.jsonl")
    }

    /// What shadow policies say, which is no record of what happened.
    pub fn shadow_log(&self) -> PathBuf {
        self.folder.join("shadow.jsonl")
    }

    /// The file of providers of one's own.
    pub fn providers_file(&self) -> PathBuf {
        self.folder.join("providers.toml")
    }

    /// The file of settings.
    pub fn settings_file(&self) -> PathBuf {
        self.folder.join("settings.toml")
    }

    /// The cache of compiled policies. Its key lies beside it, not among the keys: those
    /// may be where nothing can be written, and need a copy, which this one does not.
    pub fn code_cache(&self) -> CodeCache {
        CodeCache::new(self.folder.join("cache"), self.folder.join("cache.key"))
    }

    /// What was left behind by processes that were stopped: half-made homes, and files
    /// that were never finished. Private keys may be in them.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub fn unfinished(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found: Vec<PathBuf> = vec![self.folder.join(WORKSHOP)];
        found.retain(|workshop| workshop.exists());
        for folder in [&self.folder, &self.keys_folder()] {
            found.extend(unfinished_files(folder).map_err(|error| self.failed(&error))?);
        }
        Ok(found)
    }

    /// Reads the keys, with the identity from `source`.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`].
    pub fn keys(&self, source: IdentitySource) -> Result<Keys, Error> {
        Ok(Keys::open_with(&self.keys_folder(), source)?)
    }

    /// Joins the database, keys and the anchor, while other processes may use them.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`], [`Error::Anchor`].
    pub fn store(&self, keys: Keys) -> Result<Store, Error> {
        self.store_with(keys, Access::Shared)
    }

    /// The same, with or without other processes at the same time.
    ///
    /// # Errors
    ///
    /// As [`Home::store`].
    pub fn store_with(&self, keys: Keys, access: Access) -> Result<Store, Error> {
        let file = self.database_file();
        if !file.exists() {
            return Err(Error::DatabaseMissing(file));
        }
        let anchor = self.anchor();
        // Every home has seen the change that made it.
        if anchor.read().map_err(Error::Anchor)? == JournalPosition::default() {
            let file = self.folder.join("anchor.json");
            return Err(Error::Anchor(AnchorError::Malformed(file)));
        }
        let database = Sqlite::open_with(&file, access).map_err(entail_store::Error::from)?;
        Ok(Store::open(Arc::new(database), keys, anchor)?)
    }

    /// Reads the providers: the built-in ones and the home's own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidProviders`].
    pub fn catalog(&self) -> Result<Catalog, Error> {
        let text = Self::text(&self.providers_file(), MAX_FILE_BYTES)?;
        Ok(Catalog::new(text.as_deref())?)
    }

    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSettings`].
    pub fn settings(&self) -> Result<HomeSettings, Error> {
        let file = self.settings_file();
        let Some(text) = Self::text(&file, settings::MAX_FILE_BYTES)? else {
            return Ok(HomeSettings::default());
        };
        HomeSettings::parse(&text).map_err(|problem| InvalidSettings { file, problem }.into())
    }

    /// Reads a regular file with a text of at most `limit` bytes; none if there is no
    /// such file, nor a link of that name.
    fn text(file: &Path, limit: usize) -> Result<Option<String>, Error> {
        let text = match Secret::read_regular_file(file, limit) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.is_symlink() => {
                return Ok(None);
            }
            Err(error) => return Err(Error::Home(format!("{}: {error}", file.display()))),
        };
        let text = text.as_ref().and_then(Secret::expose_text);
        match text {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(Error::Home(format!(
                "{} is not a text of at most {limit} bytes",
                file.display()
            ))),
        }
    }

    /// Refuses what others can use.
    fn check(&self) -> Result<(), Error> {
        checked(check_private(&self.folder))?;
        checked(check_ancestors(&self.folder))?;
        let database = self.database_file();
        let beside = |suffix: &str| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        for file in [
            beside(""),
            beside("-wal"),
            beside("-shm"),
            beside("-journal"),
            self.folder.join("anchor.json"),
            self.settings_file(),
        ] {
            match check_private(&file) {
                // It may go meanwhile, as SQLite's files do. A link stays.
                Err(KeyError::File { error, .. })
                    if error.kind() == std::io::ErrorKind::NotFound && !file.is_symlink() => {}
                private => checked(private)?,
            }
        }
        checked(check_link(&self.providers_file()))?;
        // What else a log must be is for whoever writes it to say.
        for log in [self.decision_log(), self.shadow_log()] {
            if log.is_symlink() {
                match check_ancestors(&log) {
                    // It is made when something is written.
                    Err(KeyError::File { error, .. })
                        if error.kind() == std::io::ErrorKind::NotFound => {}
                    way => checked(way)?,
                }
            }
        }
        Ok(())
    }
}

/// Whether there is something of that name, be it a link that leads to nothing.
fn is_there(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}

/// A home that is not to be used is not there.
fn checked(check: Result<(), KeyError>) -> Result<(), Error> {
    check.map_err(|error| Error::Home(error.to_string()))
}
