//! Connections to a database file: what SQLite is told never to do, and the check of
//! the definition that each transaction begins with.
//!
//! # Security
//!
//! - A name from outside is made absolute before SQLite sees it. The library takes a
//!   name that begins with `file:` for a URI, `:memory:` and the empty name for
//!   databases of its own; an absolute path is none of these.
//! - Triggers, views, loadable extensions, attached databases, strings in double quotes
//!   and edits of the schema table are off; the schema is as untrusted as the rows, and
//!   what it may be is bounded before it is parsed.
//! - The database file is read, never mapped: where somebody cuts it short, reading
//!   fails, and nobody is killed. Of the one file that is mapped see
//!   [`shared_memory`].

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::definition;
use super::shared_memory::{self, SharedMemory};
use crate::backend::BackendError;

/// How long to wait for another process's commit, which takes milliseconds,
/// before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 48;

/// The most bytes of a value or a row; no document comes near.
const MAX_ROW_BYTES: i32 = 64 * 1024 * 1024;

/// The most bytes of a statement, also of one in the schema table: many times the
/// longest of ours.
const MAX_STATEMENT_BYTES: i32 = 16 * 1024;

/// The most tables, indexes, triggers and views that are parsed: many times those that
/// there are.
const MAX_OBJECTS: i32 = 64;

/// How SQLite calls the access to files that keeps its locks for as long as a database
/// is open, and what processes would share on the heap.
const EXCLUSIVE_VFS: &str = "unix-excl";

/// Whether other processes may use the database at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// They may.
    #[default]
    Shared,
    /// They may not: while the database is open here, it is busy for others. What
    /// processes would share in a file (`…-shm`) is in this process's memory, so nobody
    /// can end it by cutting that file short.
    Exclusive,
}

/// A connection, to be used by one thread at a time.
#[derive(Debug)]
pub(super) struct Guarded {
    checked: Arc<Mutex<Checked>>,
    shared_memory: Option<SharedMemory>,
}

/// A connection whose transactions see no definition but the right one.
#[derive(Debug)]
pub(super) struct Checked {
    connection: Connection,
    /// The state of the database (see [`Checked::state`]) and SQLite's own count of the
    /// changes of its definition, as of the last check; `None` before the first one, and
    /// after one that failed.
    at: Cell<Option<(i64, i64)>>,
}

impl Guarded {
    /// Opens a database that is in use, for reading and writing, and checks its
    /// definition. Migrations that are missing are taken; a database without any is
    /// refused unless it `may_be_new`.
    pub(super) fn open(
        file: &Path,
        access: Access,
        may_be_new: bool,
    ) -> Result<Self, BackendError> {
        let file = absolute(file)?;
        Self::open_at(&file, access, may_be_new).map_err(|error| explained(&file, error))
    }

    fn open_at(file: &Path, access: Access, may_be_new: bool) -> Result<Self, BackendError> {
        if access == Access::Shared {
            shared_memory::check_before_opening(file)?;
        }
        // A file that is gone is not to be mistaken for an empty one.
        let mut connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, access)?;
        set(&connection, "journal_mode", "wal", "wal")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", true)?;
        definition::migrate(&mut connection, may_be_new)?;
        let guarded = Guarded {
            checked: Arc::new(Mutex::new(Checked::new(connection))),
            shared_memory: match access {
                Access::Shared => SharedMemory::of(file),
                Access::Exclusive => None,
            },
        };
        guarded.lock()?.read(|_, _| Ok(()))?;
        Ok(guarded)
    }

    /// The same for one that only reads.
    pub(super) fn open_for_reading(file: &Path, access: Access) -> Result<Self, BackendError> {
        let guarded = Self::open(file, access, false)?;
        let query_only =
            |checked: &Checked| checked.connection.pragma_update(None, "query_only", true);
        query_only(&*guarded.lock()?)?;
        Ok(guarded)
    }

    /// Opens a copy that nobody else uses, as it is: nothing of it is written.
    pub(super) fn open_copy(file: &Path) -> Result<Self, BackendError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = connect(&absolute(file)?, flags, Access::Shared)?;
        let checked = Checked::new(connection);
        checked.read(|_, _| Ok(()))?;
        Ok(Self::of_own(checked))
    }

    /// Makes a database of the empty file `file`, which nobody else knows of yet, and
    /// which has no log beside it before or after.
    pub(super) fn make_copy(file: &Path) -> Result<Self, BackendError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let mut connection = connect(&absolute(file)?, flags, Access::Shared)?;
        // What is half made is thrown away, so nothing on disk has to tell how to undo it.
        set(&connection, "journal_mode", "memory", "memory")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        definition::migrate(&mut connection, true)?;
        Ok(Self::of_own(Checked::new(connection)))
    }

    fn of_own(checked: Checked) -> Self {
        Guarded {
            checked: Arc::new(Mutex::new(checked)),
            shared_memory: None,
        }
    }

    /// The connection, for this thread alone.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Checked>, BackendError> {
        if let Some(shared_memory) = &self.shared_memory {
            shared_memory.check()?;
        }
        // A thread that panicked left no half-done change behind: SQLite rolls it back.
        Ok(self.checked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let gone = |shared_memory: &SharedMemory| shared_memory.check().is_err();
        if let Some(shared_memory) = self.shared_memory.take_if(|own| gone(own)) {
            // To close it would touch what is no longer there.
            std::mem::forget(Arc::clone(&self.checked));
            std::mem::forget(shared_memory);
        }
    }
}

impl Checked {
    fn new(connection: Connection) -> Self {
        Checked {
            connection,
            at: Cell::new(None),
        }
    }

    /// A number that differs whenever somebody else has changed the database.
    pub(super) fn state(&self) -> rusqlite::Result<i64> {
        number(&self.connection, "PRAGMA data_version")
    }

    /// Reads the database as it is at one moment, and in the state of that moment.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection, i64) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        let end = ReadEnd(&self.connection);
        // The first read fixes the moment; the state after it is that moment's.
        let state = self.state()?;
        if self.at.get().is_none_or(|(at, _)| at != state) {
            self.check()?;
        }
        let read = work(&self.connection, state);
        drop(end);
        read
    }

    /// Begins to read the database as it is at this moment, for as long as the
    /// connection is open.
    pub(super) fn begin(&self) -> Result<(), BackendError> {
        self.connection.execute_batch("BEGIN")?;
        self.check()
    }

    /// What was begun.
    pub(super) fn begun(&self) -> &Connection {
        &self.connection
    }

    /// Changes the database, all of it or nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        self.check()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Checks the definition, as of the moment of the transaction that was begun. What
    /// SQLite has parsed of it is what the rows say: parsed within the transaction, or
    /// within an earlier one that checked it and after which it did not change.
    fn check(&self) -> Result<(), BackendError> {
        let before = self.at.take();
        let state = self.state()?;
        let changes = number(&self.connection, "PRAGMA schema_version")?;
        if before.is_none_or(|(_, at)| at != changes) {
            definition::parse_again(&self.connection)?;
        }
        definition::check(&self.connection)?;
        self.at.set(Some((state, changes)));
        Ok(())
    }

    /// Empties the log: what was overwritten in the database still stands in it. If
    /// somebody reads at this moment it is left for another time, not waited for.
    pub(super) fn clear_log(&self) -> Result<(), BackendError> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(self.connection.busy_timeout(BUSY_TIMEOUT)?)
    }
}

/// Ends a transaction that only reads.
struct ReadEnd<'a>(&'a Connection);

impl Drop for ReadEnd<'_> {
    fn drop(&mut self) {
        let end = |statement: &str| self.0.prepare_cached(statement)?.execute([]);
        // There is nothing to commit or to undo; the next one begins only if this ended.
        if end("COMMIT").is_err() {
            let _ = end("ROLLBACK");
        }
    }
}

/// A file by a name that means nothing but the file.
pub(super) fn absolute(file: &Path) -> Result<PathBuf, BackendError> {
    std::path::absolute(file).map_err(|error| failed(file, &error))
}

pub(super) fn failed(file: &Path, error: &std::io::Error) -> BackendError {
    BackendError::Failed(format!("{}: {error}", file.display()))
}

fn connect(file: &Path, flags: OpenFlags, access: Access) -> Result<Connection, BackendError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::Shared => Connection::open_with_flags(file, flags),
        Access::Exclusive => Connection::open_with_flags_and_vfs(file, flags, EXCLUSIVE_VFS),
    }?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_SCHEMA, MAX_OBJECTS),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    definition::parse(&connection)?;
    set(&connection, "mmap_size", "0", "0")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Says why a database cannot be opened where SQLite does not: its directory must be
/// writable also for who only reads.
fn explained(file: &Path, error: BackendError) -> BackendError {
    let directory = file.parent().unwrap_or(file);
    match rustix::fs::access(directory, rustix::fs::Access::WRITE_OK) {
        Err(reason) if matches!(error, BackendError::Failed(_)) => BackendError::Failed(format!(
            "{} cannot be written ({}): the database keeps its log there, and decisions are \
             recorded there; mount it for reading and writing",
            directory.display(),
            std::io::Error::from(reason)
        )),
        _ => error,
    }
}

/// Sets what SQLite answers with, and fails if it does not take it.
fn set(
    connection: &Connection,
    name: &str,
    value: &str,
    expected: &str,
) -> Result<(), BackendError> {
    let pragma = format!("PRAGMA {name} = {value}");
    let taken: Value = connection.query_row(&pragma, [], |row| row.get(0))?;
    let taken = match taken {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    match taken == expected {
        true => Ok(()),
        false => Err(BackendError::Failed(format!(
            "the database has {name} {taken} and does not take {value}"
        ))),
    }
}

/// A number that SQLite keeps of a database.
fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(pragma)?
        .query_row([], |row| row.get(0))
}
