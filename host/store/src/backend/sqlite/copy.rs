//! Copies a database, and restores one from a copy. The target is always created by the
//! migrations, and the rows of the source are inserted into it. No file, page or statement
//! is copied.

use std::fs::File;
use std::path::Path;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};

use super::connection::{Access, Guarded, failed};
use super::read_transaction::SqliteReadTransaction;
use super::rows;
use crate::backend::{BackendError, RowCounts};
use crate::files;
use crate::tampering::{Fault, Tampering};

/// The tables and their columns.
const TABLES: [(&str, &[&str]); 6] = [
    (
        "journal",
        &["revision", "checkpoint", "signatures", "change"],
    ),
    ("keyrings", &["number", "payload", "signatures"]),
    ("heartbeat", &["place", "payload", "signatures"]),
    ("documents", &["kind", "name", "payload"]),
    ("tree", &["path", "node"]),
    ("blobs", &["digest", "bytes"]),
];

/// Writes the committed rows to the new file `to`, fsyncs it, opens it as a copy, and
/// checks that it has the rows that were read. Others may write concurrently.
pub(super) fn write(
    from: &Path,
    access: Access,
    to: &Path,
) -> Result<SqliteReadTransaction, BackendError> {
    let to_failed = |error: std::io::Error| failed(to, &error);
    files::write_new(to, b"").map_err(to_failed)?;
    let written = || -> Result<SqliteReadTransaction, BackendError> {
        let from = SqliteReadTransaction::begin(Guarded::open_for_reading(from, access)?)?;
        let from = from.lock()?;
        let target = Guarded::create_copy(to)?;
        target
            .lock()?
            .write(|target| copy_rows(from.begun(), target))?;
        drop(target);
        File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(to_failed)?;
        let copy = SqliteReadTransaction::begin(Guarded::open_copy(to)?)?;
        rows::check_pages(copy.lock()?.begun())?;
        check_same(from.begun(), copy.lock()?.begun())?;
        Ok(copy)
    };
    written().inspect_err(|_| {
        // An incomplete copy is useless.
        let _ = std::fs::remove_file(to);
    })
}

/// Inserts the rows of a copy into an empty database.
pub(super) fn fill(database: &Guarded, copy: &Path) -> Result<(), BackendError> {
    let copy = SqliteReadTransaction::begin(Guarded::open_copy(copy)?)?;
    let copy = copy.lock()?;
    database
        .lock()?
        .write(|database| copy_rows(copy.begun(), database))
}

/// Replaces all rows with those of a copy, in one transaction.
pub(super) fn replace(database: &Guarded, copy: &Path) -> Result<(), BackendError> {
    let copy = SqliteReadTransaction::begin(Guarded::open_copy(copy)?)?;
    let copy = copy.lock()?;
    let database = database.lock()?;
    database.write(|database| {
        // Deleting rows from a page that two tables share would damage the other table.
        rows::check_pages(database)?;
        for (table, _) in TABLES {
            database.execute(&format!("DELETE FROM {table}"), [])?;
        }
        copy_rows(copy.begun(), database)
    })?;
    database.clear_log()
}

/// Inserts all rows of one database into another, which must be empty.
fn copy_rows(from: &Connection, to: &Connection) -> Result<(), BackendError> {
    if rows::counts(to)? != RowCounts::default() {
        let reason = "still has rows after all were deleted";
        return Err(Tampering::new(Fault::Forged, "the database", reason).into());
    }
    for (table, columns) in TABLES {
        let names = columns.join(", ");
        let places = vec!["?"; columns.len()].join(", ");
        let mut read = from.prepare(&format!("SELECT {names} FROM {table} NOT INDEXED"))?;
        let mut insert = to.prepare(&format!("INSERT INTO {table} ({names}) VALUES ({places})"))?;
        let mut found = read.query([])?;
        while let Some(row) = found.next()? {
            let values = (0..columns.len())
                .map(|column| row.get_ref(column).map(ToSqlOutput::Borrowed))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            // Fails for a duplicate row, or one with values of other types.
            let inserted = insert
                .execute(params_from_iter(values))
                .map_err(|error| insert_error(table, error))?;
            if inserted != 1 {
                let what = format!("a row of {table}");
                return Err(Tampering::new(Fault::Forged, what, "was not inserted").into());
            }
        }
    }
    check_same(from, to)
}

fn insert_error(table: &str, error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            let what = format!("a row of {table}");
            let reason = format!("violates a constraint of its table: {error}");
            Tampering::new(Fault::Forged, what, reason).into()
        }
        _ => error.into(),
    }
}

/// Fails unless both databases have the same number of rows and the same newest journal
/// entry.
fn check_same(from: &Connection, to: &Connection) -> Result<(), BackendError> {
    let end = |connection: &Connection| -> Result<_, BackendError> {
        let newest = rows::newest(connection)?;
        let entry = rows::entries(connection, newest.saturating_sub(1), 1)?;
        Ok((rows::counts(connection)?, entry))
    };
    if end(from)? == end(to)? {
        return Ok(());
    }
    let reason = "does not have the rows that were copied";
    Err(Tampering::new(Fault::Forged, "the copy", reason).into())
}
