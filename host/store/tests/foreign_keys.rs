//! A journal that someone continued who can write the database, but has no key that this
//! machine trusts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // allowed in tests

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Home, commit, put, raw, verify};
use entail_store::{Anchor, Batch, Fault, JournalPosition, Keys, Sqlite, Store, Tampering};

async fn faults(store: &Store) -> Vec<Fault> {
    verify(store).await.iter().map(Tampering::fault).collect()
}

/// The position of the newest entry.
fn position(home: &Home) -> JournalPosition {
    home.anchor().read().unwrap()
}

fn replace_database(home: &Home, copy: &Path) {
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(home.sibling(suffix));
    }
    std::fs::rename(copy, home.database()).unwrap();
}

/// Continues the journal of a home after `from` with an entry that introduces a new key, and is
/// signed by it. `seen` is the newest revision that the home has seen.
async fn continue_with_new_key(home: &Home, from: JournalPosition, seen: u64) {
    let directory = tempfile::tempdir().unwrap();
    Keys::create(&directory.path().join("keys"), None).unwrap();
    let keys = Keys::open(&directory.path().join("keys")).unwrap();
    let own = keys.verifiers()[0].clone();
    let anchor = Anchor::at(directory.path().join("anchor.json"));
    anchor.set(from).unwrap();
    let database = Sqlite::open(&home.database()).unwrap();
    let store = Store::open(Arc::new(database), keys, anchor).unwrap();
    let former = home.store().verifiers();
    let trusted: Vec<_> = std::iter::once(own.clone()).chain(former).collect();
    store.trust(&trusted).unwrap();
    let batch = Batch {
        put: vec![(common::key("acme/evals"), raw("planted"))],
        trust: Some(own),
        after: seen,
        ..Batch::default()
    };
    commit(&store, from.revision, batch).await.unwrap();
    let keys = Keys::open(&directory.path().join("keys")).unwrap();
    let database = Sqlite::open(&home.database()).unwrap();
    let forged = Store::open(Arc::new(database), keys, store.anchor().clone()).unwrap();
    assert_eq!(faults(&forged).await, [], "the forgery is well formed");
}

#[tokio::test]
async fn an_entry_that_introduces_its_own_key_is_a_fault() {
    let home = Home::filled().await;
    assert_eq!(faults(&home.store()).await, []);
    let running = home.store();
    assert_eq!(running.revision().await.unwrap(), 3);
    continue_with_new_key(&home, position(&home), 3).await;
    for store in [running, home.store()] {
        assert!(faults(&store).await.contains(&Fault::Forged));
        assert!(store.revision().await.is_err());
    }
}

#[tokio::test]
async fn an_entry_with_its_own_key_does_not_hide_a_rollback() {
    let home = Home::filled().await;
    let copy = home.directory.path().join("copy.db");
    home.copy_to(&copy).await;
    let before = position(&home);
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    replace_database(&home, &copy);
    continue_with_new_key(&home, before, 4).await;
    let store = home.store();
    assert!(!faults(&store).await.is_empty());
    assert!(store.revision().await.is_err());
}

#[tokio::test]
async fn an_entry_that_skips_the_anchored_one_is_a_rollback() {
    let home = Home::filled().await;
    let running = home.store();
    assert_eq!(running.revision().await.unwrap(), 3);
    let copy = home.directory.path().join("copy.db");
    home.copy_to(&copy).await;
    let before = position(&home);
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    let after = position(&home);
    replace_database(&home, &copy);
    // The thief has the signer, and continues before the anchored entry.
    home.anchor().set(before).unwrap();
    let skipping = Batch {
        after: 4,
        ..Batch::default()
    };
    commit(&home.store(), 3, skipping).await.unwrap();
    home.anchor().set(after).unwrap();
    for store in [running, home.store()] {
        assert!(faults(&store).await.contains(&Fault::Stale));
        assert!(store.revision().await.is_err());
    }
}
