//! A temporary home for tests: a database with keys and an anchor.

#![allow(dead_code)] // no test program uses all of it

use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{
    Access, Anchor, Author, Backend as _, Batch, Digest, Document, DocumentBlobs, DocumentKey,
    Error, JournalPosition, Keys, Progress, RandomId, Sqlite, Store, Tampering, Visitor,
};
use serde_json::value::{RawValue, to_raw_value};

pub struct Home {
    pub directory: tempfile::TempDir,
}

impl Home {
    /// A home with the scopes `acme` (written at revisions 1 and 3) and `acme/evals` (2), a
    /// blob for each.
    pub async fn filled() -> Self {
        let home = Home {
            directory: tempfile::tempdir().unwrap(),
        };
        let keys = Keys::create(&home.directory.path().join("keys"), None, "test", 0).unwrap();
        let anchor = home.anchor();
        anchor
            .set(JournalPosition::default(), keys.keyring())
            .unwrap();
        drop(Sqlite::create(&home.database()).unwrap());
        let store = home.store();
        put(&store, 0, "acme", "first").await.unwrap();
        put(&store, 1, "acme/evals", "second").await.unwrap();
        put(&store, 2, "acme", "third").await.unwrap();
        home
    }

    pub fn database(&self) -> PathBuf {
        self.directory.path().join("entail.db")
    }

    pub fn sibling(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("entail.db{suffix}"))
    }

    pub fn anchor(&self) -> Anchor {
        Anchor::at(self.directory.path().join("anchor.json"))
    }

    pub fn store(&self) -> Store {
        self.open(Access::Shared).unwrap()
    }

    pub fn open(&self, access: Access) -> Result<Store, Error> {
        self.open_file(&self.database(), access)
    }

    pub fn open_file(&self, file: &Path, access: Access) -> Result<Store, Error> {
        let keys = Keys::open(&self.directory.path().join("keys")).unwrap();
        let backend = Sqlite::open_with(file, access)?;
        Store::open(Arc::new(backend), keys, self.anchor())
    }

    /// Changes the database directly, as anyone who can write the file can.
    pub fn sql(&self, script: &str) {
        rusqlite::Connection::open(self.database())
            .unwrap()
            .execute_batch(script)
            .unwrap();
    }

    /// Copies the database through the backend, without verification.
    pub async fn copy_to(&self, file: &Path) {
        let database = Sqlite::open(&self.database()).unwrap();
        drop(database.copy_to(file).await.unwrap());
    }
}

/// Ignores the contents of documents.
struct NoopVisitor;

impl Visitor for NoopVisitor {
    fn progress(&mut self, _progress: Progress) {}

    fn document(&mut self, _document: &Document, _blobs: &DocumentBlobs<'_>) -> Vec<Tampering> {
        Vec::new()
    }
}

/// Verifies the whole store, without the contents of documents.
pub async fn verify(store: &Store) -> Vec<Tampering> {
    let report = store
        .check(&mut NoopVisitor, &|_| Vec::new())
        .await
        .unwrap();
    report.faults
}

pub fn key(name: &str) -> DocumentKey {
    DocumentKey::new("scope", name)
}

pub fn raw(text: &str) -> Box<RawValue> {
    to_raw_value(text).unwrap()
}

pub async fn put(store: &Store, expected: u64, name: &str, body: &str) -> Result<u64, Error> {
    commit(store, expected, written(name, body)).await
}

fn written(name: &str, body: &str) -> Batch {
    Batch {
        put: vec![(key(name), raw(body))],
        add_blobs: vec![body.as_bytes().to_vec()],
        ..Batch::default()
    }
}

pub async fn commit(store: &Store, expected: u64, batch: Batch) -> Result<u64, Error> {
    let change = raw("a test");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    store.commit(expected, batch, author).await
}

/// Reads everything and compares it with the expected body of `acme`.
pub async fn read(store: &Store, acme: &str) -> Result<(), Error> {
    let snapshot = store.read(&[key("acme"), key("acme/evals")]).await?;
    let bodies: Vec<String> = snapshot
        .documents
        .into_iter()
        .map(|document| String::clone(&*document.unwrap().body::<String>().unwrap()))
        .collect();
    assert_eq!(bodies, [acme, "second"]);
    let blob = store.blob(&Digest::of(acme.as_bytes())).await?;
    assert_eq!(blob, acme.as_bytes());
    let names = store.names("scope", "", None, 10).await?;
    assert_eq!(names, ["acme", "acme/evals"]);
    Ok(())
}
