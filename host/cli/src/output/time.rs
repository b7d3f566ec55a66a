//! Times.

use jiff::Timestamp;

/// A time as in RFC 3339, to the second.
pub fn time(at_ms: u64) -> String {
    i64::try_from(at_ms)
        .ok()
        .and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
        .map_or_else(|| format!("{at_ms} ms"), |time| format!("{time:.0}"))
}
