//! Files of an open database that another program cuts short: an error, never a signal
//! and never something else than what was written. In a program of its own, which a
//! signal would end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

mod common;

use std::path::Path;
use std::process::Command;

use common::{Home, put, read};
use entail_store::{Access, Error, Store};

/// Has another program give a file this length: one that this process opens and closes
/// would take its locks along.
fn truncate(file: &Path, length: u64) {
    let done = Command::new("truncate")
        .arg(format!("--size={length}"))
        .arg(file)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Uses a store in every way. Nothing may come of it but what is right, or an error.
async fn use_all(store: &Store) -> Vec<Error> {
    let read = read(store, "third").await.err();
    // A change for another revision: it writes nothing, and looks as one that does.
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
async fn a_shared_memory_file_that_is_cut_short_is_an_error_until_it_is_whole_again() {
    for length in [0, 3, 4096, 32767] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        let file = home.beside("-shm");
        let whole = std::fs::metadata(&file).unwrap().len();
        truncate(&file, length);
        let errors = use_all(&store).await;
        assert_eq!(errors.len(), 4, "{length}");
        for error in errors {
            let said = error.to_string();
            assert!(said.contains("was cut short"), "{length}: {said}");
            assert!(matches!(error, Error::Unavailable(_)), "{length}: {error}");
        }
        // SQLite maps a file once for all connections of a process.
        let again = home.open(Access::Shared);
        assert!(matches!(again, Err(Error::Unavailable(_))), "{length}");
        // As it is once another process has opened the database.
        truncate(&file, whole);
        assert!(use_all(&store).await.is_empty(), "{length}");
        put(&store, 3, "acme", "fourth").await.unwrap();
        read(&home.store(), "fourth").await.unwrap();
    }
}

#[tokio::test]
async fn a_store_whose_shared_memory_file_is_gone_can_be_let_go() {
    for change in ["cut", "removed", "replaced"] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        let file = home.beside("-shm");
        match change {
            "cut" => truncate(&file, 0),
            "removed" => std::fs::remove_file(&file).unwrap(),
            _ => {
                std::fs::write(home.beside("-other"), vec![0; 32768]).unwrap();
                std::fs::rename(home.beside("-other"), &file).unwrap();
            }
        }
        assert_eq!(use_all(&store).await.len(), 4, "{change}");
        drop(store);
    }
}

#[tokio::test]
async fn a_database_or_a_log_that_is_cut_short_is_an_error_or_changes_nothing() {
    for access in [Access::Shared, Access::Exclusive] {
        for suffix in ["", "-wal"] {
            for divisor in [0, 1, 2, 3, 7] {
                let home = Home::filled().await;
                let store = home.open(access).unwrap();
                // So that there is something in the log.
                put(&store, 3, "acme", "fourth").await.unwrap();
                let file = home.beside(suffix);
                let length = std::fs::metadata(&file).unwrap().len();
                truncate(&file, length.checked_div(divisor).unwrap_or(0) / 2);
                // Whatever it says, it says it, and hands out nothing else.
                let _ = read(&store, "fourth").await;
                let _ = store.revision().await;
                let _ = put(&store, 4, "acme/evals", "fifth").await;
                drop(store);
                if let Ok(newcomer) = home.open(access) {
                    let _ = newcomer.names("scope", "", None, 10).await;
                    let _ = newcomer.revision().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_process_that_is_alone_shares_no_memory() {
    let home = Home::filled().await;
    let store = home.open(Access::Exclusive).unwrap();
    read(&store, "third").await.unwrap();
    put(&store, 3, "acme", "fourth").await.unwrap();
    let mark = std::fs::read_dir(home.directory.path()).unwrap();
    let names: Vec<_> = mark.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().ends_with("-shm")),
        "{names:?}"
    );
    // One that is left from before is none of its own.
    std::fs::write(home.beside("-shm"), b"").unwrap();
    read(&store, "fourth").await.unwrap();
    std::fs::remove_file(home.beside("-shm")).unwrap();
    // Several connections of one process are one process.
    let copy = home.beside(".copy");
    assert_eq!(store.copy_to(&copy).await.unwrap(), 4);

    // Others find it busy, and find all of it afterwards.
    assert!(other_process(&home).unwrap().ends_with("Err(Busy)"));
    drop(store);
    assert_eq!(other_process(&home), None);
    read(&home.store(), "fourth").await.unwrap();
}

/// What another process is told that reads the database.
fn other_process(home: &Home) -> Option<String> {
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "as_another_process", "--nocapture"])
        .env("DATABASE", home.database())
        .output()
        .unwrap();
    let said = String::from_utf8(other.stdout).unwrap();
    let said = said.lines().find_map(|line| line.strip_prefix("read: "))?;
    (said != "well").then(|| said.to_owned())
}

#[test]
#[ignore = "is what another test starts"]
fn as_another_process() {
    let file = std::env::var_os("DATABASE").unwrap();
    let read = entail_store::Sqlite::open(Path::new(&file)).map(drop);
    println!(
        "\nread: {}",
        read.map_or_else(|error| format!("Err({error:?})"), |()| "well".to_owned())
    );
}
