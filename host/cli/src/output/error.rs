//! Errors, as text or JSON on standard error.

use super::json::print_json_error;
use super::line::{Style, err};
use super::pasted::PastedKeys;
use crate::error::CliError;
use entail_api::error::{ErrorBody, ErrorOutput};

/// Prints an error. It repeats no argument that may be a key in the wrong place.
pub fn print_error(error: &CliError, as_json: bool) {
    let output = to_output(error, &PastedKeys::of_this_process());
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

fn to_output(error: &CliError, keys: &PastedKeys) -> ErrorOutput {
    let all = |texts: &[String]| texts.iter().map(|text| keys.hide(text)).collect();
    ErrorOutput {
        error: ErrorBody {
            code: error.code().as_str().to_owned(),
            message: keys.hide(error.message()),
            remedies: all(error.remedies()),
            refusal: error.refusal().map(|code| code.as_str().to_owned()),
            details: all(error.details()),
        },
    }
}
