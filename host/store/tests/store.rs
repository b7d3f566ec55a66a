//! What a store promises, and how it reports a tampered database.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use entail_store::{
    Anchor, AnchorError, Author, Batch, Digest, DocumentKey, Error, Fault, JournalPosition,
    KeyError, KeyId, Keys, RandomId, Role, Sqlite, Store,
};
use rusqlite::Connection;
use serde_json::value::{RawValue, to_raw_value};

struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Home {
            directory: tempfile::tempdir().unwrap(),
        };
        let keys = Keys::create(&home.keys(), None, "test", 0).unwrap();
        let anchor = home.anchor();
        anchor
            .set(JournalPosition::default(), keys.keyring())
            .unwrap();
        home
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("entail.db")
    }

    fn anchor(&self) -> Anchor {
        Anchor::at(self.directory.path().join("anchor.json"))
    }

    fn store(&self) -> Store {
        let backend = Sqlite::create(&self.database()).unwrap();
        let keys = Keys::open(&self.keys()).unwrap();
        Store::open(Arc::new(backend), keys, self.anchor()).unwrap()
    }

    fn sql(&self, statement: &str) {
        let changed = Connection::open(self.database())
            .unwrap()
            .execute(statement, [])
            .unwrap();
        assert!(changed > 0, "{statement} changed nothing");
    }
}

fn key(name: &str) -> DocumentKey {
    DocumentKey::new("scope", name)
}

fn raw(text: &str) -> Box<RawValue> {
    to_raw_value(text).unwrap()
}

async fn put(store: &Store, expected: u64, name: &str, body: &str) -> Result<u64, Error> {
    let change = raw("a test");
    let batch = Batch {
        put: vec![(key(name), raw(body))],
        ..Batch::default()
    };
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    store.commit(expected, batch, author).await
}

async fn body(store: &Store, name: &str) -> Option<String> {
    let snapshot = store.read(&[key(name)]).await.unwrap();
    let document = snapshot.documents[0].clone()?;
    Some(String::clone(&*document.body::<String>().unwrap()))
}

/// A home with the scopes `acme` (written at revisions 1 and 3) and `acme/evals` (2).
async fn filled() -> Home {
    let home = Home::new();
    let store = home.store();
    put(&store, 0, "acme", "first").await.unwrap();
    put(&store, 1, "acme/evals", "second").await.unwrap();
    put(&store, 2, "acme", "third").await.unwrap();
    home
}

#[tokio::test]
async fn a_commit_is_visible_immediately_here_and_in_another_process() {
    let home = filled().await;
    let (here, there) = (home.store(), home.store());
    assert_eq!(body(&here, "acme").await.unwrap(), "third");
    assert_eq!(body(&there, "acme").await.unwrap(), "third");
    put(&there, 3, "acme", "fourth").await.unwrap();
    assert_eq!(body(&here, "acme").await.unwrap(), "fourth");
    assert_eq!(body(&here, "acme/none").await, None);
}

#[tokio::test]
async fn a_change_for_another_revision_is_a_conflict_and_writes_nothing() {
    let home = filled().await;
    let (here, there) = (home.store(), home.store());
    assert!(body(&here, "acme").await.is_some());
    put(&there, 3, "acme", "theirs").await.unwrap();
    let error = put(&here, 3, "acme", "ours").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Conflict {
                expected: 3,
                found: 4
            }
        ),
        "{error}"
    );
    assert_eq!(body(&here, "acme").await.unwrap(), "theirs");
}

#[tokio::test]
async fn names_under_a_scope_are_returned_in_order_and_in_pages() {
    let home = Home::new();
    let store = home.store();
    for (revision, name) in (0..).zip([
        "acme", "acme/b", "acme-2", "acme/a", "acme/a/x", "acme0", "other",
    ]) {
        put(&store, revision, name, "").await.unwrap();
    }
    let under =
        async |under, after, limit| store.names("scope", under, after, limit).await.unwrap();
    assert_eq!(
        under("acme", None, 10).await,
        ["acme", "acme/a", "acme/a/x", "acme/b"]
    );
    assert_eq!(under("acme", Some("acme/a"), 1).await, ["acme/a/x"]);
    assert_eq!(under("", None, 10).await.len(), 7);
}

#[tokio::test]
async fn the_journal_contains_each_change_in_a_chain() {
    let home = filled().await;
    let entries = home.store().journal(0, 10).await.unwrap();
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.revision)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(entries[0].effects[0].before, None);
    assert_eq!(entries[2].effects[0].before, entries[0].effects[0].after);
}

#[tokio::test]
async fn a_blob_is_read_only_if_it_matches_its_digest() {
    let home = Home::new();
    let store = home.store();
    let change = raw("a test");
    let batch = Batch {
        add_blobs: vec![b"one".to_vec(), b"two".to_vec()],
        ..Batch::default()
    };
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    store.commit(0, batch, author).await.unwrap();
    assert_eq!(store.blob(&Digest::of(b"one")).await.unwrap(), b"one");
    home.sql(&format!(
        "UPDATE blobs SET bytes = x'00' WHERE digest = x'{}'",
        Digest::of(b"one")
    ));
    home.sql(&format!(
        "DELETE FROM blobs WHERE digest = x'{}'",
        Digest::of(b"two")
    ));
    for digest in [Digest::of(b"one"), Digest::of(b"two")] {
        assert!(matches!(store.blob(&digest).await, Err(Error::Tampered(_))));
    }
}

#[tokio::test]
async fn every_direct_change_of_the_database_is_reported_as_tampering() {
    for (what, statement) in [
        (
            "an edited document",
            "UPDATE documents SET payload = CAST(replace(CAST(payload AS TEXT), 'third', 'forth') AS BLOB) WHERE name = 'acme'",
        ),
        (
            "a malformed payload",
            "UPDATE documents SET payload = x'7b7d' WHERE name = 'acme'",
        ),
        (
            "a space before a document",
            "UPDATE documents SET payload = CAST(' ' || CAST(payload AS TEXT) AS BLOB) WHERE name = 'acme'",
        ),
        (
            "another document in its place",
            "INSERT OR REPLACE INTO documents SELECT kind, 'acme', payload FROM documents WHERE name = 'acme/evals'",
        ),
        (
            "a document of another kind in its place",
            "UPDATE documents SET kind = 'other' WHERE name = 'acme'",
        ),
        (
            "an edited checkpoint",
            "UPDATE journal SET checkpoint = CAST(replace(CAST(checkpoint AS TEXT), ':1}', ':2}') AS BLOB) WHERE revision = 3",
        ),
        (
            "a journal entry that was never made",
            "INSERT INTO journal SELECT revision + 1, checkpoint, signatures, change FROM journal WHERE revision = 3",
        ),
        (
            "a journal without the last entry",
            "DELETE FROM journal WHERE revision = 3",
        ),
        ("an empty journal", "DELETE FROM journal"),
        (
            "a document's bytes as a checkpoint",
            "UPDATE journal SET checkpoint = (SELECT payload FROM documents WHERE name = 'acme') WHERE revision = 3",
        ),
        (
            "a keyring's bytes as a checkpoint",
            "UPDATE journal SET (checkpoint, signatures) = (SELECT payload, signatures FROM keyrings) WHERE revision = 3",
        ),
    ] {
        let home = filled().await;
        let witness = home.store();
        assert!(body(&witness, "acme").await.is_some());
        home.sql(statement);
        let key = match what {
            "a document of another kind in its place" => DocumentKey::new("other", "acme"),
            _ => key("acme"),
        };
        for (who, store) in [("a witness", &witness), ("a reopened store", &home.store())] {
            match store.read(std::slice::from_ref(&key)).await {
                Err(Error::Tampered(_)) => {}
                other => panic!("{who}: {what}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_added_row_is_not_accepted_as_a_document() {
    let home = filled().await;
    home.sql(
        "INSERT INTO documents SELECT kind, 'acme/planted', payload
         FROM documents WHERE name = 'acme/evals'",
    );
    let result = home.store().read(&[key("acme/planted")]).await;
    assert!(matches!(result, Err(Error::Tampered(_))), "{result:?}");
}

#[tokio::test]
async fn a_rollback_is_detected_by_a_process_that_saw_the_newer_state() {
    let home = filled().await;
    let witness = home.store();
    let old = home.directory.path().join("old.db");
    Connection::open(home.database())
        .unwrap()
        .execute("VACUUM INTO ?1", [old.to_str().unwrap()])
        .unwrap();
    put(&witness, 3, "acme", "fourth").await.unwrap();
    assert_eq!(body(&witness, "acme").await.unwrap(), "fourth");
    let database = Connection::open(home.database()).unwrap();
    database
        .execute("ATTACH ?1 AS old", [old.to_str().unwrap()])
        .unwrap();
    database
        .execute_batch(
            "DELETE FROM main.journal WHERE revision = 4;
             INSERT OR REPLACE INTO main.documents SELECT * FROM old.documents;",
        )
        .unwrap();
    assert!(matches!(
        witness.read(&[key("acme")]).await,
        Err(Error::Tampered(_))
    ));
}

/// The fault that reading a document reports.
async fn fault(store: &Store, name: &str) -> Option<Fault> {
    match store.read(&[key(name)]).await {
        Err(Error::Tampered(tampering)) => Some(tampering.fault()),
        _ => None,
    }
}

#[tokio::test]
async fn old_deleted_and_reinserted_rows_are_detected_on_reading() {
    let home = filled().await;
    let old = home.directory.path().join("old.db");
    let keep = Connection::open(home.database()).unwrap();
    keep.execute("VACUUM INTO ?1", [old.to_str().unwrap()])
        .unwrap();
    let store = home.store();
    put(&store, 3, "acme", "fourth").await.unwrap();
    let batch = Batch {
        remove: vec![key("acme/evals")],
        ..Batch::default()
    };
    let change = raw("a test");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    store.commit(4, batch, author).await.unwrap();
    assert_eq!(body(&store, "acme/evals").await, None);

    keep.execute("ATTACH ?1 AS old", [old.to_str().unwrap()])
        .unwrap();
    let reinsert = "INSERT OR REPLACE INTO main.documents SELECT * FROM old.documents";
    assert!(keep.execute(reinsert, []).unwrap() > 0);
    for store in [store, home.store()] {
        assert_eq!(fault(&store, "acme").await, Some(Fault::Stale));
        assert_eq!(fault(&store, "acme/evals").await, Some(Fault::Extra));
    }
    home.sql("DELETE FROM documents WHERE name = 'acme'");
    assert_eq!(fault(&home.store(), "acme").await, Some(Fault::Missing));
}

#[tokio::test]
async fn a_database_that_was_rolled_back_is_detected_with_the_anchor() {
    let home = filled().await;
    let copy = home.directory.path().join("copy.db");
    let open = |file: &std::path::Path| Sqlite::open(file).unwrap();
    entail_store::Backend::copy_to(&open(&home.database()), &copy)
        .await
        .unwrap();
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    let keys = Keys::open(&home.keys()).unwrap();
    let store = Store::open(Arc::new(open(&copy)), keys, home.anchor()).unwrap();
    assert_eq!(fault(&store, "acme").await, Some(Fault::Stale));
}

#[tokio::test]
async fn a_replaced_database_file_is_detected() {
    let home = filled().await;
    let witness = home.store();
    assert_eq!(body(&witness, "acme").await.unwrap(), "third");
    let copy = home.directory.path().join("copy.db");
    let sqlite = Sqlite::open(&home.database()).unwrap();
    entail_store::Backend::copy_to(&sqlite, &copy)
        .await
        .unwrap();
    drop(sqlite);
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    assert_eq!(body(&witness, "acme").await.unwrap(), "fourth");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(home.directory.path().join(format!("entail.db{suffix}")));
    }
    std::fs::rename(copy, home.database()).unwrap();
    assert_eq!(fault(&witness, "acme").await, Some(Fault::Stale));
}

#[tokio::test]
async fn a_database_that_was_rewound_in_place_is_detected_by_a_running_process() {
    let home = filled().await;
    let witness = home.store();
    assert_eq!(body(&witness, "acme").await.unwrap(), "third");
    let files: Vec<(PathBuf, Vec<u8>)> = ["", "-wal", "-shm"]
        .map(|suffix| {
            let file = home.directory.path().join(format!("entail.db{suffix}"));
            let bytes = std::fs::read(&file).unwrap();
            (file, bytes)
        })
        .into();
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    for (path, bytes) in files {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
    // SQLite sees no change: the files are what they were when it read them.
    assert_eq!(fault(&witness, "acme").await, Some(Fault::Stale));
}

#[tokio::test]
async fn another_entry_at_the_anchored_revision_is_detected() {
    let home = filled().await;
    let witness = home.store();
    assert_eq!(body(&witness, "acme").await.unwrap(), "third");
    let other = JournalPosition {
        revision: 3,
        checkpoint: Some(Digest::of(b"another checkpoint")),
    };
    let keyring = witness.known_keyring();
    home.anchor().set(other, &keyring).unwrap();
    for store in [witness, home.store()] {
        assert!(fault(&store, "acme").await.is_some());
    }
}

#[tokio::test]
async fn a_running_process_notices_that_the_anchor_is_gone() {
    let home = filled().await;
    let store = home.store();
    assert_eq!(body(&store, "acme").await.unwrap(), "third");
    std::fs::remove_file(home.directory.path().join("anchor.json")).unwrap();
    let read = store.read(&[key("acme")]).await;
    assert!(matches!(read, Err(Error::Anchor(_))), "{read:?}");
}

#[tokio::test]
async fn the_signer_is_rotated_while_others_read_and_write() {
    let home = filled().await;
    let (here, there) = (home.store(), home.store());
    assert_eq!(body(&there, "acme").await.unwrap(), "third");
    let change = raw("a test");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    let old = signer(&here);
    let nothing = Batch::default();
    let stale = here.rotate_key(Role::Signer, 2, nothing, author.clone());
    assert!(matches!(stale.await, Err(Error::Conflict { found: 3, .. })));
    let batch = Batch {
        put: vec![(key("globex"), raw("fourth"))],
        ..Batch::default()
    };
    here.rotate_key(Role::Signer, 3, batch, author)
        .await
        .unwrap();
    assert_eq!(body(&here, "globex").await.unwrap(), "fourth");
    assert_ne!(signer(&here), old);
    // A store that knows only the old key continues to read and write.
    assert_eq!(body(&there, "acme").await.unwrap(), "third");
    put(&there, 4, "acme", "fifth").await.unwrap();
    assert_eq!(body(&here, "acme").await.unwrap(), "fifth");
    put(&here, 5, "acme/evals", "sixth").await.unwrap();
    let reopened = home.store();
    assert_eq!(signer(&reopened), signer(&here));
    assert_eq!(body(&reopened, "acme/evals").await.unwrap(), "sixth");
    assert_eq!(body(&reopened, "acme").await.unwrap(), "fifth");
}

fn signer(store: &Store) -> KeyId {
    store.known_keyring().authority().signers[0].key.key.id()
}

#[tokio::test]
async fn a_machine_finds_the_newest_keyring_from_any_earlier_or_later_one() {
    let home = filled().await;
    let saved = home.keys().join("keyring.jsonl");
    let anchor = home.directory.path().join("anchor.json");
    let (first, early) = (
        std::fs::read(&saved).unwrap(),
        std::fs::read(&anchor).unwrap(),
    );
    let change = raw("a test");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    let store = home.store();
    for (revision, role) in [(3, Role::Signer), (4, Role::Owner), (5, Role::Signer)] {
        let rotated = store.rotate_key(role, revision, Batch::default(), author.clone());
        rotated.await.unwrap();
    }
    let newest = std::fs::read(&saved).unwrap();
    let late = std::fs::read(&anchor).unwrap();
    for keyring in [&first, &newest] {
        for anchored in [&early, &late] {
            std::fs::write(&saved, keyring).unwrap();
            std::fs::write(&anchor, anchored).unwrap();
            let store = home.store();
            assert_eq!(body(&store, "acme").await.unwrap(), "third");
            assert_eq!(store.keyring().await.unwrap().number(), 4);
            assert_eq!(std::fs::read(&anchor).unwrap(), late);
        }
    }
    // Another store's keyring is refused.
    let other = filled().await;
    std::fs::copy(other.keys().join("keyring.jsonl"), &saved).unwrap();
    let backend = Arc::new(Sqlite::open(&home.database()).unwrap());
    let keys = Keys::open(&home.keys()).unwrap();
    let opened = Store::open(backend, keys, home.anchor());
    assert!(matches!(
        opened,
        Err(Error::Anchor(AnchorError::OtherStore(_)))
    ));
}

#[tokio::test]
async fn nobody_but_an_owner_changes_the_keyring() {
    let home = filled().await;
    std::fs::remove_file(home.keys().join("owner.pem")).unwrap();
    let store = home.store();
    let change = raw("a test");
    let author = Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change: &change,
        log: None,
    };
    let batch = Batch {
        keyring: Some(store.keyring().await.unwrap().next().into()),
        ..Batch::default()
    };
    let Err(Error::OwnersRequired(proposal)) = store.commit(3, batch, author).await else {
        panic!("the change was made");
    };
    assert!(matches!(
        store.keys().sign_proposal(&mut proposal.clone()),
        Err(KeyError::NoOwner)
    ));
    put(&store, 3, "acme", "fourth").await.unwrap();
}
