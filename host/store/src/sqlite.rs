//! A database in one file, for one machine: SQLite.
//!
//! Several processes may use it at once. Readers never wait for a writer
//! (write-ahead log); a commit is on disk when it is acknowledged
//! (`synchronous=FULL`), and what is removed is overwritten (`secure_delete`).
//!
//! Reads run on the caller's thread: they take microseconds. Commits wait for
//! the disk and run on a thread of their own.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::limits::Limit;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Params, Row, TransactionBehavior, params,
};

use crate::Revision;
use crate::backend::{
    Backend, BackendError, Counts, FoundDocument, Frozen, JournalRows, Rows, SignedRow, Writes,
};
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::files;
use crate::tree;

/// The steps from an empty file to the present schema; `user_version` counts
/// how many have been taken. A step that was released is never edited.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// How long to wait for another process's commit, which takes milliseconds,
/// before giving up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements kept prepared: more than there are.
const STATEMENTS: usize = 32;

/// The most bytes of a value or a row; no document comes near.
const MAX_ROW_BYTES: i32 = 64 * 1024 * 1024;

/// Journal entries read at a time along with documents.
const ENTRIES: usize = 64;

/// A SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    opened: Mutex<Arc<Opened>>,
}

/// The connections to a database file.
#[derive(Debug)]
struct Opened {
    /// Which file it is: another may take the place of its name.
    identity: (u64, u64),
    /// Counts the files that had the name, so that the states of two differ.
    generation: u32,
    /// Only reads, so that its `data_version` tells of every commit.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
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
            .map_err(|error| failed(file, &error))?;
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
        Ok(Sqlite {
            file: file.to_owned(),
            opened: Mutex::new(Arc::new(Opened::open(file, 0)?)),
        })
    }

    /// The connections to the file that has the name now.
    fn opened(&self) -> Result<Arc<Opened>, BackendError> {
        let mut opened = locked(&self.opened);
        if identity(&self.file)? != opened.identity {
            *opened = Arc::new(Opened::open(&self.file, opened.generation + 1)?);
        }
        Ok(Arc::clone(&opened))
    }
}

impl Opened {
    fn open(file: &Path, generation: u32) -> Result<Self, BackendError> {
        let identity = identity(file)?;
        let mut writer = connect(file)?;
        // Whoever made it gave it a schema; a file cut to nothing is not a new one.
        if version(&writer)? == 0 {
            return Err(BackendError::Empty);
        }
        migrate(&mut writer)?;
        // One that acts on its own would act on what is written from now on.
        if let Some(name) = first_actor(&writer)? {
            return Err(BackendError::Failed(format!(
                "the database has a trigger or view that nobody put there who may: {name}"
            )));
        }
        Ok(Opened {
            identity,
            generation,
            reader: Mutex::new(read_only(file)?),
            writer: Mutex::new(writer),
        })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        locked(&self.reader)
    }

    /// A number that differs after each change of the database, and of the file.
    fn state(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let version = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get::<_, u32>(0))?;
        Ok(u64::from(self.generation) << 32 | u64::from(version))
    }
}

/// A thread that panicked left no half-done change behind: SQLite rolls it back.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(file: &Path, error: &std::io::Error) -> BackendError {
    BackendError::Failed(format!("{}: {error}", file.display()))
}

/// Which file has the name.
fn identity(file: &Path) -> Result<(u64, u64), BackendError> {
    let metadata = std::fs::metadata(file).map_err(|error| failed(file, &error))?;
    Ok((metadata.dev(), metadata.ino()))
}

fn connect(file: &Path) -> Result<Connection, BackendError> {
    // A file that is gone is not to be mistaken for an empty one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    // The schema is as untrusted as the rows.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn read_only(file: &Path) -> Result<Connection, BackendError> {
    let reader = connect(file)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

/// The name of a trigger or a view, of which there are none.
fn first_actor(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')",
            [],
            |row| row.get(0),
        )
        .optional()
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

/// The revision of the newest journal entry.
fn newest(connection: &Connection) -> rusqlite::Result<Revision> {
    let newest = connection
        .prepare_cached("SELECT max(revision) FROM journal")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.unwrap_or(0).cast_unsigned())
}

/// Journal entries after a revision, oldest first.
fn entries(
    connection: &Connection,
    after: Revision,
    limit: usize,
) -> rusqlite::Result<Vec<SignedRow>> {
    connection
        .prepare_cached(
            "SELECT revision, payload, signature, signer FROM journal
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?
        .query_map(params![after.cast_signed(), rows(limit)], signed_row)?
        .collect()
}

/// The nodes above a document, from the root down.
fn nodes_above(connection: &Connection, key: &DocumentKey) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT node FROM tree WHERE path = ?1")?;
    let mut nodes = Vec::new();
    for path in tree::paths(key) {
        match statement.query_row([path], |row| row.get(0)).optional()? {
            Some(node) => nodes.push(node),
            None => break,
        }
    }
    Ok(nodes)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
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
    let found = newest(&transaction)?;
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
    for (path, node) in &writes.tree {
        match node {
            Some(node) => transaction
                .prepare_cached("INSERT OR REPLACE INTO tree VALUES (?1, ?2)")?
                .execute(params![path, node])?,
            None => transaction
                .prepare_cached("DELETE FROM tree WHERE path = ?1")?
                .execute([path])?,
        };
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
    if !writes.remove_blobs.is_empty() {
        clear_log(connection)?;
    }
    Ok(())
}

#[async_trait]
impl Backend for Sqlite {
    async fn state(&self) -> Result<u64, BackendError> {
        let opened = self.opened()?;
        let reader = opened.reader();
        Ok(opened.state(&reader)?)
    }

    async fn read(
        &self,
        keys: &[DocumentKey],
        from: Revision,
        known: Option<u64>,
    ) -> Result<Rows, BackendError> {
        let opened = self.opened()?;
        let mut reader = opened.reader();
        let transaction = reader.transaction()?;
        // The first read fixes the moment; the state after it is that moment's.
        let newest = newest(&transaction)?;
        let state = opened.state(&transaction)?;
        let journal = match known == Some(state) {
            true => None,
            false => Some(JournalRows {
                newest,
                entries: entries(&transaction, from.saturating_sub(1), ENTRIES)?,
            }),
        };
        let found = |key: &DocumentKey| -> rusqlite::Result<FoundDocument> {
            Ok(FoundDocument {
                row: document(&transaction, key)?,
                nodes: nodes_above(&transaction, key)?,
            })
        };
        let documents = keys.iter().map(found).collect::<Result<_, _>>()?;
        Ok(Rows {
            state,
            journal,
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
        let opened = self.opened()?;
        let reader = opened.reader();
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
        let names = statement
            .query_map(
                params![kind, under, from, to, after.unwrap_or(""), rows(limit)],
                |row| row.get(0),
            )?
            .collect::<Result<_, _>>()?;
        Ok(names)
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(blob(&self.opened()?.reader(), digest)?)
    }

    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError> {
        Ok(entries(&self.opened()?.reader(), after, limit)?)
    }

    async fn freeze(&self) -> Result<Box<dyn Frozen>, BackendError> {
        let connection = read_only(&self.file)?;
        connection.execute_batch("BEGIN")?;
        // The first read fixes the moment.
        newest(&connection)?;
        Ok(Box::new(Moment(Mutex::new(connection))))
    }

    async fn copy_to(&self, file: &Path) -> Result<(), BackendError> {
        let (from, to) = (self.file.clone(), file.to_owned());
        in_background(move || copy(&from, &to)).await
    }

    async fn replace_by(&self, copy: &Path) -> Result<(), BackendError> {
        let opened = self.opened()?;
        let copy = copy.to_owned();
        in_background(move || replace(&locked(&opened.writer), &copy)).await
    }

    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError> {
        let opened = self.opened()?;
        in_background(move || apply(&mut locked(&opened.writer), expected, &writes)).await
    }
}

/// Empties the log: what was overwritten in the database still stands in it. If somebody
/// reads at this moment it is left for another time, not waited for.
fn clear_log(connection: &Connection) -> Result<(), BackendError> {
    connection.busy_timeout(Duration::ZERO)?;
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(connection.busy_timeout(BUSY_TIMEOUT)?)
}

/// Runs what waits for the disk on a thread of its own.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| BackendError::Failed("it did not finish".to_owned()))?
}

/// Copies what is committed, while others may write, and sees it onto the disk.
fn copy(from: &Path, to: &Path) -> Result<(), BackendError> {
    let unsaid = |error: std::io::Error| failed(to, &error);
    files::write_new(to, b"").map_err(unsaid)?;
    let copied = || -> Result<(), BackendError> {
        let name = to.to_str().ok_or_else(|| {
            BackendError::Failed(format!("{} is not a name in UTF-8", to.display()))
        })?;
        connect(from)?.execute("VACUUM INTO ?1", [name])?;
        std::fs::File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(unsaid)
    };
    copied().inspect_err(|_| {
        // Half a copy is none.
        let _ = std::fs::remove_file(to);
    })
}

/// Copies every table from `copy` over what there is.
fn replace(connection: &Connection, copy: &Path) -> Result<(), BackendError> {
    let name = copy.to_str().ok_or_else(|| {
        BackendError::Failed(format!("{} is not a name in UTF-8", copy.display()))
    })?;
    connection.execute("ATTACH ?1 AS copy", [name])?;
    let mut script = "BEGIN IMMEDIATE;".to_owned();
    for table in ["documents", "blobs", "journal", "tree"] {
        script.extend([
            format!("DELETE FROM main.{table};"),
            format!("INSERT INTO main.{table} SELECT * FROM copy.{table};"),
        ]);
    }
    script.push_str("COMMIT;");
    let replaced = connection.execute_batch(&script);
    if replaced.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("DETACH copy")?;
    Ok(replaced?)
}

fn blob(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bytes FROM blobs WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()
}

/// A connection within a transaction that only reads.
struct Moment(Mutex<Connection>);

impl Moment {
    fn all<T>(
        &self,
        query: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, BackendError> {
        let connection = locked(&self.0);
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement
            .query_map(parameters, read)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(Vec<u8>, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

#[async_trait]
impl Frozen for Moment {
    async fn counts(&self) -> Result<Counts, BackendError> {
        let query = "SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM documents),
                            (SELECT count(*) FROM blobs), (SELECT count(*) FROM tree)";
        let counts = self.all(query, [], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Counts {
                entries: count(0)?,
                documents: count(1)?,
                blobs: count(2)?,
                nodes: count(3)?,
            })
        })?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }

    async fn strangers(&self) -> Result<Vec<String>, BackendError> {
        self.all(
            "SELECT type || ' ' || name FROM sqlite_schema
             WHERE name NOT IN ('documents', 'blobs', 'journal', 'tree') AND name NOT LIKE 'sqlite_%'",
            [],
            |row| row.get(0),
        )
    }

    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError> {
        Ok(entries(&locked(&self.0), after, limit)?)
    }

    async fn documents(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, SignedRow)>, BackendError> {
        let (kind, name) = after.map_or(("", ""), |key| (key.kind.as_str(), key.name.as_str()));
        self.all(
            "SELECT revision, payload, signature, signer, kind, name FROM documents
             WHERE (kind, name) > (?1, ?2) ORDER BY kind, name LIMIT ?3",
            params![kind, name, rows(limit)],
            |row| {
                let key = DocumentKey::new(row.get::<_, String>(4)?, row.get::<_, String>(5)?);
                Ok((key, signed_row(row)?))
            },
        )
    }

    async fn blobs(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError> {
        self.all(
            "SELECT digest, bytes FROM blobs
             WHERE ?1 IS NULL OR digest > ?1 ORDER BY digest LIMIT ?2",
            params![after, rows(limit)],
            pair,
        )
    }

    async fn nodes(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError> {
        self.all(
            "SELECT path, node FROM tree
             WHERE ?1 IS NULL OR path > ?1 ORDER BY path LIMIT ?2",
            params![after, rows(limit)],
            pair,
        )
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(blob(&locked(&self.0), digest)?)
    }
}
