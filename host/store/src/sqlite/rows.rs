//! The rows of a store: how they are read, and written so that what was written is
//! known to be there.

use std::fmt;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::Revision;
use crate::backend::{BackendError, Counts, SignedRow, Writes};
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::{Fault, Tampering};
use crate::tree;

/// The revision of the newest journal entry.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Revision> {
    let newest = connection
        .prepare_cached("SELECT max(revision) FROM journal")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.unwrap_or(0).cast_unsigned())
}

/// Journal entries after a revision, oldest first.
pub(super) fn entries(
    connection: &Connection,
    after: Revision,
    limit: usize,
) -> rusqlite::Result<Vec<SignedRow>> {
    connection
        .prepare_cached(
            "SELECT revision, payload, signature, signer FROM journal
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?
        .query_map(params![after.cast_signed(), at_most(limit)], signed_row)?
        .collect()
}

/// The nodes above a document, from the root down.
pub(super) fn nodes_above(
    connection: &Connection,
    key: &DocumentKey,
) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut nodes = Vec::new();
    for path in tree::paths(key) {
        match node(connection, &path)? {
            Some(node) => nodes.push(node),
            None => break,
        }
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

pub(super) fn signed_row(row: &Row<'_>) -> rusqlite::Result<SignedRow> {
    Ok(SignedRow {
        revision: row.get::<_, i64>(0)?.cast_unsigned(),
        payload: row.get(1)?,
        signature: row.get(2)?,
        signer: row.get(3)?,
    })
}

pub(super) fn document(
    connection: &Connection,
    key: &DocumentKey,
) -> rusqlite::Result<Option<SignedRow>> {
    connection
        .prepare_cached(
            "SELECT revision, payload, signature, signer FROM documents
             WHERE kind = ?1 AND name = ?2",
        )?
        .query_row(params![key.kind, key.name], signed_row)
        .optional()
}

pub(super) fn blob(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()
}

/// How much there is, by a walk through each table: an index might tell otherwise.
pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM journal NOT INDEXED),
                    (SELECT count(*) FROM documents NOT INDEXED),
                    (SELECT count(*) FROM blobs NOT INDEXED),
                    (SELECT count(*) FROM tree NOT INDEXED)",
        )?
        .query_row([], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Counts {
                entries: count(0)?,
                documents: count(1)?,
                blobs: count(2)?,
                nodes: count(3)?,
            })
        })
}

/// Writes the rows of a change. Each must be one row more, one less or one in the place
/// of another, and be read as it was written.
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
    for (key, row) in &writes.put {
        put_document(connection, key, row)?;
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
    there_was_one(removed, key)?;
    is_as_written(document(connection, key)?.is_none(), key)
}

fn put_document(
    connection: &Connection,
    key: &DocumentKey,
    row: &SignedRow,
) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO documents (kind, name, revision, payload, signature, signer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (kind, name) DO UPDATE SET
             revision = ?3, payload = ?4, signature = ?5, signer = ?6",
        )?
        .execute(params![
            key.kind,
            key.name,
            row.revision.cast_signed(),
            row.payload,
            row.signature,
            row.signer
        ])?;
    let found = document(connection, key)?;
    is_as_written(written == 1 && found.as_ref() == Some(row), key)
}

fn add_blob(
    connection: &Connection,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), BackendError> {
    let what = format_args!("blob {digest}");
    if let Some(found) = blob(connection, digest)? {
        // Two changes may need the same bytes; others under their name are nobody's.
        return is_as_written(found == bytes, what);
    }
    let written = connection
        .prepare_cached("INSERT INTO blobs (digest, bytes) VALUES (?1, ?2)")?
        .execute(params![digest.as_bytes(), bytes])?;
    let found = blob(connection, digest)?;
    is_as_written(written == 1 && found.as_deref() == Some(bytes), what)
}

fn remove_blob(connection: &Connection, digest: &Digest) -> Result<(), BackendError> {
    let what = format_args!("blob {digest}");
    // By the row itself: the index that leads to it might lead to another's.
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
    there_was_one(removed, what)?;
    is_as_written(blob(connection, digest)?.is_none(), what)
}

fn set_node(
    connection: &Connection,
    path: &[u8],
    bytes: Option<&[u8]>,
) -> Result<(), BackendError> {
    let changed = match bytes {
        Some(bytes) => connection
            .prepare_cached(
                "INSERT INTO tree (path, node) VALUES (?1, ?2)
                 ON CONFLICT (path) DO UPDATE SET node = ?2",
            )?
            .execute(params![path, bytes])?,
        None => {
            // A node that came and went with this change was never written.
            let there = node(connection, path)?.is_some();
            let removed = connection
                .prepare_cached("DELETE FROM tree WHERE path = ?1")?
                .execute([path])?;
            removed + usize::from(!there)
        }
    };
    let found = node(connection, path)?;
    is_as_written(
        changed == 1 && found.as_deref() == bytes,
        "the tree of documents",
    )
}

fn add_entry(connection: &Connection, entry: &SignedRow) -> Result<(), BackendError> {
    let written = connection
        .prepare_cached(
            "INSERT INTO journal (revision, payload, signature, signer)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            entry.revision.cast_signed(),
            entry.payload,
            entry.signature,
            entry.signer
        ])?;
    let found = entries(connection, entry.revision.saturating_sub(1), 2)?;
    is_as_written(
        written == 1
            && found == std::slice::from_ref(entry)
            && newest(connection)? == entry.revision,
        format_args!("journal entry {}", entry.revision),
    )
}

fn there_was_one(removed: usize, what: impl fmt::Display) -> Result<(), BackendError> {
    match removed {
        1 => Ok(()),
        0 => Err(Tampering::new(Fault::Missing, what, "is missing").into()),
        _ => Err(Tampering::new(Fault::Extra, what, "was there more than once").into()),
    }
}

fn is_as_written(is: bool, what: impl fmt::Display) -> Result<(), BackendError> {
    match is {
        true => Ok(()),
        false => Err(Tampering::new(
            Fault::Forged,
            what,
            "is not what was written to it, so nothing was changed",
        )
        .into()),
    }
}
