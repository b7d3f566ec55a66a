//! Credentials without their secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decision::Sharing;

/// `credential list`: what a scope holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialList {
    /// The scope.
    pub scope: String,
    /// Its credentials.
    pub credentials: Vec<Credential>,
    /// The credentials that were removed and can be restored, the newest first.
    pub removed: Vec<RemovedCredential>,
}

/// `credential show`: a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Credential {
    /// The id, which stays the same when the secret is replaced.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The name, unique for the provider within the scope.
    pub name: String,
    /// Whether the credential is enabled.
    pub enabled: bool,
    /// Patterns of the models it may be used for; `null` means every model.
    pub models: Option<Vec<String>>,
    /// The descendants of the scope that share it.
    pub sharing: Sharing,
    /// Whether the scopes it is shared with must use it.
    pub mandatory: bool,
    /// The priority within the scope; lower goes first.
    pub priority: u32,
    /// When the credential expires.
    pub expires_at_ms: Option<u64>,
    /// Whether the secret may be sent over plain HTTP within a private network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsafe_http: bool,
    /// The active version.
    pub version: Version,
    /// Earlier versions that can be restored, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredVersion>,
    /// The highest number that a version had.
    pub last_version: u32,
}

/// A version of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The number; the first version is 1.
    pub number: u32,
    /// When the version was set.
    pub created_at_ms: u64,
    /// The mode: `api-key`.
    pub mode: String,
    /// The public parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// The names of the secret fields.
    #[serde(default)]
    pub secret_fields: Vec<String>,
    /// The hosts that the secret may be sent to.
    pub hosts: Vec<String>,
    /// The names of the parameters that decide where the secret is sent; it is sealed with them.
    pub destination: Vec<String>,
    /// The digest of the sealed secret.
    pub blob: String,
    /// The epoch of the organization that it is sealed to.
    pub epoch: u32,
}

/// A version that was replaced and is kept for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetiredVersion {
    /// The version.
    pub version: Version,
    /// When it was replaced.
    pub since: ClockReading,
    /// Until when it is kept.
    pub until_ms: u64,
    /// When the credential would have expired with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// A credential that was removed and can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemovedCredential {
    /// The credential.
    pub credential: Credential,
    /// When it was removed.
    pub since: ClockReading,
    /// Until when it is kept.
    pub until_ms: u64,
}

/// The clocks of the machine at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClockReading {
    /// The time of day.
    pub at_ms: u64,
    /// The time since the machine was started, if the system reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
}

/// The time since the machine was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Uptime {
    /// The id of the start; it changes with every start.
    pub boot: String,
    /// Milliseconds since the start.
    pub ms: u64,
}

/// `credential set`, `rotate`, …: a credential was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CredentialChanged {
    /// The scope.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// The name of the credential.
    pub credential: String,
    /// The active version, if the credential still exists.
    pub version: Option<u32>,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// Until when the replaced or removed secret is kept; `null` if none is.
    pub retired_until_ms: Option<u64>,
    /// The version that was replaced, if one was.
    pub replaced: Option<ReplacedVersion>,
    /// The name of the scope's credential that requests get, if the scope has several.
    pub serves: Option<String>,
}

/// A version that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplacedVersion {
    /// The number.
    pub version: u32,
    /// The secret fields by name, masked; empty if they cannot be opened here.
    pub masked: BTreeMap<String, String>,
    /// How many scopes were granted the credential; `null` if that is not known.
    pub used_by: Option<u64>,
}
