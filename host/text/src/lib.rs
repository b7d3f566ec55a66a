//! Sanitizes untrusted text.
//!
//! A policy, a database, a log or a file name can contain text that controls the program
//! that displays it: it moves the cursor, writes the clipboard, forges a line of a log, or
//! hides other text. This crate defines, in one place, which characters are harmless:
//!
//! - [`sanitize`] escapes every other character (`\u{202e}`), so that nothing is hidden and
//!   one line stays one line. Use it for text that people read. [`sanitized`] does the same
//!   for a `Display` value, such as a part of an error.
//! - [`json`] writes the same characters as JSON escapes (`\u202e`), so that a program
//!   reads the exact text. Use it for JSON in output and logs.
//! - [`strict`] parses untrusted JSON: no duplicate members, no byte order mark.
//! - [`objects`] parses JSON in which every record is an object, not a list of values.
//! - [`ForeignText`] holds untrusted text. It does not implement `Display`, so that it
//!   cannot become output without being sanitized.
//!
//! Not covered: whether the text is true, and the visual order of right-to-left scripts.

mod foreign;
pub mod json;
pub mod objects;
pub mod strict;

use std::borrow::Cow;
use std::fmt;

pub use foreign::{ForeignText, Sanitized, Shown, sanitized};

/// Whether a character is displayed as itself and has no other effect: a letter, a mark on
/// a letter, a digit, a symbol, or the plain space.
///
/// Everything else is not plain: control characters (including line breaks and tabs),
/// format characters (bidirectional, zero-width, tags), line and paragraph separators,
/// other spaces, private and unassigned characters, and characters that Unicode requires to
/// be invisible if unknown (`Default_Ignorable_Code_Point`).
pub fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    is_printable(character) && !is_ignorable(character)
}

/// Whether the general category of a character, according to the standard library, is a
/// visible one.
fn is_printable(character: char) -> bool {
    // `escape_debug` would escape a combining mark at the beginning of a text.
    let mut bytes = [b'a', 0, 0, 0, 0];
    let length = 1 + character.encode_utf8(bytes.split_at_mut(1).1).len();
    let text = bytes
        .get(..length)
        .and_then(|text| str::from_utf8(text).ok());
    text.is_some_and(|text| text.escape_debug().count() == 2)
}

/// The letters and marks in `Default_Ignorable_Code_Point` (Unicode 17,
/// `DerivedCoreProperties.txt`), which the general category does not reveal.
fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Returns the text with every character that is not plain ([`is_plain`]) escaped: `\n`,
/// `\u{1b}`. Sanitized text stays unchanged.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    // Writing to a string does not fail.
    let _ = write_sanitized(&mut plain, text.chars());
    Cow::Owned(plain)
}

fn write_sanitized(to: &mut dyn fmt::Write, text: impl IntoIterator<Item = char>) -> fmt::Result {
    for character in text {
        match character {
            character if is_plain(character) => to.write_char(character)?,
            '\n' => to.write_str("\\n")?,
            '\r' => to.write_str("\\r")?,
            '\t' => to.write_str("\\t")?,
            other => write!(to, "{}", other.escape_unicode())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_all_scripts_and_symbols_are_plain() {
        for text in [
            "the rules do not allow it: \"default\" \\ 'x' {}~",
            "Schlüssel für Müller – „nein“ … ✓ ✗ ● └─ ••••1234",
            "ключ 鍵 キー 열쇠 مفتاح מפתח कुंजी",
            "e\u{301} ñ",
            "🔑",
        ] {
            assert_eq!(sanitize(text), text);
        }
    }

    #[test]
    fn characters_that_control_a_terminal_or_forge_a_line_are_escaped() {
        for (text, shown) in [
            ("a\rb", "a\\rb"),
            ("a\nb", "a\\nb"),
            ("a\tb", "a\\tb"),
            (
                "\u{1b}[2K\u{1b}]52;c;aGk=\u{7}",
                "\\u{1b}[2K\\u{1b}]52;c;aGk=\\u{7}",
            ),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}\0", "\\u{7f}\\u{0}"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\u{2028}b\u{2029}c\u{85}", "a\\u{2028}b\\u{2029}c\\u{85}"),
            ("\u{e0041}\u{e007f}", "\\u{e0041}\\u{e007f}"),
            ("a\u{3164}\u{fe0f}\u{34f}", "a\\u{3164}\\u{fe0f}\\u{34f}"),
            ("a\u{a0}b\u{3000}", "a\\u{a0}b\\u{3000}"),
            (
                "\u{fdd0}\u{10ffff}\u{e000}",
                "\\u{fdd0}\\u{10ffff}\\u{e000}",
            ),
        ] {
            assert_eq!(sanitize(text), shown);
            assert_eq!(sanitize(shown), shown);
        }
    }

    #[test]
    fn every_character_is_sanitized_to_plain_characters() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            let shown = sanitize(&text);
            assert!(shown.chars().all(is_plain), "{character:?}");
            assert!(!shown.chars().any(char::is_control), "{character:?}");
            assert_eq!(shown == text, is_plain(character), "{character:?}");
        }
    }
}
