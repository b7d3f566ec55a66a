//! The end of the log, for a place outside of it.

use entail_store::{LogHead, RandomId};

use super::files::{LogPaths, log_error};
use super::heads::{LogKey, Position};
use crate::error::Error;
use crate::home::Home;

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

/// The id of a home's log; `None` if it has no key yet.
///
/// # Errors
///
/// [`Error::Home`] if the key cannot be read.
pub(crate) fn log_id(home: &Home) -> Result<Option<RandomId>, Error> {
    let key = LogKey::read(&LogPaths::of(home).key).map_err(log_error)?;
    Ok(key.map(|key| key.log_id()))
}
