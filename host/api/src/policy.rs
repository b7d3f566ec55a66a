//! Policies: installed, active, and the built-in one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// Names a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyReference {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its component: `sha256:…`.
    pub digest: String,
}

/// The built-in policy. `policy show built-in`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuiltInPolicy {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The digest of its component.
    pub digest: String,
    /// The size of its component.
    pub bytes: u64,
    /// The version of the contract that it implements.
    pub contract: String,
}

/// An installed policy. `policy show POLICY`, `policy install`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InstalledPolicy {
    /// The digest of its component.
    pub component: String,
    /// The size of its component.
    pub bytes: u64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The version of the contract that it implements.
    pub contract: String,
    /// The JSON Schema of its settings; missing if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// The limits of its calls, unless an organization sets others.
    pub limits: PolicyLimits,
    /// Where it came from, as given when it was installed.
    pub source: String,
    /// The digest of the policy below, if it is a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Who installed it.
    pub installed_by: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub installed_at_ms: u64,
    /// Whether this was a dry run: then it is not installed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What calls of a policy, and compiling it, may use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyLimits {
    /// The longest time of a call.
    pub deadline_ms: u64,
    /// The most memory of an instance.
    pub memory_bytes: u64,
    /// The most elements of its tables.
    pub table_elements: u64,
    /// The most core instances of the component.
    pub instances: u64,
    /// The most credentials in the facts of a call.
    pub credentials: u64,
    /// The longest result.
    pub result_bytes: u64,
    /// The longest component.
    pub component_bytes: u64,
    /// The most memory for compiling it.
    pub compile_memory_bytes: u64,
    /// The longest processor time for compiling it.
    pub compile_time_ms: u64,
}

/// The policies of a home. `policy list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyList {
    /// The built-in policy.
    pub built_in: BuiltInPolicy,
    /// The installed policies.
    pub installed: Vec<InstalledPolicy>,
    /// The policies of organizations that have set one.
    pub organizations: BTreeMap<String, PolicyHistory>,
}

/// The policy of an organization. `policy show ORG`, `activate`, `rollback`, `shadow`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrganizationPolicy {
    /// The organization.
    pub organization: String,
    /// Its policies.
    #[serde(flatten)]
    pub policies: PolicyHistory,
    /// Whether this was a dry run: then nothing was changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// The active policy of an organization, its shadow, and earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyHistory {
    /// The active policy.
    pub active: PolicyActivation,
    /// Earlier policies, the newest first.
    pub earlier: Vec<PolicyActivation>,
    /// The policy that runs beside the active one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<PolicyActivation>,
}

/// A policy as an organization uses it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyActivation {
    /// The digest of its component; null for the built-in policy.
    pub component: Option<String>,
    /// Its settings.
    pub settings: Map<String, Value>,
    /// The limits of its calls.
    pub limits: PolicyLimits,
    /// What its calls share: `per-call`, `per-organization`.
    pub isolation: String,
    /// Who activated it; empty if nobody did.
    pub activated_by: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z; 0 if nobody did.
    pub activated_at_ms: u64,
}

/// A policy was removed. `policy remove`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemovedPolicy {
    /// The digest of its component.
    pub removed: String,
    /// Organizations that can no longer roll back to it.
    pub loses_rollback: Vec<String>,
    /// Whether this was a dry run: then it is not removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A line of `policy decide` for facts without a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecideError {
    /// Why there is no decision.
    pub error: DecideErrorReason,
}

/// Why facts have no decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecideErrorReason {
    /// The code: that of the policy's error (`invalid-facts`, `other`), as vectors have it;
    /// `policy-failed` if the policy returned no result; `malformed-facts` if the line has no
    /// facts.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
}

/// A component was written. `policy export`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExportedPolicy {
    /// The name of the policy.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of the component.
    pub digest: String,
    /// The size of the component.
    pub bytes: u64,
    /// The file, or the directory of the layout.
    pub path: String,
    /// The digest of the manifest, if it is a layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// The interface of a component. `policy show --wit`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyWit {
    /// What it imports and exports, as WIT.
    pub wit: String,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
}
