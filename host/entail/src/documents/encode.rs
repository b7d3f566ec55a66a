//! The stored form of a document.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::Error;

/// Serializes a value as it is stored: as JSON.
pub(crate) fn encode(value: &impl Serialize) -> Result<Box<RawValue>, Error> {
    to_raw_value(value).map_err(|error| Error::Unavailable(error.to_string()))
}
