//! The decision log: one JSON line per decision, written before anything is
//! revealed. No record, no secret.
//!
//! The facts are in it, since they hold no secret: what was decided can be
//! decided again. A line is handed to the system in one write, under a lock that the
//! processes of a home take in turn; it is on its way to the disk, not waited for.
//!
//! Each writer (an open log of a process) numbers its records from 1 and puts the
//! SHA-256 of its line before into each; into its first that of the line, whosever,
//! that the log then ended with. A line that was changed, taken out or moved
//! therefore shows in those that came after ([`verify()`]).
//!
//! The chains have no key. So how far the log had come, and a digest over all of it, is
//! remembered outside of it, in the head, which is authenticated by a key of the home:
//! a log that was deleted, emptied, cut, rewritten or put back shows, too. What that
//! catches and what it does not is told in `heads.rs`. Who can write the log can always
//! add records to it. Who must know of what the head does not catch records in a second
//! place.

mod archive;
mod files;
mod heads;
mod ledger;
mod lines;
mod log;
mod read;
mod record;
mod second_place;
mod sink;
#[cfg(test)]
mod tests;
mod verify;

pub use archive::{accept_log_loss, archive_log};
pub(crate) use files::open_if_there;
pub use files::{LogFile, log_files};
pub use ledger::{LogEvent, LogEventKind};
pub(crate) use lines::{LineKind, Lines};
pub(crate) use log::DecisionLog;
pub use read::{
    Filter, OutcomeFilter, RecordedDecision, Records, count_records, last_records, records,
};
pub(crate) use read::{LogLines, RecordedRequest};
pub use record::Purpose;
pub(crate) use record::{Granted, Outcome, Record};
pub use verify::{Breach, LogReport, verify};
