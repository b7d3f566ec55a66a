//! A home: the folder in which everything of one installation lies.
//!
//! | in it | what |
//! |---|---|
//! | `entail.db` | the database, which is not trusted |
//! | `keys/` | the keys, which are ([`entail_store::Keys`]) |
//! | `decisions.jsonl` | the decision log |
//! | `providers.toml` | providers of one's own, if any |
//! | `cache/` | compiled policies; may be deleted at any time |
//!
//! # Security
//!
//! The folder is made with mode 0700; one that others can enter is refused.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{Keys, Secret, Sqlite, Store};

use crate::error::Error;
use crate::provider::{Catalog, MAX_FILE_BYTES};

/// The folder in which everything of one installation lies.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// Makes a home: the folder if need be, new keys, an empty database. The
    /// identity is put under `passphrase` if there is one.
    ///
    /// # Errors
    ///
    /// When there is a home already, or the system says no.
    pub fn create(folder: &Path, passphrase: Option<&Secret>) -> Result<Self, Error> {
        let home = Home {
            folder: folder.to_owned(),
        };
        if home.is_made() {
            return Err(Error::Home(format!(
                "{} is a home already",
                folder.display()
            )));
        }
        private_folder(folder)?;
        home.check()?;
        Sqlite::create(&home.database_file())
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        // Last: with its keys a home is one.
        Keys::create(&home.keys_folder(), passphrase)?;
        Ok(home)
    }

    /// Whether there is a home in `folder`.
    pub fn exists(folder: &Path) -> bool {
        Home {
            folder: folder.to_owned(),
        }
        .is_made()
    }

    fn is_made(&self) -> bool {
        self.keys_folder().join("verifier.pem").exists()
    }

    /// Uses the home in `folder`.
    ///
    /// # Errors
    ///
    /// When there is none, or others can enter it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let home = Home {
            folder: folder.to_owned(),
        };
        if !home.is_made() {
            return Err(Error::Home(format!(
                "{} is not a home; make one with: entail init ORGANIZATION",
                folder.display()
            )));
        }
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

    /// The decision log.
    pub fn decision_log(&self) -> PathBuf {
        self.folder.join("decisions.jsonl")
    }

    /// The file of providers of one's own.
    pub fn providers_file(&self) -> PathBuf {
        self.folder.join("providers.toml")
    }

    /// The folder of compiled policies, made with mode 0700 if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn code_cache(&self) -> Result<PathBuf, Error> {
        let folder = self.folder.join("cache");
        private_folder(&folder)?;
        check_private(&folder)?;
        Ok(folder)
    }

    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`].
    pub fn keys(&self) -> Result<Keys, Error> {
        Ok(Keys::open(&self.keys_folder())?)
    }

    /// Joins the database and keys.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`].
    pub fn store(&self, keys: Keys) -> Result<Store, Error> {
        let file = self.database_file();
        if !file.exists() {
            return Err(Error::Unavailable(format!(
                "{} is missing; put it back from a copy",
                file.display()
            )));
        }
        let database =
            Sqlite::open(&file).map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Store::new(Arc::new(database), keys))
    }

    /// Reads the providers: the built-in ones and the home's own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidProviders`].
    pub fn catalog(&self) -> Result<Catalog, Error> {
        let file = self.providers_file();
        let text = match Secret::read_file(&file, MAX_FILE_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Catalog::new(None)?);
            }
            Err(error) => return Err(Error::Home(format!("{}: {error}", file.display()))),
        };
        let text = text.as_ref().and_then(Secret::expose_text).ok_or_else(|| {
            Error::Home(format!("{} is not a text of at most 1 MiB", file.display()))
        })?;
        Ok(Catalog::new(Some(text))?)
    }

    fn check(&self) -> Result<(), Error> {
        check_private(&self.folder)
    }
}

/// Makes a folder that only the owner can enter; one that is there stays.
fn private_folder(folder: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Error::Home(format!("{}: {error}", folder.display())))
}

fn check_private(folder: &Path) -> Result<(), Error> {
    let shown = folder.display();
    let metadata =
        std::fs::metadata(folder).map_err(|error| Error::Home(format!("{shown}: {error}")))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Home(format!(
            "{shown} can be entered by others (mode {mode:04o}); run: chmod 700 {shown}"
        )));
    }
    Ok(())
}
