//! When a process verified its home last.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a process verifies: this opens all secrets and reads the whole log.
const VERIFY_EVERY: Duration = Duration::from_hours(24);

/// When this process verified last.
#[derive(Debug, Default)]
pub(crate) struct LastVerified(Mutex<Option<Instant>>);

impl LastVerified {
    /// Whether verification is due. If so, the caller must verify: the time is set to now.
    pub(super) fn take_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= VERIFY_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}
