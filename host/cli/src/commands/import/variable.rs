//! Variables and their values.

use entail::Secret;
use zeroize::Zeroizing;

/// The reason why an expansion is not understood.
const EXPANDS: &str = "its value has an expansion or a command, and nothing is expanded";

/// The variables of a text.
#[derive(Default)]
pub struct Parsed {
    pub variables: Vec<Variable>,
    /// The lines that are not assignments.
    pub other_lines: Vec<usize>,
}

/// An assignment.
pub struct Variable {
    pub line: usize,
    pub name: String,
    pub value: Value,
}

/// The value of a variable.
pub enum Value {
    Text(Secret),
    /// The variable is not wanted, so the value was not kept.
    Unwanted,
    /// The value is not literal, or not text: the reason.
    NotUnderstood(&'static str),
}

/// A value that is being read. An unwanted one is not kept.
pub struct ValueBuilder {
    text: Option<Zeroizing<String>>,
    /// Whether the value contains an expansion or a command.
    pub expands: bool,
}

impl ValueBuilder {
    /// Reserves room for the longest value in `text`, because a buffer that grows leaves copies
    /// behind.
    pub fn new(is_wanted: bool, text: &str) -> Self {
        ValueBuilder {
            text: is_wanted.then(|| Zeroizing::new(String::with_capacity(text.len()))),
            expands: false,
        }
    }

    /// Appends a character.
    pub fn push(&mut self, character: char) {
        if let Some(text) = &mut self.text {
            text.push(character);
        }
    }

    /// The value, when it is complete.
    pub fn value(self) -> Value {
        match self.text {
            None => Value::Unwanted,
            Some(_) if self.expands => Value::NotUnderstood(EXPANDS),
            Some(text) => Value::Text(Secret::from(text.as_str())),
        }
    }
}
