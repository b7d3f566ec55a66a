//! Text from outside, made harmless.
//!
//! A policy, a database, a log or a file name can hold text that drives whatever shows
//! it: it moves the cursor, writes the clipboard, forges a line of a log, hides what
//! stands beside it. This crate decides, in one place, which characters do none of
//! that:
//!
//! - [`sanitize`] writes every other character as an escape (`\u{202e}`), so that
//!   nothing is hidden and one line stays one line. Text for people goes through it;
//!   [`sanitized`] does the same for what has a `Display`, such as a part of an error.
//! - [`json`] writes the same characters as JSON escapes (`\u202e`), so that a program
//!   reads the exact text. JSON for output and for logs is written with it.
//! - [`strict`] reads JSON from outside: no member twice, no byte order mark.
//! - [`ForeignText`] holds text from outside. It has no `Display`, so that it cannot
//!   become output without one of the two.
//!
//! What it does not promise: that the text is true, or that letters of a script that
//! runs from right to left stand where a reader expects them.

mod foreign;
pub mod json;
pub mod strict;

use std::borrow::Cow;
use std::fmt;

pub use foreign::{ForeignText, Sanitized, Shown, sanitized};

/// Whether a character is shown as itself, and does nothing else: a letter, a mark on
/// one, a digit, a sign, or the plain space.
///
/// Everything else is not: control characters (line breaks and tabs among them), format
/// characters (bidirectional, zero-width, tags), line and paragraph separators, other
/// spaces, private and unassigned characters, and those that Unicode says to leave
/// invisible where they are not known (`Default_Ignorable_Code_Point`).
pub fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    is_printable(character) && !is_ignorable(character)
}

/// Whether the general category of a character, as the standard library knows it, is
/// one that is shown.
fn is_printable(character: char) -> bool {
    // At the beginning of a text, `escape_debug` escapes marks as well.
    let mut bytes = [b'a', 0, 0, 0, 0];
    let length = 1 + character.encode_utf8(bytes.split_at_mut(1).1).len();
    let text = bytes
        .get(..length)
        .and_then(|text| str::from_utf8(text).ok());
    text.is_some_and(|text| text.escape_debug().count() == 2)
}

/// The letters and marks among `Default_Ignorable_Code_Point` (Unicode 17,
/// `DerivedCoreProperties.txt`), which their general category does not give away.
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

/// A text with every character that is not plain ([`is_plain`]) as an escape:
/// `\n`, `\u{1b}`. Sanitized text is sanitized already: it comes back as it is.
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
    fn letters_of_all_scripts_and_signs_are_plain() {
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
    fn whatever_drives_a_terminal_or_forges_a_line_is_an_escape() {
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
    fn no_character_at_all_becomes_anything_but_plain_ones() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            let shown = sanitize(&text);
            assert!(shown.chars().all(is_plain), "{character:?}");
            assert!(!shown.chars().any(char::is_control), "{character:?}");
            assert_eq!(shown == text, is_plain(character), "{character:?}");
        }
    }
}
