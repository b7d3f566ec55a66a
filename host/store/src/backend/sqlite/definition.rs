//! The definition of the database: its tables, indexes, triggers, views and settings.
//!
//! Anyone who can write the database can change its definition: a generated column can drop
//! inserted rows, an index can hide rows, a trigger or a view can change results. So every
//! row of the schema table, and every setting in the file that changes how rows are read,
//! must be exactly what the migrations create. Anything else is reported by name as
//! [`BackendError::Tampered`].
//!
//! The expected definition is not written down a second time: once per process, the
//! migrations are applied to a database in memory, whose schema table is compared with
//! others. The root page of a table may differ, but each table must have a separate one,
//! and not the first page, where the schema table begins.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use super::error::damage;
use crate::backend::BackendError;
use crate::tampering::{Fault, Tampering};

/// The steps from an empty file to the current schema; `user_version` counts the applied
/// ones. A released step is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// The maximum number of rows to read from the schema table: enough to name additions, and
/// few enough to bound the cost.
const MAX_OBJECTS: usize = 100;

/// The maximum length of a name in an error.
const MAX_NAME_CHARS: usize = 80;

/// The definition after each number of migrations.
static EXPECTED: LazyLock<Result<Vec<Definition>, String>> = LazyLock::new(|| {
    let make = || -> Result<Vec<Definition>, BackendError> {
        let memory = Connection::open_in_memory()?;
        let mut definitions = vec![Definition::read(&memory)?];
        for (applied, step) in (1u32..).zip(MIGRATIONS) {
            memory.execute_batch(step)?;
            memory.pragma_update(None, "user_version", applied)?;
            definitions.push(Definition::read(&memory)?);
        }
        Ok(definitions)
    };
    make().map_err(|error| error.to_string())
});

/// A definition as stored in a database.
#[derive(Debug, PartialEq)]
struct Definition {
    objects: Vec<Object>,
    /// Settings of the file, with their names.
    settings: [(&'static str, Value); 3],
}

/// A row of the schema table: a table, an index, a trigger or a view.
#[derive(Debug, PartialEq)]
struct Object {
    kind: Value,
    name: Value,
    table: Value,
    sql: Value,
    /// The root page.
    root: Value,
}

impl Definition {
    fn read(connection: &Connection) -> Result<Self, BackendError> {
        // The settings first: one of them determines how texts are read.
        let setting = |name: &'static str| -> rusqlite::Result<(&'static str, Value)> {
            let value = connection
                .prepare_cached(&format!("PRAGMA {name}"))?
                .query_row([], |row| row.get(0))?;
            Ok((name, value))
        };
        let settings = [
            setting("encoding").map_err(unreadable)?,
            setting("auto_vacuum").map_err(unreadable)?,
            setting("application_id").map_err(unreadable)?,
        ];
        let read = || -> rusqlite::Result<Vec<Object>> {
            connection
                .prepare_cached("SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema")?
                .query_map([], Object::read)?
                .take(MAX_OBJECTS)
                .collect()
        };
        Ok(Definition {
            objects: read().map_err(unreadable)?,
            settings,
        })
    }

    /// Lists the differences from `expected`.
    fn differences(&self, expected: &Definition) -> Vec<Tampering> {
        let mut differences = Vec::new();
        for ((name, found), (_, right)) in self.settings.iter().zip(&expected.settings) {
            if found != right {
                let reason = format!("has {name} {}, not {}", shown(found), shown(right));
                differences.push(Tampering::new(Fault::Forged, "the database", reason));
            }
        }
        let mut roots = BTreeSet::new();
        let mut missing: Vec<&Object> = expected.objects.iter().collect();
        for found in &self.objects {
            let place = missing.iter().position(|right| right.has_name_of(found));
            let (fault, reason) = match place.map(|place| missing.swap_remove(place)) {
                None => (Fault::Extra, "is not part of a store's database"),
                Some(right) if !right.has_definition_of(found) => {
                    (Fault::Forged, "has a definition other than this version's")
                }
                Some(_) => match found.root {
                    // The schema table itself has the first page.
                    Value::Integer(page) if page > 1 && roots.insert(page) => continue,
                    _ => (Fault::Forged, "shares its root page with another object"),
                },
            };
            differences.push(Tampering::new(fault, found, reason));
        }
        for missing in missing {
            differences.push(Tampering::new(Fault::Missing, missing, "is missing"));
        }
        differences
    }
}

impl Object {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
            root: row.get(4)?,
        })
    }

    fn has_name_of(&self, other: &Object) -> bool {
        (&self.kind, &self.name) == (&other.kind, &other.name)
    }

    fn has_definition_of(&self, other: &Object) -> bool {
        (&self.table, &self.sql) == (&other.table, &other.sql)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Value::Text(kind)
                if matches!(kind.as_str(), "table" | "index" | "trigger" | "view") =>
            {
                kind
            }
            _ => "an object",
        };
        write!(f, "the {kind} {} of the database", shown(&self.name))
    }
}

/// A value as text for an error.
fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => {
            let start: String = text.chars().take(MAX_NAME_CHARS).collect();
            format!("{start:?}")
        }
        Value::Null => "without a name".to_owned(),
        Value::Real(_) | Value::Blob(_) => "with a name that is not text".to_owned(),
    }
}

/// Classifies an error of SQLite that parsing the definition caused, unless it is an error
/// of the system.
fn unreadable(error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::Unknown
            | ErrorCode::TooBig
            | ErrorCode::SchemaChanged
            | ErrorCode::OperationAborted,
        ) => damage(&error.to_string()).into(),
        _ => error.into(),
    }
}

/// The number of migrations of this version.
fn newest_version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Returns the number of applied migrations.
fn version(connection: &Connection) -> Result<u32, BackendError> {
    let found: i64 = connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get(0))?;
    u32::try_from(found).map_err(|_| {
        let reason = format!("has schema version {found}");
        Tampering::new(Fault::Forged, "the database", reason).into()
    })
}

/// Lists the differences from the definition after `applied` migrations.
fn differences(connection: &Connection, applied: u32) -> Result<Vec<Tampering>, BackendError> {
    let expected = EXPECTED.as_ref().map_err(|error| {
        BackendError::Failed(format!("a database in memory cannot be created: {error}"))
    })?;
    let known = newest_version();
    let expected = usize::try_from(applied)
        .ok()
        .and_then(|applied| expected.get(applied))
        .ok_or(BackendError::TooNew {
            found: applied,
            known,
        })?;
    Ok(Definition::read(connection)?.differences(expected))
}

/// Fails unless the definition is the one after `applied` migrations.
fn check_as_of(connection: &Connection, applied: u32) -> Result<(), BackendError> {
    match differences(connection, applied)?.into_iter().next() {
        Some(difference) => Err(difference.into()),
        None => Ok(()),
    }
}

/// Makes SQLite parse the definition of a database that was just opened, so that an error
/// is classified correctly.
pub(super) fn parse(connection: &Connection) -> Result<(), BackendError> {
    let parsed = connection.prepare("SELECT 1 FROM sqlite_schema LIMIT 0");
    parsed.map(drop).map_err(unreadable)
}

/// Makes SQLite parse the definition again, as of the current transaction.
pub(super) fn reparse(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA writable_schema = RESET")
}

/// Fails unless the definition is exactly the current one. Must be called within the
/// transaction whose statements rely on it.
pub(super) fn check(connection: &Connection) -> Result<(), BackendError> {
    let found = version(connection)?;
    let known = newest_version();
    if found == known {
        return check_as_of(connection, known);
    }
    Err(match found {
        0 if differences(connection, 0)?.is_empty() => BackendError::Empty,
        found if found > known => BackendError::TooNew { found, known },
        _ => {
            let reason = format!("has schema version {found}, not {known}");
            Tampering::new(Fault::Forged, "the database", reason).into()
        }
    })
}

/// Applies the missing migrations. Leaves a database without any migration alone unless it
/// `may_be_new`.
pub(super) fn migrate(connection: &mut Connection, may_be_new: bool) -> Result<(), BackendError> {
    let known = newest_version();
    if version(connection)? == known {
        return Ok(());
    }
    // Another process may migrate concurrently: check again while holding the lock.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    reparse(&transaction)?;
    let found = version(&transaction)?;
    if found == 0 && !may_be_new {
        // An existing database had a schema; a truncated file is not a new database.
        return check(&transaction);
    }
    check_as_of(&transaction, found)?;
    for (_, step) in (0..).zip(MIGRATIONS).filter(|(step, _)| *step >= found) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
