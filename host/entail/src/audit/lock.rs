//! The lock that the processes of a home take on a file of the log while they change it.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attempts to take the lock before sleeping: a record takes microseconds.
const SPINS: u32 = 50;

/// The pause between later attempts.
const PAUSE: Duration = Duration::from_micros(200);

/// Locks out other writers until it is dropped.
pub(super) struct LogLock(Arc<File>);

impl LogLock {
    /// Takes the lock; `None` if another process has it for longer than a record takes.
    pub(super) fn try_take(file: &Arc<File>) -> std::io::Result<Option<Self>> {
        for _ in 0..SPINS {
            match file.try_lock() {
                Ok(()) => return Ok(Some(LogLock(Arc::clone(file)))),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes the lock.
    ///
    /// # Errors
    ///
    /// Fails if another process has it for longer than `within`.
    pub(super) fn take(file: &Arc<File>, within: Duration) -> std::io::Result<Self> {
        let end = Instant::now() + within;
        loop {
            if let Some(lock) = Self::try_take(file)? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "another process holds the lock of the log; it may be suspended",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for LogLock {
    fn drop(&mut self) {
        // The lock also ends when the file is closed.
        let _ = self.0.unlock();
    }
}
