//! A journal that someone continued who can write the database, but has no key that this
//! machine trusts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // allowed in tests

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Home, commit, put, raw, verify};
use entail_store::{
    Anchor, Batch, Fault, JournalPosition, Keys, NewKeyring, NewKeys, Sqlite, Store, Tampering,
};

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

/// Continues the journal of a home after `from` with a keyring that gives all power to new keys,
/// and an entry that they sign.
async fn continue_with_new_keys(home: &Home, from: JournalPosition) {
    let directory = tempfile::tempdir().unwrap();
    let keyring = home.store().known_keyring();
    let new = NewKeys::generate().unwrap();
    let mut draft = keyring.next();
    draft.authority = new.authority("thief", 0);
    let keys = new
        .write(&directory.path().join("keys"), None, &keyring)
        .unwrap();
    let anchor = Anchor::at(directory.path().join("anchor.json"));
    anchor.set(from, &keyring).unwrap();
    let open = |keys| {
        let database = Sqlite::open(&home.database()).unwrap();
        Store::open(Arc::new(database), keys, anchor.clone()).unwrap()
    };
    let batch = Batch {
        put: vec![(common::key("acme/evals"), raw("planted"))],
        keyring: Some(NewKeyring::from(draft).taking_over()),
        ..Batch::default()
    };
    commit(&open(keys), from.revision, batch).await.unwrap();
    let forged = open(Keys::open(&directory.path().join("keys")).unwrap());
    assert_eq!(faults(&forged).await, [], "the forgery is well formed");
}

#[tokio::test]
async fn a_keyring_that_no_owner_signed_is_a_fault() {
    let home = Home::filled().await;
    assert_eq!(faults(&home.store()).await, []);
    let running = home.store();
    assert_eq!(running.revision().await.unwrap(), 3);
    continue_with_new_keys(&home, position(&home)).await;
    for store in [running, home.store()] {
        assert!(faults(&store).await.contains(&Fault::Forged));
        assert!(store.revision().await.is_err());
    }
}

#[tokio::test]
async fn a_foreign_keyring_does_not_hide_a_rollback() {
    let home = Home::filled().await;
    let copy = home.directory.path().join("copy.db");
    home.copy_to(&copy).await;
    let before = position(&home);
    put(&home.store(), 3, "acme", "fourth").await.unwrap();
    replace_database(&home, &copy);
    continue_with_new_keys(&home, before).await;
    let store = home.store();
    assert!(!faults(&store).await.is_empty());
    assert!(store.revision().await.is_err());
}
