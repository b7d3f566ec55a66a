//! Copies of a database, and databases out of copies: always a database that the
//! migrations made, into which the rows of the other one were inserted. No file, page
//! or statement is taken over, so nothing but rows comes along.

use std::fs::File;
use std::path::Path;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};

use super::connection::{Access, Guarded, failed};
use super::{ReadTransaction, rows};
use crate::backend::{BackendError, Counts};
use crate::error::{Fault, Tampering};
use crate::files;

/// Every table with its columns, and how all of it is read: by a walk through the table
/// itself.
const TABLES: [(&str, &[&str]); 4] = [
    (
        "documents",
        &["kind", "name", "revision", "payload", "signature", "signer"],
    ),
    ("blobs", &["digest", "bytes"]),
    ("journal", &["revision", "payload", "signature", "signer"]),
    ("tree", &["path", "node"]),
];

/// Writes what is committed to the new file `to`, while others may write, sees it onto
/// the disk, and opens what was written as a copy, which must be what was read.
pub(super) fn write(
    from: &Path,
    access: Access,
    to: &Path,
) -> Result<ReadTransaction, BackendError> {
    let unsaid = |error: std::io::Error| failed(to, &error);
    files::write_new(to, b"").map_err(unsaid)?;
    let written = || -> Result<ReadTransaction, BackendError> {
        let from = ReadTransaction::begin(Guarded::open_for_reading(from, access)?)?;
        let from = from.lock()?;
        let made = Guarded::make_copy(to)?;
        made.lock()?.write(|made| copy_rows(from.begun(), made))?;
        drop(made);
        File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(unsaid)?;
        let copy = ReadTransaction::begin(Guarded::open_copy(to)?)?;
        rows::check_pages(copy.lock()?.begun())?;
        check_same(from.begun(), copy.lock()?.begun())?;
        Ok(copy)
    };
    written().inspect_err(|_| {
        // Half a copy is none.
        let _ = std::fs::remove_file(to);
    })
}

/// Fills a database in which nothing is yet with the rows of a copy.
pub(super) fn fill(database: &Guarded, copy: &Path) -> Result<(), BackendError> {
    let copy = ReadTransaction::begin(Guarded::open_copy(copy)?)?;
    let copy = copy.lock()?;
    database
        .lock()?
        .write(|database| copy_rows(copy.begun(), database))
}

/// Puts the rows of a copy in the place of all that there are, in one transaction.
pub(super) fn replace(database: &Guarded, copy: &Path) -> Result<(), BackendError> {
    let copy = ReadTransaction::begin(Guarded::open_copy(copy)?)?;
    let copy = copy.lock()?;
    let database = database.lock()?;
    database.write(|database| {
        // What is removed from pages that others use as well would be removed from those.
        rows::check_pages(database)?;
        for (table, _) in TABLES {
            database.execute(&format!("DELETE FROM {table}"), [])?;
        }
        copy_rows(copy.begun(), database)
    })?;
    database.clear_log()
}

/// Inserts every row of one database into another, which must have none.
fn copy_rows(from: &Connection, to: &Connection) -> Result<(), BackendError> {
    if rows::counts(to)? != Counts::default() {
        let how = "still has rows after all were removed";
        return Err(Tampering::new(Fault::Forged, "the database", how).into());
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
            // A row that is there twice, or has none of its columns' types.
            let inserted = insert
                .execute(params_from_iter(values))
                .map_err(|error| unfit(table, error))?;
            if inserted != 1 {
                let what = format!("a row of {table}");
                return Err(Tampering::new(Fault::Forged, what, "was not inserted").into());
            }
        }
    }
    check_same(from, to)
}

fn unfit(table: &str, error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            let what = format!("a row of {table}");
            let how = format!("does not fit its table: {error}");
            Tampering::new(Fault::Forged, what, how).into()
        }
        _ => error.into(),
    }
}

/// Refuses two databases that do not have the same number of rows and the same end of
/// their journals.
fn check_same(from: &Connection, to: &Connection) -> Result<(), BackendError> {
    let end = |connection: &Connection| -> Result<_, BackendError> {
        let newest = rows::newest(connection)?;
        let entry = rows::entries(connection, newest.saturating_sub(1), 1)?;
        Ok((rows::counts(connection)?, entry))
    };
    match end(from)? == end(to)? {
        true => Ok(()),
        false => Err(Tampering::new(
            Fault::Forged,
            "the copy",
            "does not have the rows that were copied",
        )
        .into()),
    }
}
