//! What became of a granted secret, as the log tells it.

use serde::Serialize;

/// What became of a granted secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum RecordedOpening {
    /// It was opened.
    Opened {
        /// The time, in milliseconds since 1970-01-01T00:00:00Z.
        at_ms: u64,
    },
    /// It was not opened, so nothing was revealed.
    Failed {
        /// The time, in milliseconds since 1970-01-01T00:00:00Z.
        at_ms: u64,
        /// The code of the error.
        code: String,
    },
    /// There is no record of it, so nothing was revealed: the process was stopped, or the
    /// request given up, before there could be one. Or it is not written yet.
    Unknown,
}
