//! Files of an open database that another program truncates must cause an error, never a
//! signal or wrong data. This is a separate test program, since a signal would end it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

mod common;

use std::path::Path;
use std::process::Command;

use common::{Home, put, read};
use entail_store::{Access, Error, Store};

/// Makes another program truncate a file: opening and closing it in this process would
/// release its locks.
fn truncate(file: &Path, length: u64) {
    let done = Command::new("truncate")
        .arg(format!("--size={length}"))
        .arg(file)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Uses a store in every way. Each use must return right data or an error. Returns the
/// errors.
async fn use_all(store: &Store) -> Vec<Error> {
    let read = read(store, "third").await.err();
    // A change for another revision: it writes nothing, but reads like one that does.
    let conflict = match put(store, 7, "acme", "other").await {
        Err(Error::Conflict { found: 3, .. }) => None,
        other => Some(other.unwrap_err()),
    };
    let revision = store.revision().await.err();
    let blob = store.blob(&entail_store::Digest::of(b"first")).await.err();
    [read, conflict, revision, blob]
        .into_iter()
        .flatten()
        .collect()
}

#[tokio::test]
async fn a_truncated_shared_memory_file_is_an_error_until_it_has_its_length_back() {
    for length in [0, 3, 4096, 32767] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        let file = home.sibling("-shm");
        let whole = std::fs::metadata(&file).unwrap().len();
        truncate(&file, length);
        let errors = use_all(&store).await;
        assert_eq!(errors.len(), 4, "{length}");
        for error in errors {
            let text = error.to_string();
            assert!(text.contains("was truncated"), "{length}: {text}");
            assert!(matches!(error, Error::Unavailable(_)), "{length}: {error}");
        }
        // SQLite maps a file once for all connections of a process.
        let again = home.open(Access::Shared);
        assert!(matches!(again, Err(Error::Unavailable(_))), "{length}");
        // As when another process opens the database.
        truncate(&file, whole);
        assert!(use_all(&store).await.is_empty(), "{length}");
        put(&store, 3, "acme", "fourth").await.unwrap();
        read(&home.store(), "fourth").await.unwrap();
    }
}

#[tokio::test]
async fn a_store_without_its_shared_memory_file_can_be_dropped() {
    for change in ["truncated", "removed", "replaced"] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        let file = home.sibling("-shm");
        match change {
            "truncated" => truncate(&file, 0),
            "removed" => std::fs::remove_file(&file).unwrap(),
            _ => {
                std::fs::write(home.sibling("-other"), vec![0; 32768]).unwrap();
                std::fs::rename(home.sibling("-other"), &file).unwrap();
            }
        }
        assert_eq!(use_all(&store).await.len(), 4, "{change}");
        drop(store);
    }
}

#[tokio::test]
async fn a_truncated_database_or_log_is_an_error_or_has_no_effect() {
    for access in [Access::Shared, Access::Exclusive] {
        for suffix in ["", "-wal"] {
            for divisor in [0, 1, 2, 3, 7] {
                let home = Home::filled().await;
                let store = home.open(access).unwrap();
                // So that the log is not empty.
                put(&store, 3, "acme", "fourth").await.unwrap();
                let file = home.sibling(suffix);
                let length = std::fs::metadata(&file).unwrap().len();
                truncate(&file, length.checked_div(divisor).unwrap_or(0) / 2);
                // Any error is fine, but no wrong data.
                let _ = read(&store, "fourth").await;
                let _ = store.revision().await;
                let _ = put(&store, 4, "acme/evals", "fifth").await;
                drop(store);
                if let Ok(reopened) = home.open(access) {
                    let _ = reopened.names("scope", "", None, 10).await;
                    let _ = reopened.revision().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_process_with_exclusive_access_has_no_shared_memory_file() {
    let home = Home::filled().await;
    let store = home.open(Access::Exclusive).unwrap();
    read(&store, "third").await.unwrap();
    put(&store, 3, "acme", "fourth").await.unwrap();
    let entries = std::fs::read_dir(home.directory.path()).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().ends_with("-shm")),
        "{names:?}"
    );
    // A leftover file is ignored.
    std::fs::write(home.sibling("-shm"), b"").unwrap();
    read(&store, "fourth").await.unwrap();
    std::fs::remove_file(home.sibling("-shm")).unwrap();
    // Several connections of one process share the lock.
    let copy = home.sibling(".copy");
    assert_eq!(store.copy_to(&copy, &|_| Vec::new()).await.unwrap(), 4);

    // For other processes the database is busy, and complete afterwards.
    assert!(other_process(&home).unwrap().ends_with("Err(Busy)"));
    drop(store);
    assert_eq!(other_process(&home), None);
    read(&home.store(), "fourth").await.unwrap();
}

/// The error that another process gets when it opens the database.
fn other_process(home: &Home) -> Option<String> {
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "as_another_process", "--nocapture"])
        .env("DATABASE", home.database())
        .output()
        .unwrap();
    let output = String::from_utf8(other.stdout).unwrap();
    let output = output
        .lines()
        .find_map(|line| line.strip_prefix("read: "))?;
    (output != "ok").then(|| output.to_owned())
}

#[test]
#[ignore = "started by another test"]
fn as_another_process() {
    let file = std::env::var_os("DATABASE").unwrap();
    let read = entail_store::Sqlite::open(Path::new(&file)).map(drop);
    println!(
        "\nread: {}",
        read.map_or_else(|error| format!("Err({error:?})"), |()| "ok".to_owned())
    );
}
