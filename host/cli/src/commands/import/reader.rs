//! Reads assignments of `.env` files and shell scripts.

use super::variable::{ValueBuilder, Variable};

/// The maximum length of the name of a variable.
const MAX_NAME_BYTES: usize = 128;

/// The rest of a text, and the number of its first line.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub text: &'a str,
    pub line: usize,
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

    /// Skips `expected` if it comes next. Returns whether it did.
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

    /// Skips the rest of the line and its end.
    pub fn skip_line(&mut self) {
        while self.next().is_some_and(|character| character != '\n') {}
    }

    /// Skips empty lines and comments. Returns whether something is left.
    pub fn skip_blank_lines(&mut self) -> bool {
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

    /// Skips the rest of the line if it is empty or a comment. Returns whether it was.
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

    /// Reads the name of a variable.
    pub fn name(&mut self) -> Option<&'a str> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = self.text.bytes().take_while(is_allowed).count();
        let (name, rest) = self.text.split_at_checked(length)?;
        let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !begins || name.len() > MAX_NAME_BYTES {
            return None;
        }
        self.text = rest;
        Some(name)
    }

    /// Skips `export` and the blanks after it.
    fn take_export(&mut self) -> bool {
        let before = *self;
        if self.take("export") && self.peek().is_some_and(is_blank) {
            self.skip_blanks();
            return true;
        }
        *self = before;
        false
    }

    /// Reads an assignment of a `.env` file, which has several lines if the value does. `None`
    /// if it is not understood.
    pub fn dotenv_statement(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Variable>> {
        let line = self.line;
        self.take_export();
        let name = self.name()?;
        self.skip_blanks();
        if !self.take("=") {
            return None;
        }
        self.skip_blanks();
        let mut builder = ValueBuilder::new(wanted(name), self.text);
        match self.peek() {
            Some('\'') => self.dotenv_single(&mut builder)?,
            Some('"') => self.dotenv_double(&mut builder)?,
            Some('`') => return None,
            _ => self.dotenv_bare(&mut builder)?,
        }
        if !self.ends_line() {
            return None;
        }
        Some(vec![Variable {
            line,
            name: name.to_owned(),
            value: builder.value(),
        }])
    }

    fn dotenv_single(&mut self, builder: &mut ValueBuilder) -> Option<()> {
        self.next();
        let mut before = '\'';
        loop {
            match self.next()? {
                // Some readers take this for an escaped quote, others for the end.
                '\'' if before == '\\' => return None,
                '\'' => return Some(()),
                character => {
                    builder.push(character);
                    before = character;
                }
            }
        }
    }

    fn dotenv_double(&mut self, builder: &mut ValueBuilder) -> Option<()> {
        self.next();
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    'n' => builder.push('\n'),
                    'r' => builder.push('\r'),
                    't' => builder.push('\t'),
                    escaped @ ('"' | '\\' | '$' | '`') => builder.push(escaped),
                    other => {
                        builder.push('\\');
                        builder.push(other);
                    }
                },
                character => {
                    builder.expands |= matches!(character, '$' | '`');
                    builder.push(character);
                }
            }
        }
    }

    /// Reads a value without quotes: to the end of the line or to a comment, without blanks
    /// around it.
    fn dotenv_bare(&mut self, builder: &mut ValueBuilder) -> Option<()> {
        let end = self.text.find('\n').unwrap_or(self.text.len());
        let (line, rest) = self.text.split_at_checked(end)?;
        let comment = line
            .char_indices()
            .zip(std::iter::once(' ').chain(line.chars()))
            .find(|((_, character), before)| *character == '#' && is_blank(*before))
            .map_or(line.len(), |((at, _), _)| at);
        let value = line.get(..comment)?.trim_matches(is_blank);
        if value.contains('#') {
            // Readers differ about where the comment begins.
            return None;
        }
        for character in value.chars() {
            builder.expands |= matches!(character, '$' | '`');
            builder.push(character);
        }
        self.text = rest;
        Some(())
    }

    /// Reads a command of a shell if it only sets variables.
    pub fn shell_statement(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<Variable>> {
        let mut variables = Vec::new();
        let exports = self.take_export();
        loop {
            let line = self.line;
            let name = self.name()?;
            if self.take("=") {
                let mut builder = ValueBuilder::new(wanted(name), self.text);
                self.shell_word(&mut builder)?;
                variables.push(Variable {
                    line,
                    name: name.to_owned(),
                    value: builder.value(),
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

    /// Reads a word: adjacent quoted and unquoted pieces.
    fn shell_word(&mut self, builder: &mut ValueBuilder) -> Option<()> {
        if matches!(self.peek(), Some('~')) {
            builder.expands = true;
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
                            character => builder.push(character),
                        }
                    }
                }
                Some('"') => self.shell_double(builder)?,
                Some('\\') => {
                    self.next();
                    match self.next()? {
                        '\n' => {}
                        character => builder.push(character),
                    }
                }
                Some(_) if self.skip_command(builder) => return Some(()),
                Some(character) => {
                    builder.expands |= character == '$';
                    builder.push(character);
                    self.next();
                }
            }
        }
    }

    /// Skips a command whose output would be the value, and the rest of the line, because only
    /// a shell can tell where the command ends.
    fn skip_command(&mut self, builder: &mut ValueBuilder) -> bool {
        let is_command = self.text.starts_with("$(") || self.text.starts_with('`');
        if is_command {
            builder.expands = true;
            let end = self.text.find('\n').unwrap_or(self.text.len());
            self.text = self.text.get(end..).unwrap_or_default();
        }
        is_command
    }

    fn shell_double(&mut self, builder: &mut ValueBuilder) -> Option<()> {
        self.next();
        loop {
            if self.skip_command(builder) {
                return Some(());
            }
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    escaped @ ('"' | '\\' | '$' | '`') => builder.push(escaped),
                    other => {
                        builder.push('\\');
                        builder.push(other);
                    }
                },
                character => {
                    builder.expands |= matches!(character, '$' | '`');
                    builder.push(character);
                }
            }
        }
    }
}
