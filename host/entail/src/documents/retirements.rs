//! When retired secrets are destroyed: once their time is over, and that is not on the
//! word of one clock alone.
//!
//! A retired version, or a removed credential, is destroyed when the clock says that its time is over, is not
//! behind the newest change in the journal by more than a day ([`CLOCK_MARGIN_MS`]), and
//! either
//!
//! - the machine has not been started anew since it was retired, and has been up for as
//!   long as the secret was to be kept, or
//! - an earlier look, which stands in the signed document of retirements, saw its time
//!   over as well, and a day has passed since: by the time that the machine is up, or,
//!   if it was started anew in between, by the clock.
//!
//! A look that finds the clock behind an earlier one withdraws that. So a clock that is
//! far ahead for one command destroys nothing, then or later. One that is set back keeps
//! secrets for longer. What a person destroys by command is destroyed, whatever the
//! clock says.
//!
//! # Security
//!
//! Two looks with a clock that is ahead, a day apart by it and in two starts of the
//! machine, with none by a right one in between, do destroy what is not over.

use std::collections::BTreeMap;

use entail_store::DocumentKey;
use serde::{Deserialize, Serialize};

use crate::clock::{CLOCK_MARGIN_MS, ClockReading};
use entail_decision::name::ScopePath;

/// When retired versions and removed credentials are to be destroyed: for each scope
/// that has some, the time of the first, in milliseconds since 1970-01-01T00:00:00Z. It is a document,
/// so that nobody has to look through all scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retirements {
    pub(crate) due: BTreeMap<ScopePath, u64>,
    /// When a look first found the time of some to be over, which is yet to be borne
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_over: Option<ClockReading>,
}

impl Retirements {
    /// What becomes of them when the first of `scope` is `due`; none if nothing does.
    pub(crate) fn rescheduled(mut self, scope: &ScopePath, due: Option<u64>) -> Option<Self> {
        if self.due.get(scope).copied() == due {
            return None;
        }
        match due {
            Some(due) => self.due.insert(scope.clone(), due),
            None => self.due.remove(scope),
        };
        Some(self)
    }

    /// The scopes in which some time is over at `now_ms`.
    pub(crate) fn due_at(&self, now_ms: u64) -> impl Iterator<Item = &ScopePath> {
        let due = self.due.iter().filter(move |(_, due)| **due <= now_ms);
        due.map(|(scope, _)| scope)
    }

    /// Whether a look at `now_ms` shows that the clock was ahead at an earlier one, or is
    /// behind now.
    pub(crate) fn is_contradicted(&self, now_ms: u64) -> bool {
        let seen = self.seen_over.as_ref();
        seen.is_some_and(|seen| now_ms < seen.at_ms)
    }

    /// What becomes of them by a look at `now`, after what could be was destroyed;
    /// `None` if nothing does.
    pub(crate) fn checked_at(&self, now: &ClockReading) -> Option<Self> {
        let has_due = self.due_at(now.at_ms).next().is_some();
        // What became due only after an earlier look needs one of its own.
        let is_used = |seen| has_due && bears_out(seen, now);
        let stays = !self.is_contradicted(now.at_ms);
        let seen_over = match &self.seen_over {
            Some(seen) if stays && !is_used(seen) => Some(seen.clone()),
            _ => has_due.then(|| now.clone()),
        };
        (seen_over != self.seen_over).then(|| Retirements {
            seen_over,
            ..self.clone()
        })
    }
}

/// The kind of the document of retirements.
pub(crate) const SCHEDULE_KIND: &str = "schedule";

pub(crate) fn retirements_key() -> DocumentKey {
    DocumentKey::new(SCHEDULE_KIND, "retirements")
}

/// For how long a retired version is kept.
#[derive(Clone, Debug)]
pub(crate) struct Grace {
    pub(crate) since: ClockReading,
    pub(crate) until_ms: u64,
}

/// What is known of the time when a change is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times<'a> {
    pub(crate) now: &'a ClockReading,
    /// The time of the newest change in the journal.
    pub(crate) newest_ms: u64,
    /// When an earlier look found times to be over.
    pub(crate) seen_over: Option<&'a ClockReading>,
}

impl Times<'_> {
    /// Whether the clock is behind the journal by more than clocks differ.
    pub(crate) fn is_behind(&self) -> bool {
        self.newest_ms.saturating_sub(self.now.at_ms) > CLOCK_MARGIN_MS
    }

    /// Whether the time of what was retired at `since` is over beyond doubt.
    pub(crate) fn is_over(&self, since: &ClockReading, until_ms: u64) -> bool {
        if until_ms > self.now.at_ms || self.is_behind() {
            return false;
        }
        match since.elapsed_ms(self.now) {
            Some(elapsed) => elapsed >= until_ms.saturating_sub(since.at_ms),
            None => self
                .seen_over
                .is_some_and(|seen| until_ms <= seen.at_ms && bears_out(seen, self.now)),
        }
    }

    /// For how long a version is kept that is retired now; `None` if not at all. It
    /// counts from the newest change if the clock is behind that.
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

/// Whether enough time has passed since an earlier look.
fn bears_out(seen: &ClockReading, now: &ClockReading) -> bool {
    let by_the_clock = now.at_ms.checked_sub(seen.at_ms);
    let passed = match seen.elapsed_ms(now) {
        Some(elapsed) => by_the_clock.map(|_| elapsed),
        None => by_the_clock,
    };
    passed.is_some_and(|passed| passed >= CLOCK_MARGIN_MS)
}
