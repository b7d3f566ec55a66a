//! What every scope gets.

use serde::{Deserialize, Serialize};

/// `status`: what each scope gets for each provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// One entry per scope.
    pub status: Vec<ScopeStatus>,
}

/// What a scope gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScopeStatus {
    /// The scope.
    pub scope: String,
    /// One entry per provider.
    pub providers: Vec<ProviderStatus>,
}

/// What a scope gets for a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProviderStatus {
    /// The provider.
    pub provider: String,
    /// Whether the scope is granted a credential.
    pub granted: bool,
    /// Whether the scope or one of its ancestors holds a credential for the provider, if
    /// that is known.
    pub has_credential: Option<bool>,
    /// The scope that holds the granted credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The name of the granted credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The version of the granted credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The effective model, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The kind of error if nothing is granted: `refused` if the policy refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The policy's code, if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The message of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
