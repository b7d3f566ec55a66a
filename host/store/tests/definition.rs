//! The definition of the database is not trusted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // allowed in tests

mod common;

use common::{Home, key, put, read, verify};
use entail_store::{Access, Backend as _, BackendError, Error, Fault, Sqlite};

/// The object that an error names, and its fault.
#[track_caller]
fn named<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, Fault) {
    match result {
        Err(Error::Tampered(tampering)) => (tampering.what().to_owned(), tampering.fault()),
        other => panic!("{other:?}"),
    }
}

/// Statements that change the definition, the object that must be named, and its fault.
const CHANGES: [(&str, &str, Fault); 22] = [
    (
        "CREATE INDEX more ON documents (name)",
        "the index \"more\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE UNIQUE INDEX more ON journal (checkpoint) WHERE revision > 3",
        "the index \"more\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE TRIGGER more BEFORE INSERT ON journal BEGIN SELECT RAISE(IGNORE); END",
        "the trigger \"more\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE VIEW more AS SELECT * FROM documents",
        "the view \"more\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE VIRTUAL TABLE more USING rtree(id, x0, x1)",
        "the table \"more\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE TABLE \"journal\u{200b}\" (x)",
        "the table \"journal\\u{200b}\" of the database",
        Fault::Extra,
    ),
    (
        "CREATE TABLE t (x INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE t;",
        "the table \"sqlite_sequence\" of the database",
        Fault::Extra,
    ),
    (
        "ANALYZE",
        "the table \"sqlite_stat1\" of the database",
        Fault::Extra,
    ),
    (
        "ALTER TABLE journal ADD COLUMN x BLOB AS (NULL)",
        "the table \"journal\" of the database",
        Fault::Forged,
    ),
    (
        "ALTER TABLE blobs ADD COLUMN x BLOB DEFAULT x'00'",
        "the table \"blobs\" of the database",
        Fault::Forged,
    ),
    (
        "ALTER TABLE documents RENAME COLUMN payload TO payload_",
        "the table \"documents\" of the database",
        Fault::Forged,
    ),
    (
        "ALTER TABLE tree RENAME TO trees",
        "the table \"trees\" of the database",
        Fault::Extra,
    ),
    (
        "DROP TABLE tree",
        "the table \"tree\" of the database",
        Fault::Missing,
    ),
    (
        // Drops acknowledged changes.
        "ALTER TABLE journal RENAME TO before;
         CREATE TABLE journal (
             x BLOB AS (CASE WHEN revision > 3 THEN NULL ELSE 1 END) NOT NULL ON CONFLICT IGNORE,
             revision INTEGER NOT NULL PRIMARY KEY, checkpoint BLOB NOT NULL,
             signatures BLOB NOT NULL, change BLOB NOT NULL);
         INSERT INTO journal SELECT * FROM before; DROP TABLE before;",
        "the table \"journal\" of the database",
        Fault::Forged,
    ),
    (
        "ALTER TABLE documents RENAME TO before;
         CREATE TABLE documents (
             kind TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, payload BLOB NOT NULL,
             PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
         INSERT INTO documents SELECT * FROM before; DROP TABLE before;",
        "the table \"documents\" of the database",
        Fault::Forged,
    ),
    (
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', ' ') WHERE name = 'blobs';
         PRAGMA schema_version = 900;",
        "the table \"blobs\" of the database",
        Fault::Forged,
    ),
    (
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = 'tree';
         PRAGMA schema_version = 900;",
        "the table \"tree\" of the database",
        Fault::Forged,
    ),
    (
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'tree')
         WHERE name = 'documents';
         PRAGMA schema_version = 900;",
        "the table \"tree\" of the database",
        Fault::Forged,
    ),
    (
        "PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema SELECT type, name, tbl_name, rootpage + 90, sql
         FROM sqlite_schema WHERE name = 'sqlite_autoindex_blobs_1';
         PRAGMA schema_version = 900;",
        "the database",
        Fault::Forged,
    ),
    (
        "PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('table', 'sqlite_x', 'sqlite_x', 0, 'CREATE TABLE no');
         PRAGMA schema_version = 900;",
        "the database",
        Fault::Forged,
    ),
    (
        "PRAGMA application_id = 7",
        "the database",
        Fault::Forged,
    ),
    (
        "PRAGMA user_version = -1",
        "the database",
        Fault::Forged,
    ),
];

#[tokio::test]
async fn a_changed_definition_is_refused_by_name() {
    for (script, what, fault) in CHANGES {
        let home = Home::filled().await;
        home.sql(script);
        let expected = (what.to_owned(), fault);
        assert_eq!(named(home.open(Access::Shared)), expected, "{script}");
        // Creating a home does not accept it either.
        let created = Sqlite::create(&home.database()).map_err(Error::from);
        assert_eq!(named(created), expected, "{script}");
        // Nor does importing it as a copy.
        let imported = Sqlite::import(&home.database(), &home.sibling(".new"));
        assert_eq!(named(imported.map_err(Error::from)), expected, "{script}");
        assert!(!home.sibling(".new").exists());
    }
}

#[tokio::test]
async fn a_definition_that_changes_under_an_open_connection_is_refused_by_name() {
    for (script, what, fault) in CHANGES {
        let home = Home::filled().await;
        let (reader, writer) = (home.store(), home.store());
        read(&reader, "third").await.unwrap();
        read(&writer, "third").await.unwrap();
        home.sql(script);
        let expected = (what.to_owned(), fault);
        for _ in 0..2 {
            assert_eq!(named(read(&reader, "third").await), expected, "{script}");
            let written = put(&writer, 3, "acme", "fourth").await;
            assert_eq!(named(written), expected, "{script}");
        }
        let faults = verify(&reader).await;
        let found: Vec<_> = faults
            .iter()
            .map(|found| (found.what().to_owned(), found.fault()))
            .collect();
        assert_eq!(found, [expected], "{script}");
        let copy = home.sibling(".copy");
        named(reader.copy_to(&copy, &|_| Vec::new()).await);
        assert!(!copy.exists());
    }
}

#[tokio::test]
async fn a_change_that_keeps_the_schema_version_is_found_on_writing() {
    // SQLite does not count this change, so an open connection keeps using its parsed
    // definition, which is right. It must not write anything that others would read
    // differently.
    for edit in [
        "UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'journal'",
        "INSERT INTO sqlite_schema VALUES ('view', 'more', 'more', 0, 'CREATE VIEW more AS SELECT 1')",
    ] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        home.sql(&format!("PRAGMA writable_schema = ON; {edit}"));
        named(put(&store, 3, "acme", "fourth").await);
        assert_eq!(verify(&store).await.len(), 1);
        named(home.open(Access::Shared));
    }
}

#[tokio::test]
async fn the_size_of_a_parsed_definition_is_limited() {
    let many: Vec<String> = (0..200)
        .map(|number| format!("CREATE TABLE t{number} (x);"))
        .collect();
    let many = many.concat();
    let long = format!("CREATE TABLE t (x DEFAULT '{}')", "x".repeat(20_000));
    for script in [many, long] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        home.sql(&script);
        assert_eq!(named(read(&store, "third").await).1, Fault::Forged);
        assert_eq!(named(home.open(Access::Shared)).1, Fault::Forged);
    }
}

#[tokio::test]
async fn a_definition_that_was_repaired_is_accepted_again() {
    let home = Home::filled().await;
    let store = home.store();
    read(&store, "third").await.unwrap();
    home.sql("CREATE INDEX more ON documents (name)");
    named(read(&store, "third").await);
    home.sql("DROP INDEX more");
    read(&store, "third").await.unwrap();
    put(&store, 3, "acme", "fourth").await.unwrap();
    read(&home.store(), "fourth").await.unwrap();
    assert_eq!(verify(&store).await, []);
}

#[tokio::test]
async fn harmless_maintenance_is_not_tampering() {
    for script in [
        "VACUUM",
        "REINDEX",
        "PRAGMA schema_version = 77",
        "PRAGMA page_size = 8192; VACUUM;",
    ] {
        let home = Home::filled().await;
        let store = home.store();
        read(&store, "third").await.unwrap();
        home.sql(script);
        read(&store, "third").await.unwrap();
        put(&store, 3, "acme", "fourth").await.unwrap();
        read(&home.store(), "fourth").await.unwrap();
        assert_eq!(verify(&store).await, [], "{script}");
    }
}

#[tokio::test]
async fn another_text_encoding_is_refused() {
    let home = Home::filled().await;
    std::fs::remove_file(home.database()).unwrap();
    let script = include_str!("../src/backend/sqlite/migrations/0001_initial.sql");
    home.sql(&format!(
        "PRAGMA encoding = 'UTF-16le'; {script}; PRAGMA user_version = 1;"
    ));
    match Sqlite::open(&home.database()) {
        Err(BackendError::Tampered(tampering)) => {
            assert_eq!(
                tampering.reason(),
                "has encoding \"UTF-16le\", not \"UTF-8\""
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_row_that_is_missing_from_an_index_is_counted_and_verified() {
    // Anyone who edits pages can remove a row from an index.
    let home = Home::filled().await;
    home.sql(
        "CREATE TABLE hidden AS SELECT * FROM blobs;
         DELETE FROM blobs WHERE rowid = 1;
         PRAGMA writable_schema = ON;
         DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_blobs_1';
         UPDATE sqlite_schema SET sql = 'CREATE TABLE blobs (digest BLOB NOT NULL, bytes BLOB NOT NULL) STRICT'
         WHERE name = 'blobs';",
    );
    let page: i64 = {
        let original = Home::filled().await;
        let connection = rusqlite::Connection::open(original.database()).unwrap();
        let query = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_blobs_1'";
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    home.sql("INSERT INTO blobs SELECT * FROM hidden WHERE rowid = 1; DROP TABLE hidden;");
    let original = Home::filled().await;
    let text: String = rusqlite::Connection::open(original.database())
        .unwrap()
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = 'blobs'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    home.sql(&format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = '{text}' WHERE name = 'blobs';
         INSERT INTO sqlite_schema VALUES ('index', 'sqlite_autoindex_blobs_1', 'blobs', {page}, NULL);
         PRAGMA schema_version = 900;"
    ));
    let store = home.store();
    let faults = verify(&store).await;
    let damaged = faults
        .iter()
        .any(|fault| fault.reason().contains("missing from index"));
    assert!(damaged, "{faults:?}");
    // The row was found and verified anyway.
    assert!(
        faults.iter().all(|fault| fault.fault() != Fault::Missing),
        "{faults:?}"
    );
}

#[tokio::test]
async fn a_list_does_not_depend_on_the_rows_of_documents() {
    // Another name replaces a hidden one: the number is right.
    for hide in [
        "UPDATE documents SET name = 'acme/other' WHERE name = 'acme/evals'",
        "DELETE FROM documents WHERE name = 'acme/evals'",
    ] {
        let home = Home::filled().await;
        home.sql(hide);
        let store = home.store();
        let listed = store.names("scope", "", None, 10).await.unwrap();
        assert_eq!(listed, ["acme", "acme/evals"]);
        let below = store.names("scope", "acme", Some("acme"), 1).await;
        assert_eq!(below.unwrap(), ["acme/evals"]);
        let (what, fault) = named(store.read(&[key("acme/evals")]).await);
        assert_eq!((&*what, fault), ("scope acme/evals", Fault::Missing));
    }

    let home = Home::filled().await;
    home.sql("DELETE FROM tree");
    let below = home.store().names("scope", "acme", Some("acme"), 1).await;
    assert_eq!(
        named(below),
        ("the document tree".to_owned(), Fault::Forged)
    );
}

#[tokio::test]
async fn rows_that_were_swapped_on_their_page_are_detected() {
    use std::os::unix::fs::FileExt as _;
    let home = Home::filled().await;
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    let root: u32 = connection
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'documents'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(connection);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(home.database())
        .unwrap();
    let cells = u64::from(root - 1) * 4096 + 8;
    let mut pointers = [0; 4];
    file.read_exact_at(&mut pointers, cells).unwrap();
    pointers.rotate_left(2);
    file.write_all_at(&pointers, cells).unwrap();
    let store = home.store();
    named(read(&store, "third").await);
    let faults = verify(&store).await;
    let damaged = faults
        .iter()
        .any(|fault| fault.reason().contains("is damaged"));
    assert!(damaged, "{faults:?}");
}

#[tokio::test]
async fn a_copy_contains_the_rows_that_were_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::filled().await;
    let store = home.store();
    // Also for names that SQLite would interpret.
    for name in [
        "copy",
        "file:copy",
        "file:copy?mode=memory",
        ":memory:",
        "a?b#c%41.db",
    ] {
        let file = home.directory.path().join(name);
        assert_eq!(store.copy_to(&file, &|_| Vec::new()).await.unwrap(), 3);
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        // An existing file is not replaced.
        assert!(matches!(
            store.copy_to(&file, &|_| Vec::new()).await,
            Err(Error::Unavailable(_))
        ));
        let made = home.directory.path().join(format!("{name}.restored"));
        drop(Sqlite::import(&file, &made).unwrap());
        let restored = home.open_file(&made, Access::Shared).unwrap();
        read(&restored, "third").await.unwrap();
        assert_eq!(verify(&restored).await, []);
    }
    let names: Vec<String> = std::fs::read_dir(home.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains(".new")), "{names:?}");
}

#[tokio::test]
async fn a_tampered_database_cannot_be_copied() {
    for script in [
        "DELETE FROM blobs WHERE rowid = 1",
        "DELETE FROM documents WHERE name = 'acme/evals'",
        "INSERT INTO documents SELECT kind, 'acme/more', payload
         FROM documents WHERE name = 'acme'",
        "UPDATE documents SET payload = zeroblob(64) WHERE name = 'acme/evals'",
    ] {
        let home = Home::filled().await;
        home.sql(script);
        let file = home.sibling(".copy");
        named(home.store().copy_to(&file, &|_| Vec::new()).await);
        let left = std::fs::read_dir(home.directory.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().contains("copy")),
            "{left:?}"
        );
    }
}

#[tokio::test]
async fn a_database_can_be_replaced_by_the_rows_of_a_copy() {
    let home = Home::filled().await;
    let copy = home.sibling(".copy");
    home.copy_to(&copy).await;
    let store = home.store();
    put(&store, 3, "acme", "fourth").await.unwrap();
    let database = Sqlite::open(&home.database()).unwrap();
    database.replace_by(&copy).await.unwrap();
    let restored = home.open_file(&home.database(), Access::Shared).unwrap();
    // The anchor records a newer position.
    assert_eq!(named(restored.read(&[]).await).1, Fault::Stale);

    // A copy with another definition is refused.
    let connection = rusqlite::Connection::open(&copy).unwrap();
    connection
        .execute_batch("CREATE TRIGGER more AFTER DELETE ON blobs BEGIN SELECT 1; END")
        .unwrap();
    drop(connection);
    let refused = database.replace_by(&copy).await.map_err(Error::from);
    assert_eq!(named(refused).0, "the trigger \"more\" of the database");
}
