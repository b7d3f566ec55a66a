//! Organizations, projects, and what they inherit.

use serde::{Deserialize, Serialize};

use super::decision::Inheritance;
use super::status::Status;

/// `init`: an organization was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrganizationCreated {
    /// The organization.
    pub organization: String,
    /// The directory of the home.
    pub home: String,
    /// Whether the home was created too.
    pub home_created: bool,
    /// Whether this was a dry run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// `project add`: a project was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProjectCreated {
    /// The project.
    pub project: String,
}

/// `project remove`: a project was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProjectRemoved {
    /// The project.
    pub removed: String,
}

/// `project list`: the scopes, parents before their children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Scopes {
    /// The paths of the scopes.
    pub scopes: Vec<String>,
}

/// `inherit`: what a scope inherits was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InheritanceSet {
    /// The scope.
    pub scope: String,
    /// The provider; `null` means every provider.
    pub provider: Option<String>,
    /// What the scope inherits now.
    pub inheritance: Inheritance,
    /// Why the scope still gets no credential by inheriting; `null` if it gets one, or if
    /// it was not checked.
    pub no_effect_yet: Option<String>,
}

/// `model`: the default model of a scope was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelSet {
    /// The scope.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// The default model; `null` if the setting was removed.
    pub model: Option<String>,
}

/// `dev`: a throwaway organization was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DevHome {
    /// The directory of its home.
    pub home: String,
    /// The providers whose keys were found in the environment.
    pub keys_from_environment: Vec<String>,
    /// What each scope gets.
    pub matrix: Status,
}
