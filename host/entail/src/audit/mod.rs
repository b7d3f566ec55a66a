//! The decision log: one JSON line per decision, written before a secret is opened, and one
//! for what became of a granted secret, written before it is revealed. What cannot be
//! recorded is not revealed. A grant without the second line was not revealed either: the
//! process was stopped, or the request given up, in between.
//!
//! A record contains the facts, which hold no secret, so the decision can be replayed. In place
//! of the principal there is a random id; another file says who that is, so that the name can be
//! erased (`principals/mod.rs`). A line is written with one system call, under a lock that all
//! processes of a home share. Before a secret is revealed, its lines are synced to the disk,
//! together with those of other requests, unless the settings turn that off
//! ([`LogSync`](crate::LogSync)).
//!
//! Each writer (one open log of one process) numbers its records from 1. Each record holds
//! the SHA-256 of the writer's previous line; its first record, that of the last line in the
//! log. So a line that was changed, removed or moved is detected by the records after it
//! ([`verify()`]).
//!
//! The chains use no key. So the length of the log and a digest over all of it are also
//! stored outside of it, in the head, which a key of the home authenticates. This detects a
//! log that was deleted, truncated, rewritten or rolled back; `heads/mod.rs` documents the
//! limits. Anyone who can write the log can append records. To be independent of that,
//! configure a secondary sink.

mod archive;
mod files;
mod filter;
mod head;
mod heads;
mod ledger;
mod lines;
mod lock;
mod log;
mod log_lines;
mod opening;
mod principals;
mod read;
mod record;
mod recorded_decision;
mod recorded_opening;
mod secondary;
mod sink;
mod sync;
#[cfg(test)]
mod tests;
mod verify;

pub use archive::{accept_log_loss, archive_log};
pub(crate) use files::open_if_exists;
pub use files::{LogFile, log_files};
pub use filter::{Filter, OutcomeFilter};
pub(crate) use head::log_id;
pub use ledger::{LogEvent, LogEventKind};
pub(crate) use lines::{LineKind, Lines};
pub(crate) use log::{DecisionLog, Written};
pub(crate) use log_lines::LogLines;
pub(crate) use opening::is_opening;
pub(crate) use principals::{PrincipalNames, erase_logged_principal, logged_principals};
pub use read::{Records, count_records, last_records, records};
pub use record::Purpose;
pub(crate) use record::{Entry, Granted, Opening, OpeningResult, Outcome, Record, RecordedFacts};
pub use recorded_decision::RecordedDecision;
pub(crate) use recorded_decision::RecordedRequest;
pub use recorded_opening::RecordedOpening;
pub use verify::{Breach, LogReport, verify};
