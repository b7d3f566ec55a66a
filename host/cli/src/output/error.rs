//! Errors, as text or JSON on standard error.

use super::json::print_json_error;
use super::line::{Style, err};
use crate::error::CliError;
use entail_api::error::{ErrorBody, ErrorOutput};

/// Prints an error.
pub fn print_error(error: &CliError, as_json: bool) {
    let output = to_output(error);
    if as_json {
        print_json_error(&output);
    } else {
        print_text(&output.error);
    }
}

fn print_text(error: &ErrorBody) {
    err!(Style::Bad => "error"; ": {}", error.message);
    for detail in &error.details {
        err!("  - {detail}");
    }
    for remedy in &error.remedies {
        err!(Style::Faint => "  try:"; " {remedy}");
    }
}

fn to_output(error: &CliError) -> ErrorOutput {
    ErrorOutput {
        error: ErrorBody {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            remedies: error.remedies().to_vec(),
            refusal: error.refusal().map(|code| code.as_str().to_owned()),
            details: error.details().to_vec(),
        },
    }
}
