//! The principals in the journal and in the decision log.

use serde::{Deserialize, Serialize};

/// `principal list`: the principals that were not erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrincipalList {
    /// The principals, each once.
    pub principals: Vec<Principal>,
}

/// Who made changes, or requested credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Principal {
    /// The principal in canonical form: `local:owner`.
    pub principal: String,
    /// The kind: `local`, `project`.
    pub kind: String,
    /// Who vouches for it; empty if that is the home itself.
    pub issuer: String,
    /// What identifies it to its issuer.
    pub subject: String,
    /// Its ids in the journal.
    pub journal: Vec<String>,
    /// Its ids in the decision log of this home.
    pub log: Vec<String>,
}

/// `principal erase`: the name of a principal was erased. Its ids stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrincipalErased {
    /// Its ids in the journal.
    pub journal: Vec<String>,
    /// Its ids in the decision log of this home.
    pub log: Vec<String>,
}
