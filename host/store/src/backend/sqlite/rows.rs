//! Reads and writes the rows of a store. Everything that is written is read back.

use std::collections::BTreeMap;
use std::fmt;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::backend::{BackendError, RowCounts, Writes};
use crate::digest::Digest;
use crate::journal::position::Revision;
use crate::keyring::KeyringNumber;
use crate::row::{DocumentKey, JournalRow};
use crate::statement::Statement;

use super::error::damage;
use crate::tampering::{Fault, Tampering};
use crate::tree;

/// The maximum number of messages to read from SQLite's integrity check.
const MAX_DAMAGES: usize = 20;

/// The revision of the newest journal entry.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Revision> {
    let newest = connection
        .prepare_cached("SELECT max(revision) FROM journal")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.unwrap_or(0).cast_unsigned())
}

/// Reads journal entries after a revision, oldest first.
pub(super) fn entries(
    connection: &Connection,
    after: Revision,
    limit: usize,
) -> Result<Vec<JournalRow>, BackendError> {
    let entries: Vec<JournalRow> = connection
        .prepare_cached(
            "SELECT revision, checkpoint, signatures, change FROM journal
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?
        .query_map(params![after.cast_signed(), at_most(limit)], |row| {
            Ok(JournalRow {
                revision: row.get::<_, i64>(0)?.cast_unsigned(),
                checkpoint: Statement {
                    payload: row.get(1)?,
                    signatures: row.get(2)?,
                },
                change: row.get(3)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let revisions = entries.iter().map(|entry| entry.revision.cast_signed());
    check_order("journal", Some(after.cast_signed()), revisions)?;
    Ok(entries)
}

/// Reads the keyrings after a number. The numbers are in their bytes as well, which decide.
pub(super) fn keyrings(
    connection: &Connection,
    after: KeyringNumber,
) -> Result<Vec<Statement>, BackendError> {
    let found: Vec<(i64, Statement)> = connection
        .prepare_cached(
            "SELECT number, payload, signatures FROM keyrings WHERE number > ?1 ORDER BY number",
        )?
        .query_map([after.cast_signed()], |row| {
            let statement = Statement {
                payload: row.get(1)?,
                signatures: row.get(2)?,
            };
            Ok((row.get(0)?, statement))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let is_in_place = |(place, (number, _)): (i64, &(i64, Statement))| *number == place;
    if !(after.cast_signed() + 1..).zip(&found).all(is_in_place) {
        let reason = "has rows that are not numbered in order";
        return Err(Tampering::new(Fault::Forged, "the table keyrings", reason).into());
    }
    Ok(found.into_iter().map(|(_, statement)| statement).collect())
}

/// Reads the heartbeat.
pub(super) fn heartbeat(connection: &Connection) -> Result<Option<Statement>, BackendError> {
    let found: Vec<Statement> = connection
        .prepare_cached("SELECT payload, signatures FROM heartbeat NOT INDEXED LIMIT 2")?
        .query_map([], |row| {
            Ok(Statement {
                payload: row.get(0)?,
                signatures: row.get(1)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    if found.len() > 1 {
        let reason = "has more than one row";
        return Err(Tampering::new(Fault::Forged, "the table heartbeat", reason).into());
    }
    Ok(found.into_iter().next())
}

/// Replaces the heartbeat.
pub(super) fn put_heartbeat(
    connection: &Connection,
    statement: &Statement,
) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO heartbeat (place, payload, signatures) VALUES (0, ?1, ?2)
             ON CONFLICT (place) DO UPDATE SET payload = ?1, signatures = ?2",
        )?
        .execute(params![statement.payload, statement.signatures])?;
    let found = heartbeat(connection)?;
    check_written(
        written == 1 && found.as_ref() == Some(statement),
        "the heartbeat",
    )
}

/// Fails unless the keys are in ascending order and come after the previous page. In an
/// edited page, a walk through the rows could otherwise loop forever.
pub(super) fn check_order<K: PartialOrd>(
    table: &str,
    after: Option<K>,
    keys: impl IntoIterator<Item = K>,
) -> Result<(), BackendError> {
    let all = after.into_iter().chain(keys);
    if all.is_sorted_by(|before, next| before < next) {
        return Ok(());
    }
    let what = format!("the table {table}");
    Err(Tampering::new(Fault::Forged, what, "has rows that are not in order").into())
}

/// Reads the nodes above a document, from the root down.
pub(super) fn nodes_above(
    connection: &Connection,
    key: &DocumentKey,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let above = paths_above(connection, &tree::place(key))?;
    Ok(above.into_iter().map(|(_, node)| node).collect())
}

/// Reads the nodes on the way from the root to a place in the tree.
fn paths_above(connection: &Connection, place: &[u8]) -> rusqlite::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut above = Vec::new();
    let mut next = Some(Vec::new());
    while let Some(path) = next
        && let Some(node) = node(connection, &path)?
    {
        next = tree::next_path(&path, &node, place);
        above.push((path, node));
    }
    Ok(above)
}

/// Reads the nodes above and below a prefix of the keys.
pub(super) fn nodes_around(
    connection: &Connection,
    prefix: &[u8],
) -> rusqlite::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut nodes: BTreeMap<_, _> = paths_above(connection, prefix)?.into_iter().collect();
    // A prefix ends with a zero byte.
    let end: Vec<u8> = match prefix.split_last() {
        Some((0, before)) => before.iter().copied().chain([1]).collect(),
        _ => return Ok(nodes),
    };
    let mut below =
        connection.prepare_cached("SELECT path, node FROM tree WHERE path >= ?1 AND path < ?2")?;
    let below = below.query_map([prefix, &end], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for found in below {
        let (path, node) = found?;
        nodes.insert(path, node);
    }
    Ok(nodes)
}

fn node(connection: &Connection, path: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT node FROM tree WHERE path = ?1")?
        .query_row([path], |row| row.get(0))
        .optional()
}

pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn document(
    connection: &Connection,
    key: &DocumentKey,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT payload FROM documents WHERE kind = ?1 AND name = ?2")?
        .query_row(params![key.kind, key.name], |row| row.get(0))
        .optional()
}

pub(super) fn blob(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()
}

/// Runs SQLite's integrity check of the pages, rows and indexes.
pub(super) fn damages(connection: &Connection) -> Result<Vec<Tampering>, BackendError> {
    let messages: Vec<String> = connection
        .prepare_cached(&format!("PRAGMA integrity_check({MAX_DAMAGES})"))?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let damages = messages.iter().filter(|message| *message != "ok");
    Ok(damages.map(|message| damage(message)).collect())
}

/// Fails if the integrity check finds any damage.
pub(super) fn check_pages(connection: &Connection) -> Result<(), BackendError> {
    match damages(connection)?.into_iter().next() {
        Some(damage) => Err(damage.into()),
        None => Ok(()),
    }
}

/// Counts the rows by walking through each table, since an index could be wrong.
pub(super) fn counts(connection: &Connection) -> rusqlite::Result<RowCounts> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM journal NOT INDEXED),
                    (SELECT count(*) FROM keyrings NOT INDEXED),
                    (SELECT count(*) FROM documents NOT INDEXED),
                    (SELECT count(*) FROM blobs NOT INDEXED),
                    (SELECT count(*) FROM tree NOT INDEXED)",
        )?
        .query_row([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(RowCounts {
                entries: count(0)?,
                keyrings: count(1)?,
                documents: count(2)?,
                blobs: count(3)?,
                nodes: count(4)?,
            })
        })
}

/// Writes the rows of a change. Each statement must insert, replace or delete exactly one
/// row, and what was written must be read back unchanged.
pub(super) fn write(
    connection: &Connection,
    expected: Revision,
    writes: &Writes,
) -> Result<(), BackendError> {
    let found = newest(connection)?;
    if found != expected {
        return Err(BackendError::Conflict(found));
    }
    for key in &writes.remove {
        remove_document(connection, key)?;
    }
    for (number, statement) in &writes.keyrings {
        add_keyring(connection, *number, statement)?;
    }
    for (key, bytes) in &writes.put {
        put_document(connection, key, bytes)?;
    }
    for (digest, bytes) in &writes.add_blobs {
        add_blob(connection, digest, bytes)?;
    }
    for digest in &writes.remove_blobs {
        remove_blob(connection, digest)?;
    }
    for (path, node) in &writes.tree {
        set_node(connection, path, node.as_deref())?;
    }
    add_entry(connection, &writes.entry)
}

fn remove_document(connection: &Connection, key: &DocumentKey) -> Result<(), BackendError> {
    let removed = connection
        .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
        .execute(params![key.kind, key.name])?;
    check_removed_one(removed, key)?;
    check_written(document(connection, key)?.is_none(), key)
}

fn put_document(
    connection: &Connection,
    key: &DocumentKey,
    bytes: &[u8],
) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO documents (kind, name, payload) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, name) DO UPDATE SET payload = ?3",
        )?
        .execute(params![key.kind, key.name, bytes])?;
    let found = document(connection, key)?;
    check_written(written == 1 && found.as_deref() == Some(bytes), key)
}

fn add_keyring(
    connection: &Connection,
    number: KeyringNumber,
    statement: &Statement,
) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached("INSERT INTO keyrings (number, payload, signatures) VALUES (?1, ?2, ?3)")?
        .execute(params![
            number.cast_signed(),
            statement.payload,
            statement.signatures
        ])?;
    let is_newest =
        keyrings(connection, number.saturating_sub(1))? == std::slice::from_ref(statement);
    check_written(written == 1 && is_newest, format_args!("keyring {number}"))
}

fn add_blob(connection: &Connection, digest: &Digest, bytes: &[u8]) -> Result<(), BackendError> {
    let what = format_args!("blob {digest}");
    if let Some(found) = blob(connection, digest)? {
        // Two changes may add the same blob. Other bytes under this digest mean tampering.
        return check_written(found == bytes, what);
    }
    let written = connection
        .prepare_cached("INSERT INTO blobs (digest, bytes) VALUES (?1, ?2)")?
        .execute(params![digest.as_bytes(), bytes])?;
    let found = blob(connection, digest)?;
    check_written(written == 1 && found.as_deref() == Some(bytes), what)
}

fn remove_blob(connection: &Connection, digest: &Digest) -> Result<(), BackendError> {
    let what = format_args!("blob {digest}");
    // By row id: the index could lead to another row.
    let found: Option<i64> = connection
        .prepare_cached("SELECT rowid FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()?;
    let removed = match found {
        Some(row) => connection
            .prepare_cached("DELETE FROM blobs NOT INDEXED WHERE rowid = ?1 AND digest = ?2")?
            .execute(params![row, digest.as_bytes()])?,
        None => 0,
    };
    check_removed_one(removed, what)?;
    check_written(blob(connection, digest)?.is_none(), what)
}

fn set_node(
    connection: &Connection,
    path: &[u8],
    bytes: Option<&[u8]>,
) -> Result<(), BackendError> {
    let changed = if let Some(bytes) = bytes {
        connection
            .prepare_cached(
                "INSERT INTO tree (path, node) VALUES (?1, ?2)
                 ON CONFLICT (path) DO UPDATE SET node = ?2",
            )?
            .execute(params![path, bytes])?
    } else {
        // A node that was created and removed within this change was never written.
        let exists = node(connection, path)?.is_some();
        let removed = connection
            .prepare_cached("DELETE FROM tree WHERE path = ?1")?
            .execute([path])?;
        removed + usize::from(!exists)
    };
    let found = node(connection, path)?;
    check_written(
        changed == 1 && found.as_deref() == bytes,
        "the document tree",
    )
}

fn add_entry(connection: &Connection, entry: &JournalRow) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO journal (revision, checkpoint, signatures, change)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            entry.revision.cast_signed(),
            entry.checkpoint.payload,
            entry.checkpoint.signatures,
            entry.change
        ])?;
    let found = entries(connection, entry.revision.saturating_sub(1), 2)?;
    check_written(
        written == 1
            && found == std::slice::from_ref(entry)
            && newest(connection)? == entry.revision,
        format_args!("journal entry {}", entry.revision),
    )
}

fn check_removed_one(removed: usize, what: impl fmt::Display) -> Result<(), BackendError> {
    match removed {
        1 => Ok(()),
        0 => Err(Tampering::new(Fault::Missing, what, "is missing").into()),
        _ => Err(Tampering::new(Fault::Extra, what, "existed more than once").into()),
    }
}

fn check_written(is_same: bool, what: impl fmt::Display) -> Result<(), BackendError> {
    if is_same {
        return Ok(());
    }
    let reason = "does not contain what was written, so the change was undone";
    Err(Tampering::new(Fault::Forged, what, reason).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in memory with the definition of the migrations, with `from` replaced by
    /// `to`.
    fn database(from: &str, to: &str) -> Connection {
        let script = include_str!("migrations/0001_initial.sql");
        assert!(script.contains(from), "{from}");
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&script.replace(from, to)).unwrap();
        connection
    }

    fn statement() -> Statement {
        Statement {
            payload: b"payload".to_vec(),
            signatures: b"[]".to_vec(),
        }
    }

    /// A change that writes to every table.
    fn writes() -> Writes {
        let bytes = b"sealed".to_vec();
        Writes {
            entry: JournalRow {
                revision: 1,
                checkpoint: statement(),
                change: b"change".to_vec(),
            },
            keyrings: vec![(1, statement())],
            put: vec![(DocumentKey::new("scope", "acme"), b"document".to_vec())],
            remove: Vec::new(),
            add_blobs: vec![(Digest::of(&bytes), bytes)],
            remove_blobs: Vec::new(),
            tree: BTreeMap::from([(Vec::new(), Some(b"root".to_vec()))]),
        }
    }

    fn fault(written: Result<(), BackendError>) -> Fault {
        match written {
            Err(BackendError::Tampered(tampering)) => tampering.fault(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_stored_as_written() {
        let connection = database("STRICT", "STRICT");
        write(&connection, 0, &writes()).unwrap();
        let counts = counts(&connection).unwrap();
        let expected = RowCounts {
            entries: 1,
            keyrings: 1,
            documents: 1,
            blobs: 1,
            nodes: 1,
        };
        assert_eq!(counts, expected);
        let found = write(&connection, 0, &writes());
        assert!(matches!(found, Err(BackendError::Conflict(1))));
    }

    #[test]
    fn writes_that_the_database_drops_or_changes_are_an_error() {
        // Such a definition is refused earlier; this tests the second line of defense.
        let dropping = "AS (NULL) VIRTUAL NOT NULL ON CONFLICT IGNORE,";
        for (from, to) in [
            ("journal (", format!("journal (x BLOB {dropping}")),
            ("keyrings (", format!("keyrings (x BLOB {dropping}")),
            ("documents (", format!("documents (x BLOB {dropping}")),
            ("blobs (", format!("blobs (x BLOB {dropping}")),
            ("tree (", format!("tree (x BLOB {dropping}")),
        ] {
            let connection = database(from, &to);
            assert_eq!(
                fault(write(&connection, 0, &writes())),
                Fault::Forged,
                "{to}"
            );
        }
        for trigger in [
            "CREATE TRIGGER t BEFORE INSERT ON journal BEGIN SELECT RAISE(IGNORE); END",
            "CREATE TRIGGER t AFTER INSERT ON journal BEGIN DELETE FROM journal; END",
            "CREATE TRIGGER t AFTER INSERT ON journal
             BEGIN UPDATE journal SET signatures = zeroblob(64); END",
            "CREATE TRIGGER t AFTER INSERT ON keyrings BEGIN DELETE FROM keyrings; END",
            "CREATE TRIGGER t AFTER INSERT ON blobs BEGIN UPDATE blobs SET bytes = x'00'; END",
            "CREATE TRIGGER t AFTER INSERT ON documents
             BEGIN UPDATE documents SET payload = x'00'; END",
            "CREATE TRIGGER t AFTER INSERT ON tree BEGIN DELETE FROM tree; END",
        ] {
            let connection = database("STRICT", "STRICT");
            connection.execute_batch(trigger).unwrap();
            assert_eq!(
                fault(write(&connection, 0, &writes())),
                Fault::Forged,
                "{trigger}"
            );
        }
    }

    #[test]
    fn an_existing_blob_must_have_the_same_bytes() {
        let connection = database("STRICT", "STRICT");
        let (digest, bytes) = (Digest::of(b"sealed"), b"sealed");
        add_blob(&connection, &digest, bytes).unwrap();
        add_blob(&connection, &digest, bytes).unwrap();
        connection
            .execute("UPDATE blobs SET bytes = x'00'", [])
            .unwrap();
        assert_eq!(fault(add_blob(&connection, &digest, bytes)), Fault::Forged);
    }

    #[test]
    fn a_removed_row_must_exist() {
        let connection = database("STRICT", "STRICT");
        write(&connection, 0, &writes()).unwrap();
        let (key, digest) = (DocumentKey::new("scope", "acme"), Digest::of(b"sealed"));
        remove_document(&connection, &key).unwrap();
        assert_eq!(fault(remove_document(&connection, &key)), Fault::Missing);
        remove_blob(&connection, &digest).unwrap();
        assert_eq!(fault(remove_blob(&connection, &digest)), Fault::Missing);
        // A node may have been created and removed within a change.
        set_node(&connection, &[3], None).unwrap();
    }

    #[test]
    fn keyrings_are_numbered_from_one() {
        let connection = database("STRICT", "STRICT");
        add_keyring(&connection, 1, &statement()).unwrap();
        add_keyring(&connection, 2, &statement()).unwrap();
        assert_eq!(keyrings(&connection, 0).unwrap().len(), 2);
        add_keyring(&connection, 4, &statement()).unwrap();
        let found = keyrings(&connection, 0).map(drop);
        assert_eq!(fault(found), Fault::Forged);
    }

    #[test]
    fn rows_that_are_out_of_order_are_refused() {
        check_order("journal", Some(3), [4, 7]).unwrap();
        check_order("journal", None::<i64>, []).unwrap();
        for (after, rows) in [
            (Some(3), vec![3, 4]),
            (Some(3), vec![5, 4]),
            (None, vec![1, 1]),
        ] {
            let refused = check_order("journal", after, rows.clone());
            assert_eq!(fault(refused), Fault::Forged, "{after:?} {rows:?}");
        }
    }
}
