//! When retired secrets are destroyed: when more than one reading of a clock shows that
//! their grace period is over.
//!
//! A retired version or a removed credential is destroyed if its grace period is over by
//! the clock, the clock is not behind the newest change in the journal by more
//! than a day ([`CLOCK_MARGIN_MS`]), and either
//!
//! - the machine has not rebooted since, and has been up for as long as the secret was to
//!   be kept, or
//! - an earlier check, noted in the signed document of retirements, found its grace
//!   period over as well, and a day has passed since: by the time since boot, or by the
//!   clock if the machine rebooted in between.
//!
//! A check that finds the clock behind the noted one withdraws the note. So a clock that is
//! far ahead during one command destroys nothing, then or later. A clock that is set back
//! keeps secrets longer. A user can destroy a secret by command at any time.
//!
//! # Security
//!
//! Secrets are destroyed too early if two checks use a clock that is ahead, a day apart by
//! that clock and in two boots, and no check in between uses a correct one.

use entail_store::DocumentKey;
use serde::{Deserialize, Serialize};

use crate::clock::{CLOCK_MARGIN_MS, ClockReading};
use entail_decision::name::ScopePath;

/// When retired versions and removed credentials of a scope are due to be destroyed. A scope
/// without any has no such document, so that no call has to search all scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retirements {
    /// The time of the first, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) due_ms: u64,
    /// When a check first found that a grace period is over; a later check must confirm
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_over: Option<ClockReading>,
}

impl Retirements {
    /// Whether something is due at `now_ms`.
    pub(crate) fn is_due_at(&self, now_ms: u64) -> bool {
        self.due_ms <= now_ms
    }

    /// Whether a check at `now_ms` shows that the clock was ahead at the noted check, or is
    /// behind now.
    pub(crate) fn is_contradicted(&self, now_ms: u64) -> bool {
        let seen = self.seen_over.as_ref();
        seen.is_some_and(|seen| now_ms < seen.at_ms)
    }

    /// The new document after a check at `now` has destroyed what it could; `None` if it
    /// does not change.
    pub(crate) fn checked_at(&self, now: &ClockReading) -> Option<Self> {
        let has_due = self.is_due_at(now.at_ms);
        // What became due after the noted check needs its own check.
        let is_used = |seen| has_due && confirms(seen, now);
        let is_valid = !self.is_contradicted(now.at_ms);
        let seen_over = match &self.seen_over {
            Some(seen) if is_valid && !is_used(seen) => Some(seen.clone()),
            _ => has_due.then(|| now.clone()),
        };
        (seen_over != self.seen_over).then_some(Retirements { seen_over, ..*self })
    }
}

/// The kind of the documents of retirements.
pub(crate) const SCHEDULE_KIND: &str = "schedule";

/// The key of the document for `scope`.
pub(crate) fn retirements_key(scope: &ScopePath) -> DocumentKey {
    DocumentKey::new(SCHEDULE_KIND, scope.as_str())
}

/// How long a retired version is kept.
#[derive(Clone, Debug)]
pub(crate) struct Grace {
    pub(crate) since: ClockReading,
    pub(crate) until_ms: u64,
}

/// The times that a change is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times<'a> {
    pub(crate) now: &'a ClockReading,
    /// The time of the newest change in the journal.
    pub(crate) newest_ms: u64,
    /// When an earlier check found that a grace period is over.
    pub(crate) seen_over: Option<&'a ClockReading>,
}

impl Times<'_> {
    /// Whether the clock is behind the journal by more than the margin.
    pub(crate) fn is_behind(&self) -> bool {
        self.newest_ms.saturating_sub(self.now.at_ms) > CLOCK_MARGIN_MS
    }

    /// Whether the grace period of what was retired at `since` is certainly over.
    pub(crate) fn is_over(&self, since: &ClockReading, until_ms: u64) -> bool {
        if until_ms > self.now.at_ms || self.is_behind() {
            return false;
        }
        match since.elapsed_ms(self.now) {
            Some(elapsed) => elapsed >= until_ms.saturating_sub(since.at_ms),
            None => self
                .seen_over
                .is_some_and(|seen| until_ms <= seen.at_ms && confirms(seen, self.now)),
        }
    }

    /// How long a version that is retired now is kept; `None` if it is not kept. Counts from
    /// the newest change if the clock is behind that.
    pub(crate) fn grace(&self, grace_ms: u64) -> Option<Grace> {
        let mut since = self.now.clone();
        if self.is_behind() {
            since.at_ms = self.newest_ms;
        }
        (grace_ms > 0).then(|| Grace {
            until_ms: since.at_ms.saturating_add(grace_ms),
            since,
        })
    }
}

/// Whether enough time has passed since the noted check for this one to confirm it.
fn confirms(seen: &ClockReading, now: &ClockReading) -> bool {
    let by_the_clock = now.at_ms.checked_sub(seen.at_ms);
    let passed = match seen.elapsed_ms(now) {
        Some(elapsed) => by_the_clock.map(|_| elapsed),
        None => by_the_clock,
    };
    passed.is_some_and(|passed| passed >= CLOCK_MARGIN_MS)
}
