//! Projects of policies.

use serde::Serialize;

/// A project was created. `policy new`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewPolicy {
    /// The name of the policy.
    pub name: String,
    /// Its programming language.
    pub language: String,
    /// The directory of the project.
    pub directory: String,
    /// The files, relative to the directory.
    pub files: Vec<String>,
}

/// A policy was built. `policy build`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyBuild {
    /// The name of the policy.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The digest of the component.
    pub digest: String,
    /// The size of the component.
    pub bytes: u64,
    /// Whether it is a layer, which is installed over another policy.
    pub is_layer: bool,
    /// The file of the component.
    pub file: String,
}

/// A component is what a fresh build gives. `policy build --check`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildCheck {
    /// The file of the component.
    pub file: String,
    /// Its digest, which a fresh build has too.
    pub digest: String,
}
