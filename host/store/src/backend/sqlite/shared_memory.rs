//! The file (`…-shm`) through which processes share the index of the write-ahead log.
//!
//! SQLite maps it into memory. A process that accesses a mapped page that is no longer in
//! the file is killed by SIGBUS. Any process of the owner can truncate the file, and Linux
//! offers no lock, lease, mode or seal against that. A database that several processes use
//! cannot do without the file. Therefore:
//!
//! - A process that uses the database exclusively ([`Access::Exclusive`](super::Access))
//!   keeps the index on its heap and has no such file.
//! - A process that shares the database checks the file's length before every use. If the
//!   file was truncated, removed or replaced, its pages are not accessed again: every use
//!   is an error until the file has its length back, which happens when another process
//!   opens the database. Until then connections are not closed either, since closing
//!   accesses the pages.
//!
//! A file that is truncated between the check and the end of the use still kills the
//! process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::BackendError;

/// The suffix of the file's name.
const SUFFIX: &str = "-shm";

/// The files that this process has mapped. SQLite maps each file once for all connections.
static MAPPED: Mutex<BTreeMap<Identity, Mapped>> = Mutex::new(BTreeMap::new());

/// Device and inode.
type Identity = (u64, u64);

#[derive(Debug, Default)]
struct Mapped {
    /// The number of connections that use it.
    users: usize,
    /// The largest length seen; the file never shrinks while it is in use.
    length: u64,
}

/// The use of the file by one connection.
#[derive(Debug)]
pub(super) struct SharedMemory {
    file: PathBuf,
    identity: Identity,
}

/// The path of the file of a database.
fn file_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}

fn mapped() -> MutexGuard<'static, BTreeMap<Identity, Mapped>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identify(file: &Path) -> std::io::Result<(Identity, u64)> {
    let found = rustix::fs::lstat(file)?;
    let length = u64::try_from(found.st_size).unwrap_or_default();
    Ok(((found.st_dev, found.st_ino), length))
}

/// Fails if this process has mapped more of the file than it contains now.
pub(super) fn check_before_opening(database: &Path) -> Result<(), BackendError> {
    let file = file_of(database);
    let Ok((identity, length)) = identify(&file) else {
        return Ok(());
    };
    match mapped().get(&identity) {
        Some(mapped) if length < mapped.length => Err(truncated(&file)),
        _ => Ok(()),
    }
}

impl SharedMemory {
    /// Registers the use by a connection that was just opened; `None` if it does not use a
    /// file.
    pub(super) fn of(database: &Path) -> Option<Self> {
        let file = file_of(database);
        let (identity, length) = identify(&file).ok()?;
        let mut all = mapped();
        let mapped = all.entry(identity).or_default();
        mapped.users += 1;
        mapped.length = mapped.length.max(length);
        Some(SharedMemory { file, identity })
    }

    /// Fails if the file is no longer the mapped one.
    pub(super) fn check(&self) -> Result<(), BackendError> {
        match identify(&self.file) {
            Ok((identity, length)) if identity == self.identity => {
                let mut all = mapped();
                let mapped = all.entry(identity).or_default();
                if length < mapped.length {
                    return Err(truncated(&self.file));
                }
                mapped.length = length;
                Ok(())
            }
            _ => Err(truncated(&self.file)),
        }
    }
}

impl Drop for SharedMemory {
    /// Must run before the connection is closed: afterwards the inode may be reused.
    fn drop(&mut self) {
        let mut all = mapped();
        if let Some(mapped) = all.get_mut(&self.identity) {
            mapped.users = mapped.users.saturating_sub(1);
            if mapped.users == 0 {
                all.remove(&self.identity);
            }
        }
    }
}

fn truncated(file: &Path) -> BackendError {
    BackendError::Failed(format!(
        "{} was truncated, removed or replaced by another program while it was in use; \
         restart this program",
        file.display()
    ))
}
