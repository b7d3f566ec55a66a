//! JSON for programs.
//!
//! Text from outside is escaped where it could control a terminal ([`entail_text::json`]).

use std::io::{Error, Write as _};

use entail_text::json;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stdout::{print_raw, set_failure};
use crate::error::CliError;

/// Prints a value on several lines.
pub fn print_json(value: &(impl Serialize + ?Sized)) {
    print_text(json::to_string_pretty(value));
}

/// Prints a value on one line.
pub fn print_json_line(value: &(impl Serialize + ?Sized)) {
    print_text(json::to_string(value));
}

/// Prints a value on one line of standard error.
pub fn print_json_error(value: &(impl Serialize + ?Sized)) {
    let text = json::to_string(value).unwrap_or_else(|error| error.to_string());
    // If standard error fails, the error cannot be reported anywhere.
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn print_text(text: serde_json::Result<String>) {
    match text {
        Ok(text) => print_raw(&text),
        Err(error) => set_failure(Error::other(error)),
    }
}

/// Converts a library value to its output type, which has the same form in JSON.
///
/// # Errors
///
/// Fails if the forms differ.
pub fn convert<T: DeserializeOwned>(value: &(impl Serialize + ?Sized)) -> Result<T, CliError> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|error| CliError::io("the output", &Error::other(error)))
}
