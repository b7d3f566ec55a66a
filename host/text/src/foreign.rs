//! A type for untrusted text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::write_sanitized;

/// The maximum number of characters of a foreign text to display: a paragraph. The JSON
/// output has the whole text.
const MAX_SHOWN_CHARS: usize = 1_000;

/// Untrusted text: a policy's message, or a name in a database that may have been tampered
/// with. It can be compared, stored and serialized unchanged. Use [`ForeignText::shown`] to
/// display it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForeignText(String);

impl ForeignText {
    /// The original text. It must not be displayed.
    pub fn as_raw(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text for display: sanitized, and cut after 1,000 characters.
    pub fn shown(&self) -> Shown<'_> {
        Shown(&self.0)
    }
}

impl From<String> for ForeignText {
    fn from(text: String) -> Self {
        ForeignText(text)
    }
}

impl From<&str> for ForeignText {
    fn from(text: &str) -> Self {
        ForeignText(text.to_owned())
    }
}

/// Sanitized, in quotes.
impl fmt::Debug for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.shown())
    }
}

/// A foreign text for display.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub(crate) &'a str);

impl<'a> Shown<'a> {
    /// Wraps an untrusted text for display.
    pub fn of(text: &'a str) -> Self {
        Shown(text)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_sanitized(f, self.0.chars().take(MAX_SHOWN_CHARS))?;
        match self.0.chars().nth(MAX_SHOWN_CHARS) {
            Some(_) => f.write_str("…"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Sanitizes the `Display` output of `value`: for parts of an error that may be untrusted,
/// such as a file name or the message of a library.
pub fn sanitized<T: fmt::Display>(value: T) -> Sanitized<T> {
    Sanitized(value)
}

/// The result of [`sanitized`].
#[derive(Clone, Copy, Debug)]
pub struct Sanitized<T>(T);

impl<T: fmt::Display> fmt::Display for Sanitized<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_fmt(&mut Sanitizing(f), format_args!("{}", self.0))
    }
}

/// Sanitizes what is written to it.
struct Sanitizing<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Sanitizing<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_sanitized(self.0, text.chars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_is_sanitized_for_display_and_serialized_unchanged() {
        let text = ForeignText::from("granted\r\u{1b}[1A");
        assert_eq!(text.shown().to_string(), "granted\\r\\u{1b}[1A");
        assert_eq!(format!("{text:?}"), "\"granted\\r\\u{1b}[1A\"");
        let json = serde_json::to_value(&text).unwrap();
        assert_eq!(json, serde_json::json!("granted\r\u{1b}[1A"));
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = ForeignText::from("ß".repeat(MAX_SHOWN_CHARS));
        assert_eq!(text.shown().to_string(), text.as_raw());
        let longer = ForeignText::from(format!("{}x", text.as_raw()));
        assert_eq!(longer.shown().to_string(), format!("{}…", text.as_raw()));
    }

    #[test]
    fn the_display_output_of_a_value_can_be_sanitized() {
        let file = std::path::Path::new("a\nb\u{202e}");
        let error = std::io::Error::other("c\u{9b}2K");
        assert_eq!(
            format!("{}: {}", sanitized(file.display()), sanitized(&error)),
            "a\\nb\\u{202e}: c\\u{9b}2K"
        );
        assert_eq!(sanitized(sanitized("\r")).to_string(), "\\r");
    }
}
