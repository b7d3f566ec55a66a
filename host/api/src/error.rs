//! Errors.

use serde::{Deserialize, Serialize};

/// What the program prints on standard error when it fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorOutput {
    /// The error.
    pub error: ErrorBody,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// The kind of error, in kebab case: `refused`, `not-found`, ….
    pub code: String,
    /// The message, one line.
    pub message: String,
    /// Commands or steps that would help.
    pub remedies: Vec<String>,
    /// The policy's own code, if `code` is `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// More about the error, one point each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}
