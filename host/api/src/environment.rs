//! The variables of a command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `export-env`: the changes to the environment of a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvironmentChanges {
    /// The variables to unset.
    pub unset: Vec<String>,
    /// The variables to set, secrets included. Those that would name a file are left out.
    pub variables: BTreeMap<String, String>,
}
