//! Commits a change.

use std::time::{Duration, Instant};

use entail_store::Revision;

use crate::authorize::authorize;
use crate::change::{Applied, Change};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::sleep::sleep;

/// How long a change is tried again when other writers are faster. Each lost try means
/// that another change succeeded; a commit takes milliseconds.
const RETRY_WITHIN: Duration = Duration::from_secs(15);

/// The longest pause before the next try.
const MAX_PAUSE_MS: u16 = 50;

impl Entail {
    /// Applies a change.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or a more specific error if the change is not valid;
    /// [`Error::Contended`] if other writers were faster each time. In either case nothing
    /// was changed.
    pub async fn change(&self, principal: &Principal, change: &Change) -> Result<Applied, Error> {
        authorize(principal, Action::Change, change.scope())?;
        self.until_not_contended(|| async {
            let plan = self.plan(change).await?;
            self.commit(principal, plan.revision, plan.batch, &change.record())
                .await?;
            Ok(plan.applied)
        })
        .await
    }

    /// Tries again, with a limit, while other writers are faster.
    // Not `AsyncFn`: its futures cannot be required to be `Send` yet.
    pub(crate) async fn until_not_contended<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match attempt().await {
                Err(Error::Contended) if started.elapsed() < RETRY_WITHIN => pause().await,
                other => return other,
            }
        }
    }

    /// The time of the newest change, which makes `revision`.
    pub(crate) async fn newest_change_ms(&self, revision: Revision) -> Result<u64, Error> {
        match self.store.newest_entry().await? {
            Some(entry) if entry.revision == revision => Ok(entry.at_ms),
            None if revision == 0 => Ok(0),
            _ => Err(Error::Contended),
        }
    }
}

/// Waits for a random time, so that contending writers do not meet again.
async fn pause() {
    let mut random = [0; 2];
    let pause = match getrandom::fill(&mut random) {
        Ok(()) => u16::from_ne_bytes(random) % MAX_PAUSE_MS,
        Err(_) => MAX_PAUSE_MS,
    };
    sleep(Duration::from_millis(pause.into())).await;
}
