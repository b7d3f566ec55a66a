//! A SQLite database in one file, for one machine.
//!
//! Several processes may use it concurrently. Readers never wait for a writer (write-ahead
//! log), a commit is durable when it returns (`synchronous=FULL`), and deleted data is
//! overwritten (`secure_delete`).
//!
//! Commits and copies run on a separate thread. Reads take microseconds; on a
//! multi-threaded runtime they run on a thread as well, since they may wait for the disk.
//! [`Backend::state`] makes only `stat` calls and runs on the calling thread.
//!
//! Neither the rows in the file nor its definition are trusted:
//!
//! - The definition must be exactly what the migrations create ([`definition`]). It is
//!   checked when a connection is opened, in each read transaction after the database has
//!   changed, and in each write transaction. No statement runs under another definition.
//! - What is written is read back within the same transaction ([`rows`]).
//! - A copy, and a database restored from a copy, is created by the migrations, and rows
//!   are inserted into it ([`copy`]). No file is copied.
//! - No path is interpreted as a URI or a special name of SQLite ([`connection`]).
//! - Truncating the database file or the log while it is open causes an error, not a
//!   signal. For the shared-memory file see [`shared_memory`].

mod connection;
mod copy;
mod definition;
mod error;
mod read_transaction;
mod rows;
mod shared_memory;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;

pub use connection::Access;
use connection::{Guarded, absolute, failed};
use read_transaction::SqliteReadTransaction;

use crate::backend::{
    Backend, BackendError, FoundDocument, JournalRows, JournalStart, ListRows, ReadTransaction,
    Rows, Writes,
};
use crate::blocking::{off_runtime, on_thread};
use crate::digest::Digest;
use crate::files;
use crate::journal::position::Revision;
use crate::keyring::KeyringNumber;
use crate::row::{DocumentKey, JournalRow};
use crate::statement::Statement;

/// The number of journal entries to read along with documents.
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
    file: PathBuf,
    access: Access,
    /// The device and inode, to detect that the file was replaced.
    identity: (u64, u64),
    /// Counts the files that had this path, so that the states of two files differ.
    generation: u32,
    /// Never writes, so that its `data_version` changes with every commit.
    reader: Guarded,
    /// Opened by the first change: most processes only read.
    writer: OnceLock<Guarded>,
}

impl Sqlite {
    /// Creates the database file (mode 0600) unless it exists, and opens it.
    ///
    /// # Errors
    ///
    /// The same as [`Sqlite::open`].
    pub fn create(file: &Path) -> Result<Self, BackendError> {
        // The log and shared-memory files inherit the mode.
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

    /// Opens an existing database file and applies missing migrations.
    ///
    /// # Errors
    ///
    /// [`BackendError::Tampered`] if its definition is not what the migrations create;
    /// [`BackendError::TooNew`], [`BackendError::Empty`], or any error of the system.
    pub fn open(file: &Path) -> Result<Self, BackendError> {
        Self::open_with(file, Access::Shared)
    }

    /// Opens an existing database file for shared or exclusive access.
    ///
    /// # Errors
    ///
    /// The same as [`Sqlite::open`].
    pub fn open_with(file: &Path, access: Access) -> Result<Self, BackendError> {
        // The process may change its working directory later.
        let file = absolute(file)?;
        Ok(Sqlite {
            opened: Mutex::new(Arc::new(Opened::open(&file, access, 0)?)),
            file,
            access,
        })
    }

    /// Creates a database in the new file `file` from the rows of `copy`. The copy is opened
    /// read-only; no process may write to it concurrently.
    ///
    /// # Errors
    ///
    /// The same as [`Sqlite::open`] for the copy; [`BackendError::Tampered`] also if its rows
    /// violate the constraints of the tables. Then no new file is left.
    pub fn import(copy: &Path, file: &Path) -> Result<Self, BackendError> {
        files::write_new(file, b"").map_err(|error| failed(file, &error))?;
        let import = || -> Result<Self, BackendError> {
            let database = Guarded::open(file, Access::Shared, true)?;
            copy::fill(&database, copy)?;
            drop(database);
            Self::open(file)
        };
        import().inspect_err(|_| {
            let _ = std::fs::remove_file(file);
        })
    }

    /// Returns connections to the file that has the path now.
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
        Ok(Opened {
            identity: identity(file)?,
            generation,
            reader: Guarded::open_for_reading(file, access)?,
            writer: OnceLock::new(),
            file: file.to_owned(),
            access,
        })
    }

    /// The connection that writes.
    fn writer(&self) -> Result<&Guarded, BackendError> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let writer = Guarded::open(&self.file, self.access, false)?;
        if identity(&self.file)? != self.identity {
            return Err(BackendError::Failed(format!(
                "{} was replaced by another file during a change; try again",
                self.file.display()
            )));
        }
        Ok(self.writer.get_or_init(|| writer))
    }

    /// Combines the state of a connection with the generation of the file.
    fn state_of(&self, state: i64) -> u64 {
        let state = state.cast_unsigned() & u64::from(u32::MAX);
        u64::from(self.generation) << 32 | state
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device and inode of a file.
fn identity(file: &Path) -> Result<(u64, u64), BackendError> {
    let found = rustix::fs::stat(file).map_err(|error| failed(file, &error.into()))?;
    Ok((found.st_dev, found.st_ino))
}

/// Reads the journal from there on.
fn journal_from(connection: &Connection, from: JournalStart) -> Result<JournalRows, BackendError> {
    Ok(JournalRows {
        newest: rows::newest(connection)?,
        entries: rows::entries(connection, from.revision.saturating_sub(1), ENTRIES)?,
        keyrings: rows::keyrings(connection, from.keyring)?,
        heartbeat: rows::heartbeat(connection)?,
    })
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
        from: JournalStart,
        known: Option<u64>,
    ) -> Result<Rows, BackendError> {
        let opened = self.opened()?;
        let keys = keys.to_vec();
        off_runtime(move || {
            let reader = opened.reader.lock()?;
            reader.read(|connection, state| {
                let state = opened.state_of(state);
                let journal = if known == Some(state) {
                    None
                } else {
                    Some(journal_from(connection, from)?)
                };
                let found = |key: &DocumentKey| -> rusqlite::Result<FoundDocument> {
                    Ok(FoundDocument {
                        bytes: rows::document(connection, key)?,
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
        })
        .await?
    }

    async fn read_list(&self, prefix: &[u8], from: JournalStart) -> Result<ListRows, BackendError> {
        let (opened, prefix) = (self.opened()?, prefix.to_vec());
        off_runtime(move || {
            let reader = opened.reader.lock()?;
            reader.read(|connection, state| {
                Ok(ListRows {
                    state: opened.state_of(state),
                    journal: journal_from(connection, from)?,
                    nodes: rows::nodes_around(connection, &prefix)?,
                })
            })
        })
        .await?
    }

    async fn keyrings(&self, after: KeyringNumber) -> Result<Vec<Statement>, BackendError> {
        let opened = self.opened()?;
        off_runtime(move || {
            let reader = opened.reader.lock()?;
            reader.read(|connection, _| rows::keyrings(connection, after))
        })
        .await?
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BackendError> {
        let (opened, digest) = (self.opened()?, *digest);
        off_runtime(move || {
            let reader = opened.reader.lock()?;
            reader.read(|connection, _| Ok(rows::blob(connection, &digest)?))
        })
        .await?
    }

    async fn journal(
        &self,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<JournalRow>, BackendError> {
        let opened = self.opened()?;
        off_runtime(move || {
            let reader = opened.reader.lock()?;
            reader.read(|connection, _| rows::entries(connection, after, limit))
        })
        .await?
    }

    async fn begin_read(&self) -> Result<Box<dyn ReadTransaction>, BackendError> {
        let (file, access) = (self.file.clone(), self.access);
        let begun = off_runtime(move || {
            SqliteReadTransaction::begin(Guarded::open_for_reading(&file, access)?)
        });
        Ok(Box::new(begun.await??))
    }

    async fn copy_to(&self, file: &Path) -> Result<Box<dyn ReadTransaction>, BackendError> {
        let (from, access, to) = (self.file.clone(), self.access, file.to_owned());
        let copy = on_thread(move || copy::write(&from, access, &to)).await??;
        Ok(Box::new(copy))
    }

    async fn replace_by(&self, copy: &Path) -> Result<(), BackendError> {
        let (opened, copy) = (self.opened()?, copy.to_owned());
        on_thread(move || copy::replace(opened.writer()?, &copy)).await?
    }

    async fn put_heartbeat(&self, heartbeat: Statement) -> Result<(), BackendError> {
        let opened = self.opened()?;
        on_thread(move || {
            let writer = opened.writer()?.lock()?;
            writer.write(|connection| rows::put_heartbeat(connection, &heartbeat))
        })
        .await?
    }

    async fn commit(&self, expected: Revision, writes: Writes) -> Result<(), BackendError> {
        let opened = self.opened()?;
        on_thread(move || {
            let writer = opened.writer()?.lock()?;
            writer.write(|connection| rows::write(connection, expected, &writes))?;
            if writes.remove_blobs.is_empty() && writes.remove.is_empty() {
                return Ok(());
            }
            writer.clear_log()
        })
        .await?
    }
}
