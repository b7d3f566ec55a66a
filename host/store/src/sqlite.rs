//! A database in one file, for one machine: SQLite.
//!
//! Several processes may use it at once. Readers never wait for a writer
//! (write-ahead log); a commit is on disk when it is acknowledged
//! (`synchronous=FULL`), and what is removed is overwritten (`secure_delete`).
//!
//! Reads run on the caller's thread: they take microseconds. Commits wait for
//! the disk and run on a thread of their own.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::Revision;
use crate::backend::{Backend, BackendError, HeadRow, Rows, SignedRow, Writes};
use crate::digest::Digest;
use crate::document::DocumentKey;

/// The steps from an empty file to the present schema; `user_version` counts
/// how many have been taken. A step that was released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// How long to wait for another process's commit, which takes milliseconds,
/// before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 32;

/// A SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    /// Only reads, so that its `data_version` tells of every commit.
    reader: Mutex<Connection>,
    writer: Arc<Mutex<Connection>>,
}

impl Sqlite {
    /// Makes the database file (mode 0600), unless it is there, and opens it.
    ///
    /// # Errors
    ///
    /// [`BackendError::TooNew`], or whatever the system says.
    pub fn create(file: &Path) -> Result<Self, BackendError> {
        // The log and shared-memory files take over the mode.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(file)
            .map_err(|error| BackendError::Failed(format!("{}: {error}", file.display())))?;
        migrate(&mut connect(file)?)?;
        Self::open(file)
    }

    /// Opens the database file, which must be there, and brings its schema up to
    /// date.
    ///
    /// # Errors
    ///
    /// [`BackendError::TooNew`], or whatever the system says.
    pub fn open(file: &Path) -> Result<Self, BackendError> {
        let mut writer = connect(file)?;
        // Whoever made it gave it a schema; a file cut to nothing is not a new one.
        if version(&writer)? == 0 {
            return Err(BackendError::Empty);
        }
        migrate(&mut writer)?;
        let reader = connect(file)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Sqlite {
            reader: Mutex::new(reader),
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        locked(&self.reader)
    }
}

/// A thread that panicked left no half-done change behind: SQLite rolls it back.
fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(file: &Path) -> Result<Connection, BackendError> {
    // A file that is gone is not to be mistaken for an empty one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    // The schema is as untrusted as the rows.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// How many of the migrations have been taken.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> Result<(), BackendError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if version(connection)? == known {
        return Ok(());
    }
    // Another process may be at it: look again once the lock is held.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    if found > known {
        return Err(BackendError::TooNew { found, known });
    }
    for (_, migration) in (0..).zip(MIGRATIONS).filter(|(step, _)| *step >= found) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

impl From<rusqlite::Error> for BackendError {
    fn from(error: rusqlite::Error) -> Self {
        BackendError::Failed(error.to_string())
    }
}

fn state(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

fn head(connection: &Connection) -> rusqlite::Result<Option<SignedRow>> {
    connection
        .prepare_cached(
            "SELECT revision, payload, signature, signer FROM journal
             ORDER BY revision DESC LIMIT 1",
        )?
        .query_row([], signed_row)
        .optional()
}

/// The revision of the newest journal entry.
fn newest(connection: &Connection) -> rusqlite::Result<Option<Revision>> {
    let newest = connection
        .prepare_cached("SELECT max(revision) FROM journal")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.map(i64::cast_unsigned))
}

fn signed_row(row: &Row<'_>) -> rusqlite::Result<SignedRow> {
    Ok(SignedRow {
        revision: row.get::<_, i64>(0)?.cast_unsigned(),
        payload: row.get(1)?,
        signature: row.get(2)?,
        signer: row.get(3)?,
    })
}

fn document(connection: &Connection, key: &DocumentKey) -> rusqlite::Result<Option<SignedRow>> {
    connection
        .prepare_cached(
            "SELECT revision, payload, signature, signer FROM documents
             WHERE kind = ?1 AND name = ?2",
        )?
        .query_row(params![key.kind, key.name], signed_row)
        .optional()
}

fn apply(
    connection: &mut Connection,
    expected: Revision,
    writes: &Writes,
) -> Result<(), BackendError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = newest(&transaction)?.unwrap_or(0);
    if found != expected {
        return Err(BackendError::Conflict(found));
    }
    for key in &writes.remove {
        transaction
            .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND name = ?2")?
            .execute(params![key.kind, key.name])?;
    }
    for (key, row) in &writes.put {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                key.kind,
                key.name,
                row.revision.cast_signed(),
                row.payload,
                row.signature,
                row.signer
            ])?;
    }
    for (digest, bytes) in &writes.add_blobs {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO blobs VALUES (?1, ?2)")?
            .execute(params![digest.as_bytes(), bytes])?;
    }
    for digest in &writes.remove_blobs {
        transaction
            .prepare_cached("DELETE FROM blobs WHERE digest = ?1")?
            .execute(params![digest.as_bytes()])?;
    }
    let entry = &writes.entry;
    transaction
        .prepare_cached("INSERT INTO journal VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            entry.revision.cast_signed(),
            entry.payload,
            entry.signature,
            entry.signer
        ])?;
    transaction.commit()?;
    Ok(())
}

#[async_trait]
impl Backend for Sqlite {
    async fn state(&self) -> Result<u64, BackendError> {
        Ok(state(&self.reader())?)
    }

    async fn read(&self, keys: &[DocumentKey], known: Option<u64>) -> Result<Rows, BackendError> {
        let mut reader = self.reader();
        let transaction = reader.transaction()?;
        // The first read fixes the moment; the state after it is that moment's.
        let revision = newest(&transaction)?;
        let state = state(&transaction)?;
        let head = match revision {
            _ if known == Some(state) => HeadRow::Unchanged,
            None => HeadRow::Empty,
            Some(_) => head(&transaction)?.map_or(HeadRow::Empty, HeadRow::Entry),
        };
        let documents = keys
            .iter()
            .map(|key| document(&transaction, key))
            .collect::<Result<_, _>>()?;
        Ok(Rows {
            state,
            head,
            documents,
        })
    }

    async fn names(
        &self,
        kind: &str,
        under: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BackendError> {
        let reader = self.reader();
        // All that starts with "under/" lies between it and "under0", the next
        // character after the slash.
        let (from, to) = match under {
            "" => (String::new(), None),
            under => (format!("{under}/"), Some(format!("{under}0"))),
        };
        let mut statement = reader.prepare_cached(
            "SELECT name FROM documents
             WHERE kind = ?1 AND name > ?5
               AND (name = ?2 OR (name >= ?3 AND (?4 IS NULL OR name < ?4)))
             ORDER BY name LIMIT ?6",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let names = statement
            .query_map(
                params![kind, under, from, to, after.unwrap_or(""), limit],
                |row| row.get(0),
            )?
            .collect::<Result<_, _>>()?;
        Ok(names)
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self
            .reader()
            .prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?
            .query_row([digest.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached(
            "SELECT revision, payload, signature, signer FROM journal
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map(params![after.cast_signed(), limit], signed_row)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError> {
        let writer = Arc::clone(&self.writer);
        tokio::task::spawn_blocking(move || apply(&mut locked(&writer), expected, &writes))
            .await
            .map_err(|_| BackendError::Failed("the commit did not finish".to_owned()))?
    }
}
