//! The principals in the journal.

use serde::{Deserialize, Serialize};

/// `principal list`: the principals that were not erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrincipalList {
    /// The principals, in the order of their ids.
    pub principals: Vec<Principal>,
}

/// Who made changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Principal {
    /// The id in the journal.
    pub id: String,
    /// The principal in canonical form: `local:owner`.
    pub principal: String,
    /// The kind: `local`, `project`.
    pub kind: String,
    /// Who vouches for it; empty if that is the home itself.
    pub issuer: String,
    /// What identifies it to its issuer.
    pub subject: String,
}

/// `principal erase`: the name of a principal was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrincipalErased {
    /// The id, which stays in the journal.
    pub erased: String,
}
