//! What a granted request gets: the secret fields, the public parameters and the
//! effective model, handed over once.

use std::collections::BTreeMap;
use std::fmt;

use entail_store::{Fields, Revision, Secret};

use entail_decision::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};

/// A granted credential, opened. Its `Debug` shows no secret; the secrets are
/// overwritten when it is dropped.
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
    /// The scope that asked.
    pub fn scope(&self) -> &ScopePath {
        &self.scope
    }

    /// Whom the credential is for.
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

    /// Which of the credential's secrets this is, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The mode of the provider that the credential is in.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// The effective model; none when nobody named one.
    pub fn model(&self) -> Option<&ModelId> {
        self.model.as_ref()
    }

    /// The public parameters.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// Where the provider's API is for this credential, if it is known.
    pub fn base_url(&self) -> Option<&str> {
        self.base_url.as_deref()
    }

    /// The hosts that the secret may be sent to.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// When the credential ends, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.expires_at_ms
    }

    /// The revision of the store that was decided on.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The digest of the policy that decided.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The secret field of that name.
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
