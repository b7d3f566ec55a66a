//! Facts and decisions, in the form of the policy contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a policy decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The request.
    pub request: FactsRequest,
    /// The requesting scope first, then its ancestors up to the organization.
    pub chain: Vec<FactsScope>,
}

/// The request as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FactsRequest {
    /// The provider.
    pub provider: String,
    /// The model that the credential is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The name of the credential that the request asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The principal that asks.
    #[serde(default)]
    pub principal: String,
    /// The time of the request.
    pub now_ms: u64,
    /// The attributes of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A scope as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FactsScope {
    /// The path.
    pub path: String,
    /// What the scope inherits from its parent for the provider.
    #[serde(default)]
    pub inheritance: Inheritance,
    /// The default model for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// The credentials for the provider.
    #[serde(default)]
    pub credentials: Vec<FactsCredential>,
    /// The attributes of the scope.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A credential as the policy sees it, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FactsCredential {
    /// The id, which the decision repeats.
    pub id: String,
    /// The name.
    pub name: String,
    /// Whether the credential is enabled. Left out if it is.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Whether the host can open the secret. Left out if it can.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub readable: bool,
    /// When the credential expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Patterns of the models it may be used for; absent means every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The descendants of the scope that share it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sharing: Sharing,
    /// Whether the scopes it is shared with must use it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mandatory: bool,
    /// The priority within the scope; lower goes first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u32,
    /// The attributes of the credential.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// What a scope inherits from its parent for a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Inheritance {
    /// Nothing.
    #[default]
    Isolated,
    /// The parent's credentials, if the scope has none.
    Inherit,
    /// The parent's credentials, also if all of the scope's own are unusable.
    FallBack,
}

/// The descendants of a scope that share a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// All of them.
    #[default]
    All,
    /// None of them.
    None,
    /// Those whose paths match one of these patterns.
    Paths(Vec<String>),
}

/// What a policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decision {
    /// `granted` or `refused`.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What became of each candidate.
    pub trail: Vec<Finding>,
    /// Attributes that the policy added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The request gets a credential.
    Granted(Grant),
    /// The request gets nothing.
    Refused(Refusal),
}

/// The credential that a request gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    /// The id of the credential.
    pub credential: String,
    /// The ids of other usable credentials, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
    /// The effective model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Why a request gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Refusal {
    /// The policy's code.
    pub code: String,
    /// The policy's message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The id of the credential.
    pub credential: String,
    /// The policy's code.
    pub code: String,
    /// Attributes that the policy added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
