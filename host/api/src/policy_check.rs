//! Checks of components.

use serde::Serialize;
use serde_json::Value;

use super::policy::PolicyLimits;

/// Whether a component would be admitted. `policy check`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyCheck {
    /// Whether it is admitted.
    pub admitted: bool,
    /// What is wrong with it; empty if it can be installed and works.
    pub problems: Vec<ComponentProblem>,
    /// What it is and needs, if it works.
    #[serde(flatten)]
    pub policy: Option<CheckedPolicy>,
}

/// Something that is wrong with a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ComponentProblem {
    /// The kind: `not-a-component`, `import`, `contract`, `description`, `schema`,
    /// `settings`, `limit`, `call`, `engine`.
    pub code: String,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What a component is and needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckedPolicy {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Its digest.
    pub digest: String,
    /// The version of the contract that it implements.
    pub contract: String,
    /// The JSON Schema of its settings; null if it has none.
    pub schema: Option<Value>,
    /// Its size.
    pub bytes: u64,
    /// How long admission took, in microseconds.
    pub admission_us: u64,
    /// Whether it was compiled for this check; else it was compiled earlier.
    pub compiled: bool,
    /// How long the first call took.
    pub trial_call_us: u64,
    /// The median time of a call in a fresh instance.
    pub fresh_call_us: u64,
    /// The median time of a call in a warm instance.
    pub warm_call_us: u64,
    /// The memory that the first call used.
    pub memory_bytes: u64,
    /// The table elements that it has.
    pub table_elements: u64,
    /// Its limits.
    pub limits: PolicyLimits,
    /// What may not work on a busier machine or for larger facts.
    pub warnings: Vec<String>,
}
