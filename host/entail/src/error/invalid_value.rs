//! A value of a credential that is not valid.

use entail_text::sanitized;

use crate::error::hint::Hint;

/// Why a value is invalid. The message contains no part of a value that could be a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", sanitized(.field), sanitized(.rule))]
pub struct InvalidValue {
    field: String,
    rule: String,
    /// Boxed, to keep errors small.
    hint: Option<Box<Hint>>,
}

impl InvalidValue {
    pub(crate) fn new(field: &str, rule: impl Into<String>) -> Self {
        InvalidValue {
            field: field.to_owned(),
            rule: rule.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = Some(Box::new(hint));
        self
    }

    /// The rule that the value breaks, without the name of the field.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// What would help, if anything in particular does.
    pub fn hint(&self) -> Option<&Hint> {
        self.hint.as_deref()
    }
}
