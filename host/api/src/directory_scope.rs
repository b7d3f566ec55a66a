//! The scope of a directory.

use serde::{Deserialize, Serialize};

/// `use`: the scope that commands use in this directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DirectoryScope {
    /// The scope; `null` if neither the variable nor a file sets one.
    pub scope: Option<String>,
    /// What sets it.
    pub source: Option<ScopeSource>,
    /// The file that sets it.
    pub file: Option<String>,
    /// Whether commands use it.
    pub allowed: bool,
}

/// What sets the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ScopeSource {
    /// The variable `ENTAIL_SCOPE`.
    Variable,
    /// A file `.entail.toml`.
    File,
}
