//! Connections to a database file: the restrictions set on SQLite, and the check of the
//! definition at the start of each transaction.
//!
//! # Security
//!
//! - A path is made absolute before it is passed to SQLite, which treats names that begin
//!   with `file:` as URIs, and `:memory:` and the empty name as special databases.
//! - Triggers, views, loadable extensions, attached databases, double-quoted strings and
//!   edits of the schema table are disabled. The schema is as untrusted as the rows; its
//!   size is limited before it is parsed.
//! - The database file is read, never mapped: if it is truncated, reading fails and no
//!   process is killed. See [`shared_memory`] for the one file that is mapped.

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

/// How long to wait for the commit of another process, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of cached prepared statements: more than this crate has.
const STATEMENTS: usize = 48;

/// The maximum size of a value or a row, in bytes. No document comes close.
const MAX_ROW_BYTES: i32 = 64 * 1024 * 1024;

/// The maximum size of a statement, also in the schema table: many times the longest of
/// this crate.
const MAX_STATEMENT_BYTES: i32 = 16 * 1024;

/// The maximum number of tables, indexes, triggers and views: many times the expected
/// number.
const MAX_OBJECTS: i32 = 64;

/// The SQLite VFS that keeps its locks while a database is open, and keeps on the heap what
/// processes would share.
const EXCLUSIVE_VFS: &str = "unix-excl";

/// Whether other processes may use the database at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Other processes may use it.
    #[default]
    Shared,
    /// Other processes cannot use it; for them the database is busy. Memory that processes
    /// would share through a file (`…-shm`) is on the heap, so no other process can kill this
    /// one by truncating that file.
    Exclusive,
}

/// A connection that one thread at a time can use.
#[derive(Debug)]
pub(super) struct Guarded {
    checked: Arc<Mutex<Checked>>,
    shared_memory: Option<SharedMemory>,
}

/// A connection that checks the definition in every transaction.
#[derive(Debug)]
pub(super) struct Checked {
    connection: Connection,
    /// The state of the database (see [`Checked::state`]) and SQLite's schema version at the
    /// last check; `None` before the first check and after a failed one.
    checked_at: Cell<Option<(i64, i64)>>,
}

impl Guarded {
    /// Opens a database for reading and writing, applies missing migrations, and checks the
    /// definition. Fails for a database without any migration unless it `may_be_new`.
    pub(super) fn open(
        file: &Path,
        access: Access,
        may_be_new: bool,
    ) -> Result<Self, BackendError> {
        let file = absolute(file)?;
        Self::open_at(&file, access, may_be_new).map_err(|error| explain_open_error(&file, error))
    }

    fn open_at(file: &Path, access: Access, may_be_new: bool) -> Result<Self, BackendError> {
        if access == Access::Shared {
            shared_memory::check_before_opening(file)?;
        }
        // Without the create flag: a missing file is not an empty database.
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

    /// Opens a read-only connection to a database.
    pub(super) fn open_for_reading(file: &Path, access: Access) -> Result<Self, BackendError> {
        let guarded = Self::open(file, access, false)?;
        let query_only =
            |checked: &Checked| checked.connection.pragma_update(None, "query_only", true);
        query_only(&*guarded.lock()?)?;
        Ok(guarded)
    }

    /// Opens a copy that no other process uses, without writing to it.
    pub(super) fn open_copy(file: &Path) -> Result<Self, BackendError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = connect(&absolute(file)?, flags, Access::Shared)?;
        let checked = Checked::new(connection);
        checked.read(|_, _| Ok(()))?;
        Ok(Self::unshared(checked))
    }

    /// Creates a database in the empty file `file`, which no other process uses, without a log
    /// file.
    pub(super) fn create_copy(file: &Path) -> Result<Self, BackendError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let mut connection = connect(&absolute(file)?, flags, Access::Shared)?;
        // An incomplete copy is deleted, so it needs no rollback journal on disk.
        set(&connection, "journal_mode", "memory", "memory")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        definition::migrate(&mut connection, true)?;
        Ok(Self::unshared(Checked::new(connection)))
    }

    fn unshared(checked: Checked) -> Self {
        Guarded {
            checked: Arc::new(Mutex::new(checked)),
            shared_memory: None,
        }
    }

    /// Locks the connection for this thread.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Checked>, BackendError> {
        if let Some(shared_memory) = &self.shared_memory {
            shared_memory.check()?;
        }
        // SQLite rolls back the transaction of a thread that panicked.
        Ok(self.checked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let is_gone = |shared_memory: &SharedMemory| shared_memory.check().is_err();
        if let Some(shared_memory) = self.shared_memory.take_if(|own| is_gone(own)) {
            // Closing it would access pages that no longer exist.
            std::mem::forget(Arc::clone(&self.checked));
            std::mem::forget(shared_memory);
        }
    }
}

impl Checked {
    fn new(connection: Connection) -> Self {
        Checked {
            connection,
            checked_at: Cell::new(None),
        }
    }

    /// Returns a number that changes whenever another connection changes the database.
    pub(super) fn state(&self) -> rusqlite::Result<i64> {
        number(&self.connection, "PRAGMA data_version")
    }

    /// Runs `work` in a read transaction, with the state of the database in that transaction.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection, i64) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        let end = ReadEnd(&self.connection);
        // The first read begins the snapshot, so the state belongs to it.
        let state = self.state()?;
        if self
            .checked_at
            .get()
            .is_none_or(|(checked, _)| checked != state)
        {
            self.check()?;
        }
        let read = work(&self.connection, state);
        drop(end);
        read
    }

    /// Begins a read transaction that lasts as long as the connection.
    pub(super) fn begin(&self) -> Result<(), BackendError> {
        self.connection.execute_batch("BEGIN")?;
        self.check()
    }

    /// The connection within the transaction that was begun.
    pub(super) fn begun(&self) -> &Connection {
        &self.connection
    }

    /// Runs `work` in a write transaction.
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

    /// Checks the definition within the current transaction. SQLite's parsed schema matches the
    /// rows of the schema table: it was parsed within this transaction, or within an earlier
    /// one that checked it and since which it has not changed.
    fn check(&self) -> Result<(), BackendError> {
        let before = self.checked_at.take();
        let state = self.state()?;
        let schema_version = number(&self.connection, "PRAGMA schema_version")?;
        if before.is_none_or(|(_, checked)| checked != schema_version) {
            definition::reparse(&self.connection)?;
        }
        definition::check(&self.connection)?;
        self.checked_at.set(Some((state, schema_version)));
        Ok(())
    }

    /// Truncates the write-ahead log, which still contains what was overwritten in the
    /// database. Does not wait for concurrent readers; the next call will truncate it.
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
        // Nothing to commit or to undo; but the next transaction can begin only after this one
        // ended.
        if end("COMMIT").is_err() {
            let _ = end("ROLLBACK");
        }
    }
}

/// The absolute path of a file, which SQLite does not interpret in any other way.
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

/// Explains why a database cannot be opened if SQLite does not: its directory must be
/// writable even for readers.
fn explain_open_error(file: &Path, error: BackendError) -> BackendError {
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

/// Sets a pragma that returns its new value, and fails if SQLite does not accept the value.
fn set(
    connection: &Connection,
    name: &str,
    value: &str,
    expected: &str,
) -> Result<(), BackendError> {
    let pragma = format!("PRAGMA {name} = {value}");
    let actual: Value = connection.query_row(&pragma, [], |row| row.get(0))?;
    let actual = match actual {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    if actual == expected {
        return Ok(());
    }
    Err(BackendError::Failed(format!(
        "the database has {name} {actual} and does not accept {value}"
    )))
}

/// Reads a pragma that is a number.
fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(pragma)?
        .query_row([], |row| row.get(0))
}
