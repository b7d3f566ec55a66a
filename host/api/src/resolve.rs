//! Leases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `resolve`: the credential that a scope gets for a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lease {
    /// The scope that asked.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// The scope that holds the credential.
    pub holder: String,
    /// The name of the credential.
    pub credential: String,
    /// The id of the credential, which stays the same when the secret is replaced.
    pub id: String,
    /// The version of the credential.
    pub version: u32,
    /// The mode of the credential: `api-key`.
    pub mode: String,
    /// The effective model, if one is known.
    pub model: Option<String>,
    /// The URL of the provider's API, if it is known.
    pub base_url: Option<String>,
    /// The hosts that the secret may be sent to.
    pub hosts: Vec<String>,
    /// When the credential expires.
    pub expires_at_ms: Option<u64>,
    /// The public parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// The secret fields by name: masked, or the values with `--reveal`.
    pub secrets: BTreeMap<String, String>,
    /// The revision of the store that was decided on.
    pub revision: u64,
    /// The digest of the policy that decided.
    pub policy: String,
}
