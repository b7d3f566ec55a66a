//! Parse errors of TOML files, in a form that is safe to show.

use entail_text::sanitized;

/// Describes a parse error of the TOML file `text` on one line, with the line number and
/// without an excerpt of the file, which may hold secrets.
pub fn describe_toml_error(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let message = sanitized(error.message());
    match before {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message.to_string(),
    }
}
