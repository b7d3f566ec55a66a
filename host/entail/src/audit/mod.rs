//! The decision log: one JSON line per decision, written before anything is
//! revealed. No record, no secret.
//!
//! The facts are in it, since they hold no secret: what was decided can be
//! decided again. A line is handed to the system in one write, so several
//! processes can share the file; it is on its way to the disk, not waited for.
//!
//! Each writer (an open log of a process) numbers its records from 1 and puts the
//! SHA-256 of its line before into each; into its first that of the line, whosever,
//! that the log then ended with. A line that was changed, taken out or moved
//! therefore shows in those that came after ([`verify`]). What nobody looked back at
//! yet, the last lines of each writer, can be cut off unseen; who must know of that
//! too records in a second place.

mod log;
mod read;
mod record;
mod sink;

pub(crate) use log::DecisionLog;
pub(crate) use read::RecordedRequest;
pub use read::{
    Breach, Filter, LogFile, LogReport, OutcomeFilter, RecordedDecision, count_records, log_files,
    records, verify,
};
pub use record::Purpose;
pub(crate) use record::{Granted, Outcome, Record};
