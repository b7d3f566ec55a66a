//! Imports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `import`: what was found, and what was done with it. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportReport {
    /// The organization.
    pub organization: String,
    /// What was found, by project.
    pub projects: Vec<ProjectReport>,
    /// The files that were found and not read.
    pub skipped: Vec<SkippedFile>,
    /// The keys that several scopes use.
    pub shared: Vec<SharedKey>,
    /// The changes, in order.
    pub changes: Vec<ChangeReport>,
    /// Whether this was a dry run.
    pub dry_run: bool,
    /// Whether the changes were made.
    pub applied: bool,
    /// The variables that can be deleted, because their values are in the home now.
    pub deletable: Vec<VariableName>,
}

/// What was found in a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProjectReport {
    /// The directory or file, or `the environment`.
    pub source: String,
    /// The scope that it is imported into.
    pub scope: String,
    /// Whether the scope existed before.
    pub exists: bool,
    /// The credentials that were found.
    pub credentials: Vec<CredentialReport>,
    /// What looks like a credential and is not imported.
    pub not_imported: Vec<NotImported>,
    /// The lines that could not be understood.
    pub not_understood: Vec<NotUnderstood>,
    /// The files that were found and not read.
    pub skipped: Vec<SkippedFile>,
    /// How many variables belong to no provider.
    pub other_variables: usize,
}

/// A credential that was found, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialReport {
    /// The provider.
    pub provider: String,
    /// The mode: `api-key`.
    pub mode: String,
    /// What happens to it.
    #[serde(flatten)]
    pub outcome: ImportOutcome,
    /// The variables that it was read from.
    pub variables: Vec<VariableUse>,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// Whether the scope gets this credential now; `null` before the changes are made, and
    /// if it was not imported.
    pub granted: Option<bool>,
}

/// What happens to a credential that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum ImportOutcome {
    /// The project inherits the organization's credential, which is the same.
    OptIn,
    /// It is set on the scope itself.
    Own,
    /// The scope has a credential already, which is not replaced.
    AlreadySet(Comparison),
    /// It could not be compared with the organization's.
    NotCompared {
        /// Why.
        reason: String,
    },
}

/// How a credential that was found compares with the one that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "compared")]
pub enum Comparison {
    /// They are the same.
    Same,
    /// They differ.
    Different,
    /// They could not be compared.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A key that several scopes use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SharedKey {
    /// The provider.
    pub provider: String,
    /// The scopes.
    pub scopes: Vec<String>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChangeReport {
    /// What is changed.
    pub change: ChangeKind,
    /// The scope.
    pub scope: String,
    /// The provider, if the change concerns one.
    pub provider: Option<String>,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A scope is added.
    AddScope,
    /// A credential is set.
    SetCredential,
    /// A scope inherits.
    Inherit,
}

/// Where a variable is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// The file; `null` means the environment.
    pub file: Option<String>,
    /// The line in the file.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}"),
            (Some(file), None) => f.write_str(file),
            (None, _) => f.write_str("the environment"),
        }
    }
}

/// A variable that a field is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VariableUse {
    /// Where it is set.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub variable: String,
    /// The field.
    pub field: String,
    /// The value, masked unless it is a URL or a region.
    pub shown: String,
}

/// Names a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VariableName {
    /// Where it is set.
    #[serde(flatten)]
    pub place: Place,
    /// Its name.
    pub variable: String,
}

/// What looks like a credential and is not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotImported {
    /// The provider.
    pub provider: String,
    /// Why.
    pub reason: String,
    /// The variables.
    pub variables: Vec<VariableName>,
}

/// A line that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotUnderstood {
    /// The line.
    #[serde(flatten)]
    pub place: Place,
    /// The variable, if the line sets one.
    pub variable: Option<String>,
    /// Why.
    pub reason: String,
}

/// A file that was found and not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SkippedFile {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}
