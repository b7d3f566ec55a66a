//! A machine of the replay: a directory of keys, an anchor, and a running process, over the
//! database that all machines share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{
    Anchor, IdentitySource, JournalPosition, Keyring, Keys, NewKeys, Secret, Sqlite, Store,
};

/// A machine.
pub struct Machine {
    directory: PathBuf,
    database: PathBuf,
    /// The process that runs since the machine exists.
    pub process: Option<Store>,
    /// The identity that renewals use, if it is not that of the machine.
    pub recovery: Option<PathBuf>,
}

impl Machine {
    /// Writes the files of a machine that has seen the store at `position`.
    pub fn create(
        directory: PathBuf,
        database: &Path,
        keys: NewKeys,
        keyring: &Arc<Keyring>,
        position: JournalPosition,
    ) -> Self {
        std::fs::create_dir(&directory).unwrap();
        keys.write(&directory.join("keys"), None, keyring).unwrap();
        let machine = Machine {
            directory,
            database: database.to_owned(),
            process: None,
            recovery: None,
        };
        machine.anchor().set(position, keyring).unwrap();
        machine
    }

    /// The machine that a restore left in a directory.
    pub fn adopt(directory: PathBuf, database: &Path, recovery: &Path) -> Self {
        Machine {
            directory,
            database: database.to_owned(),
            process: None,
            recovery: Some(recovery.to_owned()),
        }
    }

    pub fn keys_directory(&self) -> PathBuf {
        self.directory.join("keys")
    }

    pub fn key_file(&self, name: &str) -> PathBuf {
        self.keys_directory().join(name)
    }

    pub fn anchor(&self) -> Anchor {
        Anchor::at(self.directory.join("anchor.json"))
    }

    pub fn keys(&self) -> Keys {
        Keys::open(&self.keys_directory()).unwrap()
    }

    /// Opens the store in a new process.
    pub fn open(&self) -> Store {
        self.open_with(self.keys())
    }

    /// Opens the store in a new process that renews secrets.
    pub fn open_for_renewal(&self) -> Store {
        match &self.recovery {
            None => self.open(),
            Some(file) => self.open_with(with_identity(&self.keys_directory(), file)),
        }
    }

    fn open_with(&self, keys: Keys) -> Store {
        let database = Sqlite::open(&self.database).unwrap();
        Store::open(Arc::new(database), keys, self.anchor()).unwrap()
    }

    /// Starts the process, which reads the store once.
    pub async fn start_process(&mut self) {
        let store = self.open();
        store.revision().await.unwrap();
        self.process = Some(store);
    }
}

/// The keys in a directory, with the identity of another file.
pub fn with_identity(directory: &Path, file: &Path) -> Keys {
    let identity = Secret::read_file(file, 4096).unwrap().unwrap();
    Keys::open_with(directory, IdentitySource::Given(identity)).unwrap()
}
