//! How the cost of changes and proofs grows with the number of documents.
//!
//! Prints a table; `cargo bench -p entail-store --bench growth -- 10 10000 1000000` chooses the
//! numbers of documents.

#![allow(clippy::unwrap_used)] // a benchmark may

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entail_store::{
    Anchor, Author, Batch, DocumentKey, JournalPosition, Keys, RandomId, Readers, Role, Sqlite,
    Store,
};
use rusqlite::Connection;
use serde_json::value::{RawValue, to_raw_value};

/// The documents of one commit while a store is filled.
const BATCH: usize = 1_000;

/// How often a short operation is measured. The median counts.
const REPEATS: usize = 21;

/// The number of documents below the scope that is listed.
const LISTED: usize = 10_000;

struct Home {
    directory: tempfile::TempDir,
    store: Store,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keys::create(&directory.path().join("keys"), None, "bench", 0).unwrap();
        let anchor = Anchor::at(directory.path().join("anchor.json"));
        anchor
            .set(JournalPosition::default(), keys.keyring())
            .unwrap();
        let database = Sqlite::create(&directory.path().join("entail.db")).unwrap();
        let store = Store::open(Arc::new(database), keys, anchor).unwrap();
        Home { directory, store }
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("entail.db")
    }

    fn reopened(&self) -> Store {
        let keys = Keys::open(&self.directory.path().join("keys")).unwrap();
        let database = Sqlite::open(&self.database()).unwrap();
        Store::open(Arc::new(database), keys, self.store.anchor().clone()).unwrap()
    }

    async fn commit(&self, batch: Batch) {
        let change = raw("bench");
        let author = Author {
            principal: RandomId::generate().unwrap(),
            at_ms: 1,
            change: &change,
            log: None,
        };
        let revision = self.store.revision().await.unwrap();
        self.store.commit(revision, batch, author).await.unwrap();
    }

    async fn fill(&self, documents: usize) {
        let numbers: Vec<usize> = (0..documents).collect();
        for numbers in numbers.chunks(BATCH) {
            let put = numbers.iter().map(|number| document(*number, 0));
            self.commit(Batch {
                put: put.collect(),
                ..Batch::default()
            })
            .await;
        }
    }

    /// The bytes in all tables.
    fn bytes(&self) -> i64 {
        let query = "SELECT
            (SELECT total(length(checkpoint) + length(signatures) + length(change)) FROM journal)
            + (SELECT total(length(payload) + length(signatures)) FROM keyrings)
            + (SELECT total(length(path) + length(node)) FROM tree)
            + (SELECT total(length(kind) + length(name) + length(payload)) FROM documents)";
        let database = Connection::open(self.database()).unwrap();
        let bytes: f64 = database.query_row(query, [], |row| row.get(0)).unwrap();
        #[allow(clippy::cast_possible_truncation)] // far fewer than 2^53
        let bytes = bytes as i64;
        bytes
    }

    /// The bytes of the nodes that prove the list below a scope.
    fn proof_bytes(&self, scope: &str) -> i64 {
        let prefix = format!("scope/{scope}/").replace('/', "\0").into_bytes();
        let query = "SELECT total(length(node)) FROM tree
            WHERE substr(path, 1, length(?1)) = ?1 OR substr(?1, 1, length(path)) = path";
        let database = Connection::open(self.database()).unwrap();
        let bytes: f64 = database
            .query_row(query, [prefix], |row| row.get(0))
            .unwrap();
        #[allow(clippy::cast_possible_truncation)] // far fewer than 2^53
        let bytes = bytes as i64;
        bytes
    }
}

fn raw(text: &str) -> Box<RawValue> {
    to_raw_value(text).unwrap()
}

/// A document of about the size of a scope with one credential. Ten thousand scopes have one
/// parent.
fn document(number: usize, edit: usize) -> (DocumentKey, Box<RawValue>) {
    let name = format!("acme/team-{}/project-{number}", number / LISTED);
    (
        DocumentKey::new("scope", name),
        raw(&format!("{edit} {}", "x".repeat(700))),
    )
}

/// The median duration of an operation.
async fn median(operation: impl AsyncFn(usize)) -> Duration {
    let mut durations = Vec::new();
    for repeat in 0..REPEATS {
        let started = Instant::now();
        operation(repeat).await;
        durations.push(started.elapsed());
    }
    durations.sort();
    durations.get(REPEATS / 2).copied().unwrap_or_default()
}

async fn measure(documents: usize) {
    let home = Home::new();
    home.fill(documents).await;
    let author = |change| Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change,
        log: None,
    };
    let change = raw("bench");
    let rotated = median(async |_| {
        let revision = home.store.revision().await.unwrap();
        let nothing = Batch::default();
        let rotated = home
            .store
            .rotate_key(Role::Signer, revision, nothing, author(&change));
        rotated.await.unwrap();
    });
    let rotated = rotated.await;
    let readers = median(async |repeat| {
        let keyring = home.store.keyring().await.unwrap();
        let mut draft = keyring.next();
        let recipients = draft.authority.default_recipients.clone();
        let first = Readers::first(&format!("org-{repeat}"), recipients).unwrap();
        draft.authority.readers = vec![first.readers];
        home.commit(Batch {
            keyring: Some(draft.into()),
            add_blobs: first.add_blobs,
            ..Batch::default()
        })
        .await;
    });
    let readers = readers.await;
    let before = home.bytes();
    let put = median(async |repeat| {
        home.commit(Batch {
            put: vec![document(repeat % documents, repeat + 1)],
            ..Batch::default()
        })
        .await;
    });
    let put = put.await;
    let per_change = (home.bytes() - before) / i64::try_from(REPEATS).unwrap_or(1);
    let (key, _) = document(documents / 2, 0);
    let cold = median(async |_| {
        let store = home.reopened();
        store.read(std::slice::from_ref(&key)).await.unwrap();
    });
    let cold = cold.await;
    let warm = median(async |_| {
        for _ in 0..1_000 {
            home.store.read(std::slice::from_ref(&key)).await.unwrap();
        }
    });
    let warm = warm.await / 1_000;
    let listed = median(async |_| {
        let store = home.reopened();
        let names = store.names("scope", "acme/team-0", None, usize::MAX);
        assert_eq!(names.await.unwrap().len(), documents.min(LISTED));
    });
    let listed = listed.await;
    let proof = home.proof_bytes("acme/team-0");
    println!(
        "{documents:>9} {rotated:>10.2?} {readers:>10.2?} {put:>10.2?} {per_change:>8} {cold:>10.2?} {warm:>10.2?} {listed:>10.2?} {proof:>10}"
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let numbers = if numbers.is_empty() {
        vec![10, 10_000]
    } else {
        numbers
    };
    println!(
        "{:>9} {:>10} {:>10} {:>10} {:>8} {:>10} {:>10} {:>10} {:>10}",
        "documents",
        "rotate",
        "readers",
        "change",
        "bytes",
        "read cold",
        "read warm",
        "list",
        "proof"
    );
    for documents in numbers {
        measure(documents).await;
    }
}
