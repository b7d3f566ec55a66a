//! Heartbeats: how long a state of the store counts as the newest.

#![allow(clippy::unwrap_used)] // allowed in tests

mod common;

use common::{Home, commit, put, verify};
use entail_store::{Batch, Fault, Store, Tampering};

/// How long a state counts as the newest in these tests.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// The time of the changes in these tests.
const CHANGED_MS: u64 = 1;

async fn require_heartbeats(store: &Store, fresh_for_ms: Option<u64>) {
    let snapshot = store.read(&[]).await.unwrap();
    let mut draft = snapshot.keyring.next();
    draft.authority.fresh_for_ms = fresh_for_ms;
    let batch = Batch {
        keyring: Some(draft.into()),
        ..Batch::default()
    };
    commit(store, snapshot.revision, batch).await.unwrap();
}

async fn is_fresh(store: &Store, now_ms: u64) -> bool {
    let snapshot = store.read(&[]).await.unwrap();
    snapshot.freshness.is_fresh(now_ms)
}

async fn faults(store: &Store) -> Vec<Fault> {
    verify(store).await.iter().map(Tampering::fault).collect()
}

#[tokio::test]
async fn without_the_requirement_every_state_is_fresh() {
    let home = Home::filled().await;
    let store = home.store();
    assert!(is_fresh(&store, u64::MAX).await);
    assert_eq!(store.send_heartbeat(5).await.unwrap(), None);
    require_heartbeats(&store, Some(HOUR_MS)).await;
    require_heartbeats(&store, None).await;
    assert!(is_fresh(&store, u64::MAX).await);
}

#[tokio::test]
async fn a_state_is_fresh_for_a_while_after_a_change_or_a_heartbeat() {
    let home = Home::filled().await;
    let store = home.store();
    require_heartbeats(&store, Some(HOUR_MS)).await;
    // A reader that is open all the time, and one that is opened each time.
    let running = home.store();
    let end = CHANGED_MS + HOUR_MS;
    for store in [&running, &home.store()] {
        assert!(is_fresh(store, end - 1).await);
        assert!(!is_fresh(store, end).await);
    }
    assert_eq!(
        store.send_heartbeat(end).await.unwrap(),
        Some(end + HOUR_MS)
    );
    for store in [&running, &home.store()] {
        assert!(is_fresh(store, end + HOUR_MS - 1).await);
        assert!(!is_fresh(store, end + HOUR_MS).await);
    }
    assert_eq!(faults(&home.store()).await, []);
    // The heartbeat is for the state before this change.
    put(&store, 4, "acme", "fourth").await.unwrap();
    for store in [&running, &home.store()] {
        assert!(is_fresh(store, CHANGED_MS + HOUR_MS - 1).await);
        assert!(!is_fresh(store, end + 1).await);
    }
    assert_eq!(faults(&home.store()).await, []);
}

#[tokio::test]
async fn a_heartbeat_from_the_future_does_not_count_yet() {
    let home = Home::filled().await;
    let store = home.store();
    require_heartbeats(&store, Some(HOUR_MS)).await;
    store.send_heartbeat(10 * HOUR_MS).await.unwrap();
    assert!(!is_fresh(&store, 9 * HOUR_MS).await);
    assert!(is_fresh(&store, 10 * HOUR_MS).await);
}

#[tokio::test]
async fn a_heartbeat_counts_for_its_checkpoint_and_by_a_signer_alone() {
    let home = Home::filled().await;
    let store = home.store();
    require_heartbeats(&store, Some(HOUR_MS)).await;
    let later = 10 * HOUR_MS;
    store.send_heartbeat(later).await.unwrap();
    assert!(is_fresh(&home.store(), later).await);
    let edits = [
        ("payload", r#""at_ms":36"#, r#""at_ms":35"#),
        ("payload", r#""revision":4"#, r#""revision":3"#),
        ("payload", "{", "["),
        ("signatures", r#""signature":""#, r#""signature":"0"#),
        ("signatures", "ed25519:", "ed448:"),
    ];
    for (column, from, to) in edits {
        home.sql(&format!(
            "UPDATE heartbeat SET {column} = CAST(replace({column}, '{from}', '{to}') AS BLOB)"
        ));
        assert!(!is_fresh(&home.store(), later).await, "{to}");
        assert_eq!(faults(&home.store()).await, [Fault::Forged], "{to}");
        store.send_heartbeat(later).await.unwrap();
        assert_eq!(faults(&home.store()).await, []);
    }
    home.sql("DELETE FROM heartbeat");
    assert!(!is_fresh(&home.store(), later).await);
}
