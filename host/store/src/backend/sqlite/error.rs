//! How errors of SQLite are classified.

use rusqlite::ErrorCode;

use crate::backend::BackendError;
use crate::tampering::{Fault, Tampering};

/// The maximum length of a message of SQLite's integrity check.
const MAX_DAMAGE_CHARS: usize = 200;

impl From<rusqlite::Error> for BackendError {
    /// Values that SQLite cannot read, or not as their declared type, count as tampering.
    fn from(error: rusqlite::Error) -> Self {
        let damaged = match &error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => true,
            error => error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt),
        };
        if damaged {
            return damage(&error.to_string()).into();
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BackendError::Busy,
            _ => BackendError::Failed(error.to_string()),
        }
    }
}

/// Reports damage to the file. `message` is SQLite's and may contain names from the file.
pub(super) fn damage(message: &str) -> Tampering {
    let message: String = message.chars().take(MAX_DAMAGE_CHARS).collect();
    let reason = format!("is damaged: {message}");
    Tampering::new(Fault::Forged, "the database", reason)
}
