//! The end of the log, for a place outside of it.

use entail_store::LogHead;

use super::heads::{LogKey, Position};

/// The end of the log with that key, at a position.
pub(super) fn head_at(position: &Position, key: &LogKey) -> LogHead {
    LogHead {
        log: key.log_id(),
        file: position.file,
        bytes: position.bytes,
        lines: position.lines,
        digest: position.digest,
    }
}
