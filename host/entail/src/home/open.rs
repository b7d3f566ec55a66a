//! Opening a home, its store, and its files.

use std::path::Path;
use std::sync::Arc;

use entail_decision::provider::{Catalog, MAX_FILE_BYTES};
use entail_store::{
    Access, AnchorError, JournalPosition, KeySources, Keyring, Keys, Secret, Sqlite, Store,
};

use super::layout::Home;
use super::settings::{self, HomeSettings, InvalidSettings};
use crate::error::Error;

impl Home {
    /// Opens the home in `directory`.
    ///
    /// # Errors
    ///
    /// Fails if the directory is not a home, or others can use it.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let home = Home::at(directory);
        if !home.is_home() {
            return Err(home.error_of_no_home());
        }
        home.check_permissions()?;
        Ok(home)
    }

    /// Reads the keys from `sources`. For a key of the home, the settings may name a program that
    /// has it.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`]; [`Error::InvalidSettings`].
    pub fn keys(&self, sources: impl Into<KeySources>) -> Result<Keys, Error> {
        let sources = self.with_programs(sources.into())?;
        Ok(Keys::open_with(&self.keys_directory(), sources)?)
    }

    /// Reads the keyring that this home trusts.
    ///
    /// # Errors
    ///
    /// [`Error::Keys`].
    pub fn trusted_keyring(&self) -> Result<Arc<Keyring>, Error> {
        let keys = Keys::open(&self.keys_directory())?;
        Ok(Arc::clone(keys.keyring()))
    }

    /// Opens the store, which other processes may use at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`], [`Error::Anchor`].
    pub fn store(&self, keys: Keys) -> Result<Store, Error> {
        self.store_with(keys, Access::Shared)
    }

    /// Opens the store, with or without other processes at the same time.
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
        // The anchor of every home has at least the change that created it.
        if anchor.read().map_err(Error::Anchor)? == JournalPosition::default() {
            return Err(Error::Anchor(AnchorError::Malformed(self.anchor_file())));
        }
        let database = Sqlite::open_with(&file, access).map_err(entail_store::Error::from)?;
        Ok(Store::open(Arc::new(database), keys, anchor)?)
    }

    /// Reads the providers: the built-in ones and those of the home.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidProviders`].
    pub fn catalog(&self) -> Result<Catalog, Error> {
        let text = read_text(&self.providers_file(), MAX_FILE_BYTES)?;
        Ok(Catalog::new(text.as_deref())?)
    }

    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSettings`].
    pub fn settings(&self) -> Result<HomeSettings, Error> {
        let file = self.settings_file();
        let Some(text) = read_text(&file, settings::MAX_FILE_BYTES)? else {
            return Ok(HomeSettings::default());
        };
        HomeSettings::parse(&text).map_err(|problem| InvalidSettings { file, problem }.into())
    }
}

/// Reads a text file of at most `limit` bytes; `None` if it does not exist. A dangling link
/// is an error.
pub(super) fn read_text(file: &Path, limit: usize) -> Result<Option<String>, Error> {
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
            "{} is not UTF-8 text of at most {limit} bytes",
            file.display()
        ))),
    }
}
