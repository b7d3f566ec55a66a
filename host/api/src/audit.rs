//! The decision log.

use serde::{Deserialize, Serialize};

/// `audit verify`: what the verification of the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogVerification {
    /// How many files were checked.
    pub files: u64,
    /// How many records are unchanged, of all kinds.
    pub records: u64,
    /// How many of them are decisions.
    pub decisions: u64,
    /// How many of them say whether a granted secret was opened.
    pub openings: u64,
    /// For how many grants there is no such record, so that nothing was revealed.
    pub without_opening: u64,
    /// How many records are of a kind that only a newer version knows.
    pub newer: u64,
    /// Whether the records of a request are on the disk before its secret is revealed. If not, a
    /// power cut may lose the records of the last minute.
    pub synced: bool,
    /// How many chains of records there are; each process that writes has one.
    pub writers: u64,
    /// How many lines were never finished, so that nothing was revealed for them.
    pub incomplete: u64,
    /// The number of the oldest file, if earlier files were archived.
    pub first_file: Option<u64>,
    /// Whether the length of the log is remembered outside of it, so that a log that was cut
    /// off is found.
    pub has_head: bool,
    /// How many records follow the remembered length.
    pub after_head: u64,
    /// How many of the newest records were missing after the machine was restarted.
    pub lost: u64,
    /// How many earlier ends of the log, which the journal of the store contains, it still has.
    pub in_journal: u64,
    /// Where the log does not hold what was written; the first thousand.
    pub breaches: Vec<LogBreach>,
    /// How many more there are.
    pub more_breaches: u64,
    /// How many were accepted with `audit accept-loss`.
    pub accepted: u64,
    /// What was done to the log on purpose, the oldest first.
    pub events: Vec<LogEvent>,
}

/// A place where the log does not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogBreach {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if the file itself is wrong.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// `audit archive`: full files of the log were moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Archived {
    /// The event that was noted; `null` if there was no full file.
    pub archived: Option<LogEvent>,
}

/// Something that was done to the log on purpose. `audit accept-loss` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogEvent {
    /// When.
    pub at_ms: u64,
    /// The principal that did it; `unknown:` and its id in the log if its name was erased.
    pub principal: String,
    /// What it was.
    #[serde(flatten)]
    pub event: LogEventKind,
}

/// What was done to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LogEventKind {
    /// Full files were moved elsewhere.
    Archived {
        /// The number of the first file.
        from: u64,
        /// The number of the last file.
        to: u64,
        /// The digest of the last line in them.
        last: Option<String>,
        /// The directory that they were moved to.
        directory: String,
    },
    /// What was wrong with the log was accepted.
    LossAccepted {
        /// The number of the file that was being written.
        file: u64,
        /// The length of that file in bytes.
        bytes: u64,
        /// The reason that was given.
        reason: String,
        /// What was wrong; the first of it.
        found: Vec<String>,
        /// In how many places something was wrong.
        breaches: u64,
    },
}
