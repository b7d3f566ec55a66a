//! Reads variables from the text of a `.env` file, a shell script or a JSON object.
//!
//! No crate for `.env` files fits: they expand `$NAME`, do not report lines, and leave copies
//! of the values in memory. This reads what all common readers agree on. Where they differ (an
//! expansion, a `#` within a word, a quote that does not end) the place is reported. Nothing is
//! expanded or run.
//!
//! Only the values of wanted variables are kept, and no error repeats a value.

use std::borrow::Cow;
use std::fmt;

use entail::Secret;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reader::Reader;
use super::variable::{Parsed, Value, Variable};

/// The syntax of a file of variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    /// `NAME=value`, `NAME="value"`, `NAME='value'`, perhaps after `export`.
    Dotenv,
    /// Assignments of a POSIX shell; other commands are not understood.
    Shell,
    /// One object of strings.
    Json,
}

/// Parses a text. Keeps only the values of variables that are `wanted`.
///
/// # Errors
///
/// Returns the problem if the text cannot be read at all.
pub fn parse(
    text: &str,
    dialect: Dialect,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Parsed, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if dialect == Dialect::Json {
        return parse_json(text, wanted);
    }
    let mut parsed = Parsed::default();
    let mut reader = Reader { text, line: 1 };
    while reader.skip_blank_lines() {
        let start = reader;
        let statement = match dialect {
            Dialect::Shell => reader.shell_statement(wanted),
            _ => reader.dotenv_statement(wanted),
        };
        if let Some(variables) = statement {
            parsed.variables.extend(variables);
        } else {
            // The next line may be understood.
            reader = start;
            reader.skip_line();
            parsed.other_lines.push(start.line);
        }
    }
    Ok(parsed)
}

/// The members of an object in order, each as it is written. A map would drop members with
/// the same name.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(member.0), member.1));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

fn parse_json(text: &str, wanted: &dyn Fn(&str) -> bool) -> Result<Parsed, String> {
    // The parser's message could quote the text.
    let Members(members) = serde_json::from_str(text).map_err(|error| {
        format!(
            "it is not a JSON object of variables (line {})",
            error.line()
        )
    })?;
    let line_of = |value: &RawValue| {
        let offset = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let before = text.get(..offset).unwrap_or_default();
        1 + before.matches('\n').count()
    };
    let mut parsed = Parsed::default();
    for (name, value) in members {
        let line = line_of(value);
        let mut reader = Reader { text: &name, line };
        if reader.name().is_none() || !reader.text.is_empty() {
            parsed.other_lines.push(line);
            continue;
        }
        let value = if !wanted(&name) {
            Value::Unwanted
        } else if let Ok(text) = serde_json::from_str::<String>(value.get()) {
            Value::Text(Secret::from(text))
        } else {
            Value::NotUnderstood("its value is not a string")
        };
        parsed.variables.push(Variable {
            line,
            name: name.into_owned(),
            value,
        });
    }
    Ok(parsed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    /// The variables of a text: `NAME=value@line`, `NAME?@line` for what is not understood,
    /// `?@line` for other lines.
    fn read(text: &str, dialect: Dialect) -> Vec<String> {
        let parsed = parse(text, dialect, &|name| name != "OTHER").unwrap();
        let mut found: Vec<(usize, String)> = parsed
            .variables
            .iter()
            .map(|variable| {
                let name = &variable.name;
                let line = variable.line;
                let text = match &variable.value {
                    Value::Text(value) => format!("{name}={}@{line}", value.expose_text().unwrap()),
                    Value::Unwanted => format!("{name}-@{line}"),
                    Value::NotUnderstood(_) => format!("{name}?@{line}"),
                };
                (line, text)
            })
            .collect();
        found.extend(
            parsed
                .other_lines
                .iter()
                .map(|line| (*line, format!("?@{line}"))),
        );
        found.sort_by_key(|(line, _)| *line);
        found.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_dotenv_file_is_read_as_all_readers_do() {
        let text = "\u{feff}# a comment\n\nA=1\r\n export B = two words  # why\nC='it is # $HOME'\nD=\"a\\nb \\\"c\\\" \\$d\" # x\nE=\"one\ntwo\"\nF=\nOTHER=x\nG=a\"b\\c";
        assert_eq!(
            read(text, Dialect::Dotenv),
            [
                "A=1@3",
                "B=two words@4",
                "C=it is # $HOME@5",
                "D=a\nb \"c\" $d@6",
                "E=one\ntwo@7",
                "F=@9",
                "OTHER-@10",
                "G=a\"b\\c@11",
            ]
        );
    }

    #[test]
    fn text_that_readers_disagree_about_is_not_understood() {
        for (text, expected) in [
            ("A=$B", "A?@1"),
            ("A=${B}", "A?@1"),
            ("A=\"x$(id)\"", "A?@1"),
            ("A=a`id`", "A?@1"),
            ("A=`x`", "?@1"),
            ("A=a#b", "?@1"),
            ("A='it\\'s'", "?@1"),
            ("A='x' y", "?@1"),
            ("A='x", "?@1"),
            ("A: x", "?@1"),
            ("1A=x", "?@1"),
            ("sk-key=x", "?@1"),
            ("just words", "?@1"),
        ] {
            assert_eq!(read(text, Dialect::Dotenv), [expected], "{text}");
        }
        // The rest is parsed again.
        assert_eq!(
            read("A='x\nB=1\nC=2", Dialect::Dotenv),
            ["?@1", "B=1@2", "C=2@3"]
        );
    }

    #[test]
    fn a_shell_script_is_read_as_a_shell_does() {
        let text = "export A='1' B=\"2\"; C=3\nexport D='it'\\''s'\nE=a\"b\"'c'\\ d\nF=\"x\\\ny\"\nexport PATH\nG=1 && H=2 # why\nI=a#b\nJ=\"a\\nb\"\nK='one\ntwo'\n";
        assert_eq!(
            read(text, Dialect::Shell),
            [
                "A=1@1",
                "B=2@1",
                "C=3@1",
                "D=it's@2",
                "E=abc d@3",
                "F=xy@4",
                "G=1@7",
                "H=2@7",
                "I=a#b@8",
                "J=a\\nb@9",
                "K=one\ntwo@10",
            ]
        );
    }

    #[test]
    fn a_command_of_a_shell_is_not_understood() {
        for (text, expected) in [
            ("A=$(pass show x)", "A?@1"),
            ("A=\"$(pass \"x\")\" && B=1", "A?@1"),
            ("A=`pass x`", "A?@1"),
            ("A=~/key", "A?@1"),
            ("A=$'x'", "A?@1"),
            ("A=1 command", "?@1"),
            ("A=(1 2)", "?@1"),
            ("A=x > file", "?@1"),
            ("source .env", "?@1"),
            ("if true; then", "?@1"),
            ("A = 1", "?@1"),
            ("A='x", "?@1"),
        ] {
            assert_eq!(read(text, Dialect::Shell), [expected], "{text}");
        }
    }

    #[test]
    fn a_json_object_is_read_with_lines_and_doubled_members() {
        let text = "{\n \"A\": \"1\\n\\u00e9\",\n \"B\": 2,\n \"A\": \"3\", \"a-b\": \"x\",\n \"OTHER\": {\"A\": \"4\"}}";
        assert_eq!(
            read(text, Dialect::Json),
            ["A=1\né@2", "B?@3", "A=3@4", "?@4", "OTHER-@5"]
        );
        for bad in [
            "[]",
            "\"canary-text\"",
            "{\"A\": canary}",
            "{\"A\": \"1\"} x",
            "",
        ] {
            let problem = parse(bad, Dialect::Json, &|_| true).err().unwrap();
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn reading_any_text_ends_and_reports_its_lines() {
        let alphabet = [
            "A", "=", "\"", "'", "\\", "\n", " ", "#", "$", "export ", ";", "`", "é",
        ];
        // Every text of up to five pieces.
        for length in 0..=4_u32 {
            for number in 0..alphabet.len().pow(length) {
                let mut rest = number;
                let mut text = String::new();
                for _ in 0..length {
                    text.push_str(alphabet.get(rest % alphabet.len()).unwrap());
                    rest /= alphabet.len();
                }
                for dialect in [Dialect::Dotenv, Dialect::Shell] {
                    let parsed = parse(&text, dialect, &|_| true).unwrap();
                    let lines = text.matches('\n').count() + 1;
                    let all = parsed.variables.iter().map(|variable| variable.line);
                    assert!(
                        all.chain(parsed.other_lines)
                            .all(|line| (1..=lines).contains(&line))
                    );
                }
            }
        }
    }
}
