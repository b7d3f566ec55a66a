//! A database in one file, for one machine: SQLite.
//!
//! Several processes may use it at once. Readers never wait for a writer
//! (write-ahead log); a commit is on disk when it is acknowledged
//! (`synchronous=FULL`), and what is removed is overwritten (`secure_delete`).
//!
//! Reads run on the caller's thread: they take microseconds. Commits wait for
//! the disk and run on a thread of their own.
//!
//! Nothing in the file is trusted, neither the rows nor what the tables that they are in
//! mean:
//!
//! - The definition is exactly what the migrations make ([`definition`]). It is checked
//!   when a connection is opened, in each transaction that reads after the database has
//!   changed, and in each that writes; no statement runs under another.
//! - What is written is read back within the transaction that writes it; an insert that
//!   did not insert is an error ([`rows`]).
//! - A copy, and a database out of a copy, is made by inserting rows into what the
//!   migrations make ([`copy`]). No file is taken over.
//! - No name is a URI, or one of the names that SQLite keeps for itself
//!   ([`connection`]).
//! - A database file or a log that is cut short while it is open is an error, not a
//!   signal; of the shared-memory file see [`shared_memory`].

mod connection;
mod copy;
mod definition;
mod rows;
mod shared_memory;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::{ErrorCode, Params, Row, params};

pub use connection::Access;
use connection::{Checked, Guarded, absolute, failed};
use rows::{at_most, check_order, signed_row};

use crate::Revision;
use crate::backend::{
    Backend, BackendError, BlobRow, Counts, FoundDocument, Frozen, JournalRows, Rows, SignedRow,
    Writes,
};
use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::Tampering;
use crate::files;

/// Journal entries read at a time along with documents.
const ENTRIES: usize = 64;

/// A SQLite database.
#[derive(Debug)]
pub struct Sqlite {
    file: PathBuf,
    access: Access,
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
    reader: Guarded,
    writer: Guarded,
}

impl Sqlite {
    /// Makes the database file (mode 0600), unless it is there, and opens it.
    ///
    /// # Errors
    ///
    /// As [`Sqlite::open`].
    pub fn create(file: &Path) -> Result<Self, BackendError> {
        // The log and shared-memory files take over the mode.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(file)
            .map_err(|error| failed(file, &error))?;
        drop(Guarded::open(file, Access::Shared, true)?);
        Self::open(file)
    }

    /// Opens the database file, which must be there, and brings its schema up to
    /// date.
    ///
    /// # Errors
    ///
    /// [`BackendError::Tampered`] if its definition is another than the migrations make,
    /// [`BackendError::TooNew`], [`BackendError::Empty`], or whatever the system says.
    pub fn open(file: &Path) -> Result<Self, BackendError> {
        Self::open_with(file, Access::Shared)
    }

    /// The same, with or without other processes at the same time.
    ///
    /// # Errors
    ///
    /// As [`Sqlite::open`].
    pub fn open_with(file: &Path, access: Access) -> Result<Self, BackendError> {
        // Wherever the process goes later.
        let file = absolute(file)?;
        Ok(Sqlite {
            opened: Mutex::new(Arc::new(Opened::open(&file, access, 0)?)),
            file,
            access,
        })
    }

    /// Makes a database in the new file `file` out of the rows of `copy`, which is only
    /// read, and must be a file that nobody writes meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Sqlite::open`], of the copy; [`BackendError::Tampered`] also if its rows are
    /// none that a store's database can have. Then there is no new file.
    pub fn import(copy: &Path, file: &Path) -> Result<Self, BackendError> {
        files::write_new(file, b"").map_err(|error| failed(file, &error))?;
        let made = || -> Result<Self, BackendError> {
            let database = Guarded::open(file, Access::Shared, true)?;
            copy::fill(&database, copy)?;
            drop(database);
            Self::open(file)
        };
        made().inspect_err(|_| {
            let _ = std::fs::remove_file(file);
        })
    }

    /// The connections to the file that has the name now.
    fn opened(&self) -> Result<Arc<Opened>, BackendError> {
        let mut opened = locked(&self.opened);
        if identity(&self.file)? != opened.identity {
            let generation = opened.generation + 1;
            *opened = Arc::new(Opened::open(&self.file, self.access, generation)?);
        }
        Ok(Arc::clone(&opened))
    }
}

impl Opened {
    fn open(file: &Path, access: Access, generation: u32) -> Result<Self, BackendError> {
        let identity = identity(file)?;
        let writer = Guarded::open(file, access, false)?;
        Ok(Opened {
            identity,
            generation,
            reader: Guarded::open_for_reading(file, access)?,
            writer,
        })
    }

    /// A number that differs after each change of the database, and of the file.
    fn state_of(&self, state: i64) -> u64 {
        let state = state.cast_unsigned() & u64::from(u32::MAX);
        u64::from(self.generation) << 32 | state
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which file has the name.
fn identity(file: &Path) -> Result<(u64, u64), BackendError> {
    let found = rustix::fs::stat(file).map_err(|error| failed(file, &error.into()))?;
    Ok((found.st_dev, found.st_ino))
}

impl From<rusqlite::Error> for BackendError {
    /// What SQLite cannot make sense of, or not as what it should be, is not what was
    /// written.
    fn from(error: rusqlite::Error) -> Self {
        let damaged = match &error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => true,
            error => error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt),
        };
        if damaged {
            return rows::damage(&error.to_string()).into();
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BackendError::Busy,
            _ => BackendError::Failed(error.to_string()),
        }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn state(&self) -> Result<u64, BackendError> {
        let opened = self.opened()?;
        let reader = opened.reader.lock()?;
        Ok(opened.state_of(reader.state()?))
    }

    async fn read(
        &self,
        keys: &[DocumentKey],
        from: Revision,
        known: Option<u64>,
    ) -> Result<Rows, BackendError> {
        let opened = self.opened()?;
        let reader = opened.reader.lock()?;
        reader.read(|connection, state| {
            let state = opened.state_of(state);
            let journal = match known == Some(state) {
                true => None,
                false => Some(JournalRows {
                    newest: rows::newest(connection)?,
                    entries: rows::entries(connection, from.saturating_sub(1), ENTRIES)?,
                }),
            };
            let found = |key: &DocumentKey| -> rusqlite::Result<FoundDocument> {
                Ok(FoundDocument {
                    row: rows::document(connection, key)?,
                    nodes: rows::nodes_above(connection, key)?,
                })
            };
            let documents = keys.iter().map(found).collect::<Result<_, _>>()?;
            Ok(Rows {
                state,
                journal,
                documents,
            })
        })
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        let opened = self.opened()?;
        let reader = opened.reader.lock()?;
        reader.read(|connection, _| Ok(rows::blob(connection, digest)?))
    }

    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError> {
        let opened = self.opened()?;
        let reader = opened.reader.lock()?;
        reader.read(|connection, _| rows::entries(connection, after, limit))
    }

    async fn freeze(&self) -> Result<Box<dyn Frozen>, BackendError> {
        let connection = Guarded::open_for_reading(&self.file, self.access)?;
        Ok(Box::new(ReadTransaction::begin(connection)?))
    }

    async fn copy_to(&self, file: &Path) -> Result<Box<dyn Frozen>, BackendError> {
        let (from, access, to) = (self.file.clone(), self.access, file.to_owned());
        let copy = in_background(move || copy::write(&from, access, &to)).await?;
        Ok(Box::new(copy))
    }

    async fn replace_by(&self, copy: &Path) -> Result<(), BackendError> {
        let opened = self.opened()?;
        let copy = copy.to_owned();
        in_background(move || copy::replace(&opened.writer, &copy)).await
    }

    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError> {
        let opened = self.opened()?;
        in_background(move || {
            let writer = opened.writer.lock()?;
            writer.write(|connection| rows::write(connection, expected, &writes))?;
            match writes.remove_blobs.is_empty() {
                true => Ok(()),
                false => writer.clear_log(),
            }
        })
        .await
    }
}

/// Runs what waits for the disk on a thread of its own.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    let (done, result) = tokio::sync::oneshot::channel();
    // Tokio's own threads for this end the program when there is none to be had.
    std::thread::Builder::new()
        .name("entail-store".to_owned())
        .spawn(move || {
            // Whoever asked may have gone.
            let _ = done.send(work());
        })
        .map_err(|error| {
            BackendError::Failed(format!("a thread to write from did not start: {error}"))
        })?;
    result
        .await
        .map_err(|_| BackendError::Failed("it did not finish".to_owned()))?
}

/// A connection within a transaction that only reads.
struct ReadTransaction(Guarded);

impl ReadTransaction {
    fn begin(connection: Guarded) -> Result<Self, BackendError> {
        connection.lock()?.begin()?;
        Ok(ReadTransaction(connection))
    }

    fn lock(&self) -> Result<MutexGuard<'_, Checked>, BackendError> {
        self.0.lock()
    }

    fn all<T>(
        &self,
        query: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, BackendError> {
        let checked = self.lock()?;
        let mut statement = checked.begun().prepare_cached(query)?;
        let rows = statement
            .query_map(parameters, read)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

/// The kind and the name that a page of documents comes after.
fn place(after: Option<&DocumentKey>) -> (&str, &str) {
    after.map_or(("", ""), |key| (key.kind.as_str(), key.name.as_str()))
}

#[async_trait]
impl Frozen for ReadTransaction {
    async fn counts(&self) -> Result<Counts, BackendError> {
        Ok(rows::counts(self.lock()?.begun())?)
    }

    async fn damages(&self) -> Result<Vec<Tampering>, BackendError> {
        rows::damages(self.lock()?.begun())
    }

    async fn journal(&self, after: Revision, limit: usize) -> Result<Vec<SignedRow>, BackendError> {
        Ok(rows::entries(self.lock()?.begun(), after, limit)?)
    }

    async fn names(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<DocumentKey>, BackendError> {
        let (kind, name) = place(after);
        let names = self.all(
            "SELECT kind, name FROM documents
             WHERE (kind, name) > (?1, ?2) ORDER BY kind, name LIMIT ?3",
            params![kind, name, at_most(limit)],
            |row| {
                Ok(DocumentKey::new(
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                ))
            },
        )?;
        check_order("documents", after, &names)?;
        Ok(names)
    }

    async fn documents(
        &self,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, SignedRow)>, BackendError> {
        let (kind, name) = place(after);
        let documents = self.all(
            "SELECT revision, payload, signature, signer, kind, name FROM documents
             WHERE (kind, name) > (?1, ?2) ORDER BY kind, name LIMIT ?3",
            params![kind, name, at_most(limit)],
            |row| {
                let key = DocumentKey::new(row.get::<_, String>(4)?, row.get::<_, String>(5)?);
                Ok((key, signed_row(row)?))
            },
        )?;
        check_order("documents", after, documents.iter().map(|(key, _)| key))?;
        Ok(documents)
    }

    async fn blobs(&self, after: Option<i64>, limit: usize) -> Result<Vec<BlobRow>, BackendError> {
        let query = match after {
            None => {
                "SELECT rowid, digest, bytes FROM blobs NOT INDEXED
                 WHERE rowid >= ?1 ORDER BY rowid LIMIT ?2"
            }
            Some(_) => {
                "SELECT rowid, digest, bytes FROM blobs NOT INDEXED
                 WHERE rowid > ?1 ORDER BY rowid LIMIT ?2"
            }
        };
        let from = after.unwrap_or(i64::MIN);
        let blobs = self.all(query, params![from, at_most(limit)], |row| {
            Ok(BlobRow {
                place: row.get(0)?,
                name: row.get(1)?,
                bytes: row.get(2)?,
            })
        })?;
        check_order("blobs", after, blobs.iter().map(|blob| blob.place))?;
        Ok(blobs)
    }

    async fn nodes(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, BackendError> {
        // The root has the empty path, which comes first.
        let query = match after {
            None => "SELECT path, node FROM tree WHERE path >= ?1 ORDER BY path LIMIT ?2",
            Some(_) => "SELECT path, node FROM tree WHERE path > ?1 ORDER BY path LIMIT ?2",
        };
        let from = after.unwrap_or_default();
        let nodes: Vec<(Vec<u8>, Vec<u8>)> =
            self.all(query, params![from, at_most(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        check_order("tree", after, nodes.iter().map(|(path, _)| path.as_slice()))?;
        Ok(nodes)
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(rows::blob(self.lock()?.begun(), digest)?)
    }
}
