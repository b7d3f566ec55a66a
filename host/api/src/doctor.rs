//! The checks of `doctor`.

use serde::{Deserialize, Serialize};

/// `doctor`: all checks, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Checks {
    /// The checks.
    pub checks: Vec<Check>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// What is fine, or what the check was about if it failed.
    pub what: String,
    /// Whether the check passed.
    pub ok: bool,
    /// The kind of error.
    pub code: Option<String>,
    /// What is wrong.
    pub message: Option<String>,
    /// Commands or steps that would help.
    pub remedies: Option<Vec<String>>,
}
