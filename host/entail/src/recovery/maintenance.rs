//! The regular maintenance of a home while a service runs.

use std::time::Duration;

use crate::audit::LogReport;
use crate::blocking::run_on_thread;
use crate::error::Error;
use crate::logs::verify_log;
use crate::principal::Principal;
use crate::recovery::handle::Maintenance;
use crate::recovery::verify::Verification;

/// How often to call [`Maintenance::run`]. A retired secret is destroyed at most this long
/// after its time; a call that finds nothing to do costs one read.
pub const MAINTAIN_EVERY: Duration = Duration::from_hours(1);

/// How long to wait for shadow policies.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// What a call of [`Maintenance::run`] did. Each part runs even if another fails.
#[derive(Debug)]
pub struct MaintenanceReport {
    /// In how many scopes retired secrets were destroyed. None on a machine that cannot write:
    /// another machine destroys them.
    pub destroyed: Result<usize, Error>,
    /// The result of verifying the store; `None` if that was done less than a day ago.
    pub store: Option<Result<Verification, Error>>,
    /// The result of verifying the decision log; `None` if that was done less than a day
    /// ago.
    pub log: Option<Result<LogReport, Error>>,
}

impl MaintenanceReport {
    /// Whether every part succeeded and found nothing wrong.
    pub fn is_ok(&self) -> bool {
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

impl Maintenance<'_> {
    /// Does the regular maintenance of a service. Call it when the service starts, and then
    /// every [`MAINTAIN_EVERY`]:
    ///
    /// - destroys the retired secrets that are due ([`Maintenance::destroy_due`]);
    /// - waits for shadow policies, for a second at most;
    /// - once a day, verifies the store ([`Maintenance::verify`]) and the decision log
    ///   ([`verify_log`]).
    ///
    /// Verification runs on separate threads. One process per machine is enough.
    ///
    /// `principal` needs the right to change every scope and to administer.
    ///
    /// ```no_run
    /// # async fn service(entail: std::sync::Arc<entail::Entail>, me: entail::Principal) {
    /// loop {
    ///     let done = entail.maintenance().run(&me).await;
    ///     if !done.is_ok() {
    ///         eprintln!("entail: {done:?}");
    ///     }
    ///     tokio::time::sleep(entail::MAINTAIN_EVERY).await;
    /// }
    /// # }
    /// ```
    pub async fn run(self, principal: &Principal) -> MaintenanceReport {
        let destroyed = match self.destroy_due(principal).await {
            // A machine without a signer leaves this to others.
            Err(Error::Keys(_)) => Ok(0),
            other => other,
        };
        self.entail.policies().settle_shadows(SETTLE_WITHIN).await;
        let (store, log) = if self.entail.last_verified.take_due() {
            let store = self.verify(principal, &mut |_| {}).await;
            (Some(store), Some(self.verify_log(principal).await))
        } else {
            (None, None)
        };
        MaintenanceReport {
            destroyed,
            store,
            log,
        }
    }

    /// Verifies the decision log, also against its ends in the journal.
    async fn verify_log(self, principal: &Principal) -> Result<LogReport, Error> {
        let heads = self.entail.journalled_log_heads(principal).await?;
        let (home, principal) = (self.entail.home().clone(), principal.clone());
        run_on_thread("entail-verify-log", move || {
            verify_log(&home, &principal, &heads)
        })
        .await?
    }
}
