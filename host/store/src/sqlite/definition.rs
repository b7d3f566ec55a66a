//! The definition of the database: what its tables, indexes and columns mean.
//!
//! Whoever can write the database can change it like any row: a generated column can
//! swallow what is inserted, an index can hide what is looked up, a trigger or a view
//! can act on its own. So every row of the schema table, and every setting in the file
//! that changes how rows are read, must be exactly what the migrations make; anything
//! else is [`BackendError::Tampered`], by name.
//!
//! What the migrations make is not written down a second time: they are applied to a
//! database in memory, once per process, and its rows are what others are compared
//! with. The page at which a table begins may differ, but it must be one of its own,
//! and not the first, on which the schema table begins.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use super::rows;
use crate::backend::BackendError;
use crate::error::{Fault, Tampering};

/// The steps from an empty file to the present schema; `user_version` counts
/// how many have been taken. A step that was released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_initial.sql")];

/// The most rows of a schema table that are read: many more than there are, so that
/// what was added is named, and a table of millions costs nothing.
const MAX_OBJECTS: usize = 100;

/// The most characters shown of a name that the migrations do not make.
const MAX_NAME_CHARS: usize = 80;

/// What the migrations make, for each number of them taken.
static EXPECTED: LazyLock<Result<Vec<Definition>, String>> = LazyLock::new(|| {
    let make = || -> Result<Vec<Definition>, BackendError> {
        let memory = Connection::open_in_memory()?;
        let mut made = vec![Definition::read(&memory)?];
        for (taken, step) in (1u32..).zip(MIGRATIONS) {
            memory.execute_batch(step)?;
            memory.pragma_update(None, "user_version", taken)?;
            made.push(Definition::read(&memory)?);
        }
        Ok(made)
    };
    make().map_err(|error| error.to_string())
});

/// A definition, as it is stored.
#[derive(Debug, PartialEq)]
struct Definition {
    objects: Vec<Object>,
    /// Settings of the file, by name.
    settings: [(&'static str, Value); 3],
}

/// A row of the schema table: a table, an index, a trigger or a view.
#[derive(Debug, PartialEq)]
struct Object {
    kind: Value,
    name: Value,
    table: Value,
    sql: Value,
    /// The page at which it begins.
    root: Value,
}

impl Definition {
    fn read(connection: &Connection) -> Result<Self, BackendError> {
        // The settings first: how texts are read is one of them.
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

    /// In what way this is not `expected`.
    fn differences(&self, expected: &Definition) -> Vec<Tampering> {
        let mut differences = Vec::new();
        for ((name, found), (_, right)) in self.settings.iter().zip(&expected.settings) {
            if found != right {
                let how = format!("has {name} {}, not {}", shown(found), shown(right));
                differences.push(Tampering::new(Fault::Forged, "the database", how));
            }
        }
        let mut roots = BTreeSet::new();
        let mut missing: Vec<&Object> = expected.objects.iter().collect();
        for found in &self.objects {
            let place = missing.iter().position(|right| right.is_named_as(found));
            let (fault, how) = match place.map(|place| missing.swap_remove(place)) {
                None => (Fault::Extra, "is not part of a store's database"),
                Some(right) if !right.means_the_same_as(found) => (
                    Fault::Forged,
                    "has another definition than this version makes",
                ),
                Some(_) => match found.root {
                    // The schema table itself begins at the first page.
                    Value::Integer(page) if page > 1 && roots.insert(page) => continue,
                    _ => (Fault::Forged, "does not begin at a page of its own"),
                },
            };
            differences.push(Tampering::new(fault, found, how));
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

    fn is_named_as(&self, other: &Object) -> bool {
        (&self.kind, &self.name) == (&other.kind, &other.name)
    }

    fn means_the_same_as(&self, other: &Object) -> bool {
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

/// A value as text, however long and odd it is.
fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => {
            let start: String = text.chars().take(MAX_NAME_CHARS).collect();
            format!("{start:?}")
        }
        Value::Null => "without a name".to_owned(),
        Value::Real(_) | Value::Blob(_) => "with a name that is no text".to_owned(),
    }
}

/// What an error says of a definition that SQLite itself does not take, unless it has to
/// do with the system.
fn unreadable(error: rusqlite::Error) -> BackendError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::Unknown
            | ErrorCode::TooBig
            | ErrorCode::SchemaChanged
            | ErrorCode::OperationAborted,
        ) => rows::damage(&error.to_string()).into(),
        _ => error.into(),
    }
}

/// The number of migrations that this version knows.
fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// How many of the migrations have been taken.
fn version(connection: &Connection) -> Result<u32, BackendError> {
    let found: i64 = connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get(0))?;
    u32::try_from(found).map_err(|_| {
        let how = format!("has schema version {found}");
        Tampering::new(Fault::Forged, "the database", how).into()
    })
}

/// In what way the definition is not the one after `taken` migrations.
fn differences(connection: &Connection, taken: u32) -> Result<Vec<Tampering>, BackendError> {
    let expected = EXPECTED.as_ref().map_err(|error| {
        BackendError::Failed(format!("no database can be made in memory: {error}"))
    })?;
    let known = known();
    let expected = usize::try_from(taken)
        .ok()
        .and_then(|taken| expected.get(taken))
        .ok_or(BackendError::TooNew {
            found: taken,
            known,
        })?;
    Ok(Definition::read(connection)?.differences(expected))
}

/// Refuses a definition that is not the one after `taken` migrations.
fn check_as_of(connection: &Connection, taken: u32) -> Result<(), BackendError> {
    match differences(connection, taken)?.into_iter().next() {
        Some(difference) => Err(difference.into()),
        None => Ok(()),
    }
}

/// Has SQLite parse the definition of a database that was just opened, so that what it
/// does not take is named for what it is.
pub(super) fn parse(connection: &Connection) -> Result<(), BackendError> {
    let parsed = connection.prepare("SELECT 1 FROM sqlite_schema LIMIT 0");
    parsed.map(drop).map_err(unreadable)
}

/// Has SQLite parse the definition as it is at the moment of the transaction that was
/// begun, whatever it parsed before.
pub(super) fn parse_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA writable_schema = RESET")
}

/// Refuses a definition that is not exactly the present one. To be called within the
/// transaction whose statements rely on it.
pub(super) fn check(connection: &Connection) -> Result<(), BackendError> {
    let found = version(connection)?;
    let known = known();
    if found == known {
        return check_as_of(connection, known);
    }
    Err(match found {
        0 if differences(connection, 0)?.is_empty() => BackendError::Empty,
        found if found > known => BackendError::TooNew { found, known },
        _ => {
            let how = format!("has schema version {found}, not {known}");
            Tampering::new(Fault::Forged, "the database", how).into()
        }
    })
}

/// Takes the migrations that are missing. A database without any is left alone unless
/// it `may_be_new`.
pub(super) fn migrate(connection: &mut Connection, may_be_new: bool) -> Result<(), BackendError> {
    let known = known();
    if version(connection)? == known {
        return Ok(());
    }
    // Another process may be at it: look again once the lock is held.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    parse_again(&transaction)?;
    let found = version(&transaction)?;
    if found == 0 && !may_be_new {
        // Whoever made it gave it a schema; a file cut to nothing is not a new one.
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
