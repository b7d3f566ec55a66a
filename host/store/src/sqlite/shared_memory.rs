//! The file through which processes share the index of the write-ahead log.
//!
//! SQLite maps it (`…-shm`), and whoever touches a mapped page that the file no longer
//! has is killed by SIGBUS. Whoever may write the file can cut it short: the owner, and
//! nobody else. No lock, lease, mode or seal of Linux keeps a process of the same user
//! from it, and a database that several processes use in turn cannot do without the
//! file. So:
//!
//! - A process that uses the database alone ([`Access::Exclusive`](super::Access)) has
//!   the index on its heap, and no such file.
//! - Where it is shared, its length is looked at before every use. If it was cut short,
//!   removed or replaced since, its pages are not touched again: each use is an error,
//!   until the file has its length back, as it has once another process has opened the
//!   database. The connections are then not closed either, since that touches them too.
//!
//! What is left is the moment between that look and the end of the use: a file that is
//! cut just then still kills the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::BackendError;

/// What the name of the file ends with.
const SUFFIX: &str = "-shm";

/// The files that this process has mapped. SQLite maps each once for all connections.
static MAPPED: Mutex<BTreeMap<Identity, Mapped>> = Mutex::new(BTreeMap::new());

/// Device and inode.
type Identity = (u64, u64);

#[derive(Debug, Default)]
struct Mapped {
    /// How many connections use it.
    users: usize,
    /// The longest that it was seen to be; it never gets shorter while it is in use.
    length: u64,
}

/// The file as one connection uses it.
#[derive(Debug)]
pub(super) struct SharedMemory {
    file: PathBuf,
    identity: Identity,
}

/// The name of the file that belongs to a database.
fn file_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}

fn mapped() -> MutexGuard<'static, BTreeMap<Identity, Mapped>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(file: &Path) -> std::io::Result<(Identity, u64)> {
    let found = rustix::fs::lstat(file)?;
    let length = u64::try_from(found.st_size).unwrap_or_default();
    Ok(((found.st_dev, found.st_ino), length))
}

/// Refuses to open a database whose file this process has mapped longer than it is.
pub(super) fn check_before_opening(database: &Path) -> Result<(), BackendError> {
    let file = file_of(database);
    let Ok((identity, length)) = look(&file) else {
        return Ok(());
    };
    match mapped().get(&identity) {
        Some(mapped) if length < mapped.length => Err(cut(&file)),
        _ => Ok(()),
    }
}

impl SharedMemory {
    /// The file that a connection uses that has just been opened; `None` if it uses none.
    pub(super) fn of(database: &Path) -> Option<Self> {
        let file = file_of(database);
        let (identity, length) = look(&file).ok()?;
        let mut all = mapped();
        let mapped = all.entry(identity).or_default();
        mapped.users += 1;
        mapped.length = mapped.length.max(length);
        Some(SharedMemory { file, identity })
    }

    /// Refuses a file that is no longer what is mapped.
    pub(super) fn check(&self) -> Result<(), BackendError> {
        match look(&self.file) {
            Ok((identity, length)) if identity == self.identity => {
                let mut all = mapped();
                let mapped = all.entry(identity).or_default();
                if length < mapped.length {
                    return Err(cut(&self.file));
                }
                mapped.length = length;
                Ok(())
            }
            _ => Err(cut(&self.file)),
        }
    }
}

impl Drop for SharedMemory {
    /// Before the connection is closed: afterwards the number of the file may be
    /// another's.
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

fn cut(file: &Path) -> BackendError {
    BackendError::Failed(format!(
        "{} was cut short, removed or replaced by another program while it was in use; \
         start this one again",
        file.display()
    ))
}
