//! Writes JSON in which every character that is not plain is escaped.
//!
//! JSON itself requires that only for a few control characters, so a string in it could
//! still control the terminal of a person who looks at a log. A program reads the same
//! value.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::is_plain;

/// Writes a value on one line, without a line break at the end.
///
/// # Errors
///
/// If `to` cannot be written, or the value cannot be represented in JSON.
pub fn to_writer(to: impl Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    let formatter = Escaping(CompactFormatter);
    value.serialize(&mut Serializer::with_formatter(to, formatter))
}

/// Serializes a value on one line.
///
/// # Errors
///
/// If the value cannot be represented in JSON.
pub fn to_string(value: &(impl Serialize + ?Sized)) -> serde_json::Result<String> {
    let mut text = Vec::new();
    to_writer(&mut text, value)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Serializes a value on several lines, indented.
///
/// # Errors
///
/// If the value cannot be represented in JSON.
pub fn to_string_pretty(value: &(impl Serialize + ?Sized)) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let formatter = Escaping(PrettyFormatter::new());
    value.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A formatter that escapes characters that are not plain and delegates the rest.
struct Escaping<F>(F);

/// Delegates a method to the other formatter.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, to: &mut W $(, $argument: $type)*) -> io::Result<()> {
            self.0.$name(to $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // The usual case. Characters that JSON itself escapes are not in a fragment.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return to.write_all(fragment.as_bytes());
        }
        fragment
            .chars()
            .try_for_each(|character| write_character(to, character))
    }

    /// JSON from another writer. White space between its values becomes a space; every other
    /// character that is not plain is inside a string.
    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        fragment.chars().try_for_each(|character| match character {
            '\n' | '\r' | '\t' => to.write_all(b" "),
            other => write_character(to, other),
        })
    }

    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }
}

fn write_character(to: &mut (impl ?Sized + Write), character: char) -> io::Result<()> {
    if is_plain(character) {
        return write!(to, "{character}");
    }
    character
        .encode_utf16(&mut [0; 2])
        .iter()
        .try_for_each(|unit| write!(to, "\\u{unit:04x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_json_is_escaped_as_well() {
        let written = "{\"a\u{202e}\":\n\t[\"\u{9b}31m\u{2028}\", 1]}";
        let raw: &serde_json::value::RawValue = serde_json::from_str(written).unwrap();
        let text = to_string(&raw).unwrap();
        assert!(text.chars().all(is_plain), "{text}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&text), read(written));
    }

    #[test]
    fn the_value_stays_the_same_and_every_character_is_plain() {
        let mut all = String::new();
        all.extend('\0'..=char::MAX);
        let value = serde_json::json!({"a": [all, 1, {"b\u{202e}": "x\r\n"}], "c": {}, "d": []});
        for text in [
            to_string(&value).unwrap(),
            to_string_pretty(&value).unwrap(),
        ] {
            assert!(
                text.chars()
                    .all(|character| is_plain(character) || character == '\n')
            );
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                value
            );
        }
        assert!(!to_string(&value).unwrap().contains('\n'));
    }

    #[test]
    fn plain_text_is_serialized_as_usual() {
        let value = serde_json::json!({"a": [1, "ü ✓ \" \\"], "b": {"c": null}, "d": [], "e": {}});
        assert_eq!(to_string(&value).unwrap(), value.to_string());
        assert_eq!(to_string_pretty(&value).unwrap(), format!("{value:#}"));
    }
}
