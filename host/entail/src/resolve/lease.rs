//! Step 7: what a granted request returns: the secret fields, the public parameters and
//! the effective model.

use std::collections::BTreeMap;
use std::fmt;

use entail_policy::PolicyDigest;
use entail_store::{Fields, Revision, Secret};

use crate::resolve::facts::LoadedFacts;
use crate::resolve::unseal::Unsealed;
use entail_decision::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};

/// A granted credential with its secret fields. `Debug` shows no secret; the secrets are
/// overwritten on drop.
pub struct Lease {
    pub(crate) scope: ScopePath,
    pub(crate) provider: ProviderId,
    pub(crate) holder: ScopePath,
    pub(crate) name: CredentialName,
    pub(crate) id: CredentialId,
    pub(crate) version: u32,
    pub(crate) mode: String,
    pub(crate) model: Option<ModelId>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) base_url: Option<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) revision: Revision,
    pub(crate) policy: String,
    pub(crate) secrets: Fields,
}

impl Lease {
    /// Makes the lease of an unsealed credential.
    pub(crate) fn new(
        loaded: &LoadedFacts<'_>,
        policy: PolicyDigest,
        unsealed: Unsealed<'_>,
    ) -> Self {
        let Unsealed {
            scope,
            holder,
            credential,
            ..
        } = unsealed;
        let version = &credential.version;
        Lease {
            scope: scope.clone(),
            provider: loaded.provider.id.clone(),
            holder: holder.clone(),
            name: credential.name.clone(),
            id: credential.id.clone(),
            version: version.number,
            mode: version.mode.clone(),
            model: unsealed.model,
            base_url: unsealed.base_url,
            parameters: version.parameters.clone(),
            hosts: version.hosts.clone(),
            expires_at_ms: credential.rules.expires_at_ms,
            revision: loaded.chain.revision,
            policy: policy.to_string(),
            secrets: unsealed.secrets,
        }
    }

    /// The requesting scope.
    pub fn scope(&self) -> &ScopePath {
        &self.scope
    }

    /// The provider.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The scope that holds the credential.
    pub fn holder(&self) -> &ScopePath {
        &self.holder
    }

    /// The credential's name.
    pub fn name(&self) -> &CredentialName {
        &self.name
    }

    /// The credential's id.
    pub fn id(&self) -> &CredentialId {
        &self.id
    }

    /// The version of the credential, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The mode of the provider that the credential uses.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// The effective model; `None` if neither the request nor a scope names one.
    pub fn model(&self) -> Option<&ModelId> {
        self.model.as_ref()
    }

    /// The public parameters.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// The base URL of the provider's API for this credential, if it is known.
    pub fn base_url(&self) -> Option<&str> {
        self.base_url.as_deref()
    }

    /// The hosts that the secret may be sent to.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// When the credential expires, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.expires_at_ms
    }

    /// The revision of the store that the decision was made on.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The digest of the policy that decided.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The secret field with this name.
    pub fn secret(&self, field: &str) -> Option<&Secret> {
        self.secrets
            .iter()
            .find(|(name, _)| name == field)
            .map(|(_, secret)| secret)
    }

    /// All secret fields.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.secrets
            .iter()
            .map(|(name, secret)| (name.as_str(), secret))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("scope", &self.scope)
            .field("provider", &self.provider)
            .field("holder", &self.holder)
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
