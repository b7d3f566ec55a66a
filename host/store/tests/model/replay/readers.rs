//! Readers without a machine: they have an identity, can read every database, and keep every
//! key of an epoch that they ever opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use entail_store::{Digest, Epoch, EpochKey, Keyring, Keys, NewKeys, Recipient};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::changes::{Credential, context};

/// A reader.
pub struct Reader {
    directory: PathBuf,
    pub recipient: Recipient,
    opened: BTreeMap<String, EpochKey>,
}

impl Reader {
    pub fn create(directory: PathBuf, keys: NewKeys, keyring: &std::sync::Arc<Keyring>) -> Self {
        let recipient = keys.recipient("reader", 0);
        keys.write(&directory, None, keyring).unwrap();
        Reader {
            directory,
            recipient,
            opened: BTreeMap::new(),
        }
    }

    pub fn identity_file(&self) -> PathBuf {
        self.directory.join("identity.txt")
    }

    pub fn signer_file(&self) -> PathBuf {
        self.directory.join("signer.pem")
    }

    /// Opens what it can in a database, and keeps it.
    pub fn look(&mut self, database: &Path) {
        let database = Connection::open(database).unwrap();
        let keys = Keys::open(&self.directory).unwrap();
        let query = "SELECT payload FROM keyrings";
        let mut keyrings = database.prepare(query).unwrap();
        let payloads = keyrings.query_map([], |row| row.get(0)).unwrap();
        for payload in payloads {
            let payload: Vec<u8> = payload.unwrap();
            let mut keyring: Value = serde_json::from_slice(&payload).unwrap();
            let epochs = keyring["readers"][0]["epochs"].take();
            for epoch in serde_json::from_value::<Vec<Epoch>>(epochs).unwrap() {
                let Some(sealed) = blob(&database, &epoch.sealed) else {
                    continue;
                };
                if let Ok(key) = keys.open_epoch(&sealed, &epoch).unwrap() {
                    self.opened.insert(epoch.key, key);
                }
            }
        }
    }

    /// Whether any key that it has opens the secret of a database.
    pub fn opens_secret(&self, database: &Path) -> bool {
        let database = Connection::open(database).unwrap();
        let query = "SELECT payload FROM documents";
        let payload: Vec<u8> = database.query_row(query, [], |row| row.get(0)).unwrap();
        let mut document: Value = serde_json::from_slice(&payload).unwrap();
        let credential: Credential = serde_json::from_value(document["body"].take()).unwrap();
        let query = "SELECT payload FROM keyrings WHERE number = 1";
        let payload: Vec<u8> = database.query_row(query, [], |row| row.get(0)).unwrap();
        let mut keyring: Value = serde_json::from_slice(&payload).unwrap();
        let store = serde_json::from_value(keyring["store"].take()).unwrap();
        let sealed = blob(&database, &credential.blob).unwrap();
        let context = context(store, credential.epoch);
        let mut keys = self.opened.values();
        keys.any(|key| key.unseal(&sealed, &context).is_ok())
    }
}

fn blob(database: &Connection, digest: &Digest) -> Option<Vec<u8>> {
    let query = "SELECT bytes FROM blobs WHERE digest = ?1";
    let found = database.query_row(query, [digest.as_bytes()], |row| row.get(0));
    found.optional().unwrap()
}
