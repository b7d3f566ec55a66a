//! Housekeeping: what has to be done now and then for as long as a service runs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::{self, LogReport};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::Principal;
use crate::recovery::verify::Verification;

/// How often [`Entail::maintain`] is to be called: a retired secret outlives its time by
/// no more than that, and a call that finds nothing to do costs one read.
pub const MAINTAIN_EVERY: Duration = Duration::from_hours(1);

/// How often it verifies: all secrets are opened, and the whole log is read.
const VERIFY_EVERY: Duration = Duration::from_hours(24);

/// How long shadow policies are waited for.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// When this process verified last.
#[derive(Debug, Default)]
pub(crate) struct LastVerified(Mutex<Option<Instant>>);

impl LastVerified {
    /// Whether it is time to verify again; the caller does then.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= VERIFY_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// What a call of [`Entail::maintain`] did and found. One thing that fails keeps nothing
/// else from being done.
#[derive(Debug)]
pub struct Maintenance {
    /// How many scopes had retired secrets that are destroyed now. On a node that cannot
    /// write, none: another one destroys them.
    pub destroyed: Result<usize, Error>,
    /// What verifying the store found; `None` if that was done less than a day ago.
    pub store: Option<Result<Verification, Error>>,
    /// What verifying the decision log found; `None` if that was done less than a day ago.
    pub log: Option<Result<LogReport, Error>>,
}

impl Maintenance {
    /// Whether everything was done, and nothing is wrong: else a person has to look.
    pub fn is_well(&self) -> bool {
        let store = |found: &Verification| found.faults.is_empty() && found.overdue.is_empty();
        let log = |found: &LogReport| found.breaches.is_empty();
        self.destroyed.is_ok()
            && self
                .store
                .as_ref()
                .is_none_or(|found| found.as_ref().is_ok_and(store))
            && self
                .log
                .as_ref()
                .is_none_or(|found| found.as_ref().is_ok_and(log))
    }
}

impl Entail {
    /// Does what a service has to do now and then; call it every [`MAINTAIN_EVERY`], and
    /// once when the service starts:
    ///
    /// - destroys the retired secrets that are due ([`Entail::destroy_due`]);
    /// - waits for shadow policies that are behind, for a second at most;
    /// - once a day, verifies the store ([`Entail::verify`]) and the decision log
    ///   ([`verify_log`](crate::verify_log)).
    ///
    /// It reads from the disk on the caller's thread, for a while when it verifies: give it
    /// a task of its own. One call at a time is enough, of one process on each node.
    ///
    /// `principal` has to have the right to change every scope and to administer.
    ///
    /// ```no_run
    /// # async fn service(entail: std::sync::Arc<entail::Entail>, me: entail::Principal) {
    /// loop {
    ///     let done = entail.maintain(&me).await;
    ///     if !done.is_well() {
    ///         eprintln!("entail: {done:?}");
    ///     }
    ///     tokio::time::sleep(entail::MAINTAIN_EVERY).await;
    /// }
    /// # }
    /// ```
    pub async fn maintain(&self, principal: &Principal) -> Maintenance {
        let destroyed = match self.destroy_due(principal).await {
            // One who can change nothing leaves it to others.
            Err(Error::Keys(_)) => Ok(0),
            other => other,
        };
        self.settle_shadows(SETTLE_WITHIN).await;
        let (store, log) = match self.last_verified.is_due() {
            true => (
                Some(self.verify(principal, &mut |_| {}).await),
                Some(audit::verify(self.home())),
            ),
            false => (None, None),
        };
        Maintenance {
            destroyed,
            store,
            log,
        }
    }
}
