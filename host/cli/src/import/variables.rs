//! Reads variables from text: `.env` files, shell scripts, a JSON object.
//!
//! No crate for `.env` files fits: they expand `$NAME`, know no lines, and leave copies of
//! the values in memory. What is read here is what all common readers agree on; where they
//! differ (an expansion, a `#` within a word, a quote that does not end) nothing is
//! guessed, and the place is reported. Nothing is expanded or run.
//!
//! Values are kept only of the variables that are wanted, and no problem repeats one.

use std::borrow::Cow;
use std::fmt;

use entail::Secret;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// No variable has a longer name.
const MAX_NAME_BYTES: usize = 128;

/// How a file writes variables down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    /// `NAME=value`, `NAME="value"`, `NAME='value'`, perhaps after `export`.
    Dotenv,
    /// Assignments as a POSIX shell takes them; other commands are not understood.
    Shell,
    /// One object of strings.
    Json,
}

/// What a text says.
#[derive(Default)]
pub struct Parsed {
    pub variables: Vec<Variable>,
    /// The lines that are no assignments.
    pub other_lines: Vec<usize>,
}

/// One assignment.
pub struct Variable {
    pub line: usize,
    pub name: String,
    pub value: Value,
}

/// What a variable is set to.
pub enum Value {
    Text(Secret),
    /// It is not wanted, so it was not kept.
    Unwanted,
    /// It stands for something else, or is not text: the reason in words.
    NotUnderstood(&'static str),
}

const EXPANDS: &str = "its value has an expansion or a command, and nothing is expanded";

/// Reads a text; keeps the values of the variables that are `wanted`.
///
/// # Errors
///
/// Says what is wrong with a text that cannot be read at all.
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
            // What follows may be understood.
            reader = start;
            reader.skip_line();
            parsed.other_lines.push(start.line);
        }
    }
    Ok(parsed)
}

/// Where reading has come to.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    line: usize,
}

/// A value in the making. An unwanted one is read and not kept.
struct Building {
    text: Option<Zeroizing<String>>,
    expands: bool,
}

impl Building {
    /// Has room for the longest value of `text`, so that no copy stays behind in a buffer
    /// that had to grow.
    fn new(is_wanted: bool, text: &str) -> Self {
        Building {
            text: is_wanted.then(|| Zeroizing::new(String::with_capacity(text.len()))),
            expands: false,
        }
    }

    fn push(&mut self, character: char) {
        if let Some(text) = &mut self.text {
            text.push(character);
        }
    }

    fn value(self) -> Value {
        match self.text {
            None => Value::Unwanted,
            Some(_) if self.expands => Value::NotUnderstood(EXPANDS),
            Some(text) => Value::Text(Secret::from(text.as_str())),
        }
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r')
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.text.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.text = self.text.get(character.len_utf8()..).unwrap_or_default();
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    /// Takes `expected` if it comes next.
    fn take(&mut self, expected: &str) -> bool {
        match self.text.strip_prefix(expected) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blanks(&mut self) {
        self.text = self.text.trim_start_matches(is_blank);
    }

    /// Skips to the end of the line, and past it.
    fn skip_line(&mut self) {
        while self.next().is_some_and(|character| character != '\n') {}
    }

    /// Skips empty lines and comments; returns whether something is left.
    fn skip_blank_lines(&mut self) -> bool {
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return false,
                Some('\n') => drop(self.next()),
                Some('#') => self.skip_line(),
                Some(_) => return true,
            }
        }
    }

    /// Whether nothing more is on the line but a comment, which is skipped.
    fn ends_line(&mut self) -> bool {
        self.skip_blanks();
        match self.peek() {
            None => true,
            Some('\n' | '#') => {
                self.skip_line();
                true
            }
            Some(_) => false,
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let fit = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = self.text.bytes().take_while(fit).count();
        let (name, rest) = self.text.split_at_checked(length)?;
        let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !begins || name.len() > MAX_NAME_BYTES {
            return None;
        }
        self.text = rest;
        Some(name)
    }

    /// Takes `export` and the blanks after it.
    fn take_export(&mut self) -> bool {
        let before = *self;
        if self.take("export") && self.peek().is_some_and(is_blank) {
            self.skip_blanks();
            return true;
        }
        *self = before;
        false
    }

    /// One line of a `.env` file, or more if the value has several. `None` if it is not
    /// understood.
    fn dotenv_statement(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Variable>> {
        let line = self.line;
        self.take_export();
        let name = self.name()?;
        self.skip_blanks();
        if !self.take("=") {
            return None;
        }
        self.skip_blanks();
        let mut building = Building::new(wanted(name), self.text);
        match self.peek() {
            Some('\'') => self.dotenv_single(&mut building)?,
            Some('"') => self.dotenv_double(&mut building)?,
            Some('`') => return None,
            _ => self.dotenv_bare(&mut building)?,
        }
        if !self.ends_line() {
            return None;
        }
        Some(vec![Variable {
            line,
            name: name.to_owned(),
            value: building.value(),
        }])
    }

    fn dotenv_single(&mut self, building: &mut Building) -> Option<()> {
        self.next();
        let mut before = '\'';
        loop {
            match self.next()? {
                // For some readers this escapes the quote, for others it ends the value.
                '\'' if before == '\\' => return None,
                '\'' => return Some(()),
                character => {
                    building.push(character);
                    before = character;
                }
            }
        }
    }

    fn dotenv_double(&mut self, building: &mut Building) -> Option<()> {
        self.next();
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    'n' => building.push('\n'),
                    'r' => building.push('\r'),
                    't' => building.push('\t'),
                    escaped @ ('"' | '\\' | '$' | '`') => building.push(escaped),
                    other => {
                        building.push('\\');
                        building.push(other);
                    }
                },
                character => {
                    building.expands |= matches!(character, '$' | '`');
                    building.push(character);
                }
            }
        }
    }

    /// A value without quotes: to the end of the line or to a comment, less the blanks
    /// around it.
    fn dotenv_bare(&mut self, building: &mut Building) -> Option<()> {
        let end = self.text.find('\n').unwrap_or(self.text.len());
        let (line, rest) = self.text.split_at_checked(end)?;
        let comment = line
            .char_indices()
            .zip(std::iter::once(' ').chain(line.chars()))
            .find(|((_, character), before)| *character == '#' && is_blank(*before))
            .map_or(line.len(), |((at, _), _)| at);
        let value = line.get(..comment)?.trim_matches(is_blank);
        if value.contains('#') {
            // Where the comment begins depends on the reader.
            return None;
        }
        for character in value.chars() {
            building.expands |= matches!(character, '$' | '`');
            building.push(character);
        }
        self.text = rest;
        Some(())
    }

    /// One command of a shell, if it does nothing but set variables.
    fn shell_statement(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Variable>> {
        let mut variables = Vec::new();
        let exports = self.take_export();
        loop {
            let line = self.line;
            let name = self.name()?;
            if self.take("=") {
                let mut building = Building::new(wanted(name), self.text);
                self.shell_word(&mut building)?;
                variables.push(Variable {
                    line,
                    name: name.to_owned(),
                    value: building.value(),
                });
            } else if !exports {
                return None;
            }
            if self.ends_line() || self.take(";") || self.take("&&") {
                return Some(variables);
            }
            // `export A=1 B=2`; without `export`, `A=1 command` sets it for that alone.
            if !exports {
                return None;
            }
        }
    }

    /// A word: quoted and unquoted pieces side by side.
    fn shell_word(&mut self, building: &mut Building) -> Option<()> {
        if matches!(self.peek(), Some('~')) {
            building.expands = true;
        }
        loop {
            match self.peek() {
                None => return Some(()),
                Some(character) if is_blank(character) || "\n;&".contains(character) => {
                    return Some(());
                }
                Some('|' | '<' | '>' | '(' | ')') => return None,
                Some('\'') => {
                    self.next();
                    loop {
                        match self.next()? {
                            '\'' => break,
                            character => building.push(character),
                        }
                    }
                }
                Some('"') => self.shell_double(building)?,
                Some('\\') => {
                    self.next();
                    match self.next()? {
                        '\n' => {}
                        character => building.push(character),
                    }
                }
                Some(_) if self.skip_command(building) => return Some(()),
                Some(character) => {
                    building.expands |= character == '$';
                    building.push(character);
                    self.next();
                }
            }
        }
    }

    /// Skips a command whose output would be the value, and with it the rest of the line:
    /// where it ends takes a shell to tell.
    fn skip_command(&mut self, building: &mut Building) -> bool {
        let is_command = self.text.starts_with("$(") || self.text.starts_with('`');
        if is_command {
            building.expands = true;
            let end = self.text.find('\n').unwrap_or(self.text.len());
            self.text = self.text.get(end..).unwrap_or_default();
        }
        is_command
    }

    fn shell_double(&mut self, building: &mut Building) -> Option<()> {
        self.next();
        loop {
            if self.skip_command(building) {
                return Some(());
            }
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    escaped @ ('"' | '\\' | '$' | '`') => building.push(escaped),
                    other => {
                        building.push('\\');
                        building.push(other);
                    }
                },
                character => {
                    building.expands |= matches!(character, '$' | '`');
                    building.push(character);
                }
            }
        }
    }
}

/// The members of an object in their order, each as it is written. A map would drop all
/// but one of those that have the same name.
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
    // The parser's own message could quote the text.
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
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;

    /// What a text says: `NAME=value@line`, `NAME?@line` for what is not understood,
    /// `?@line` for other lines.
    fn read(text: &str, dialect: Dialect) -> Vec<String> {
        let parsed = parse(text, dialect, &|name| name != "OTHER").unwrap();
        let mut said: Vec<(usize, String)> = parsed
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
        said.extend(
            parsed
                .other_lines
                .iter()
                .map(|line| (*line, format!("?@{line}"))),
        );
        said.sort_by_key(|(line, _)| *line);
        said.into_iter().map(|(_, text)| text).collect()
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
    fn what_readers_disagree_about_is_not_understood() {
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
        // What comes after is read again.
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
    fn whatever_a_text_is_reading_ends_and_knows_its_lines() {
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
