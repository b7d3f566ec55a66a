//! The queue of one policy: bounds its concurrent and its waiting calls, and measures how
//! long they take.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::CallError;
use crate::isolation::Isolation;

/// A policy with an average above this is slow: two hundred times what the built-in one
/// takes, and a fifth of a tick of the clock that stops calls.
const SLOW: Duration = Duration::from_millis(2);

/// The weight of one call in the moving average is one in this many: a single slow call,
/// such as one that waited for a busy processor, does not make a policy slow.
const AVERAGE_CALLS: u64 = 16;

/// What a call that met its deadline sets the average to. More than a hundred fast calls
/// must follow before the policy is fast again.
const STUCK: Duration = Duration::from_secs(10);

/// The most waiting calls of one policy.
const MAX_WAITING: usize = 512;

/// The most waiting calls of a slow policy, which would wait long.
const MAX_WAITING_SLOW: usize = 16;

/// The queue of one policy.
pub(crate) struct CallQueue {
    isolation: Isolation,
    permits: OnceLock<Arc<Semaphore>>,
    waiting: AtomicUsize,
    average_ns: AtomicU64,
}

/// Counts a call as waiting until it is dropped.
pub(crate) struct Waiting<'a>(&'a CallQueue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CallQueue {
    pub(crate) fn new(isolation: Isolation) -> Self {
        CallQueue {
            isolation,
            permits: OnceLock::new(),
            waiting: AtomicUsize::new(0),
            average_ns: AtomicU64::new(0),
        }
    }

    /// Enters the queue. Fails if too many calls of the policy are in it.
    pub(crate) fn enter(&self) -> Result<Waiting<'_>, CallError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        let max = if self.is_slow() {
            MAX_WAITING_SLOW
        } else {
            MAX_WAITING
        };
        if before < max {
            Ok(waiting)
        } else {
            Err(CallError::Busy)
        }
    }

    /// Waits until the policy may run one more call: at most `concurrent` at a time, or one
    /// if all calls share an instance.
    pub(crate) async fn acquire(
        &self,
        concurrent: usize,
    ) -> Result<OwnedSemaphorePermit, CallError> {
        let permits = match self.isolation {
            Isolation::PerCall => concurrent,
            Isolation::PerOrganization => 1,
        };
        let semaphore = self
            .permits
            .get_or_init(|| Arc::new(Semaphore::new(permits)));
        let acquired = Arc::clone(semaphore).acquire_owned().await;
        acquired.map_err(|_| CallError::Busy)
    }

    /// Whether the policy is slow.
    pub(crate) fn is_slow(&self) -> bool {
        u128::from(self.average_ns.load(Ordering::Relaxed)) > SLOW.as_nanos()
    }

    /// Updates the average with the time of a call.
    pub(crate) fn record<T>(&self, time: Duration, result: &Result<T, CallError>) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let average = match result {
            Err(error) if error.is_deadline() => nanoseconds(STUCK),
            _ => {
                let before = self.average_ns.load(Ordering::Relaxed);
                (before / AVERAGE_CALLS * (AVERAGE_CALLS - 1))
                    .saturating_add(nanoseconds(time) / AVERAGE_CALLS)
            }
        };
        // Two concurrent updates may lose one of the times, which an average tolerates.
        self.average_ns.store(average, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::limits::Exceeded;

    #[test]
    fn a_policy_that_misses_its_deadline_is_slow_until_it_was_fast_for_long() {
        let queue = CallQueue::new(Isolation::PerCall);
        let fast = || queue.record(Duration::from_micros(10), &Ok(()));
        fast();
        assert!(!queue.is_slow());
        let missed = CallError::Exceeded(Exceeded::DeadlineMs(100));
        queue.record::<()>(Duration::from_millis(100), &Err(missed));
        assert!(queue.is_slow());
        for _ in 0..100 {
            fast();
        }
        assert!(queue.is_slow());
        for _ in 0..100 {
            fast();
        }
        assert!(!queue.is_slow());
    }

    #[test]
    fn a_slow_policy_has_a_shorter_queue() {
        let queue = CallQueue::new(Isolation::PerCall);
        queue.record(Duration::from_secs(1), &Ok(()));
        let waiting: Vec<_> = (0..MAX_WAITING_SLOW)
            .map(|_| queue.enter().unwrap())
            .collect();
        assert!(matches!(queue.enter(), Err(CallError::Busy)));
        drop(waiting);
        assert!(queue.enter().is_ok());
    }
}
