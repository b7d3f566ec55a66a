//! What a scope holds: its inheritance, its default models, and the metadata of
//! all its credentials, in one signed document, so that none of it can be
//! added, dropped or swapped alone.

use std::collections::BTreeMap;

use entail_policy::{Inheritance, Sharing};
use entail_store::{Binding, Digest, DocumentKey, RecipientId};
use serde::{Deserialize, Serialize};

use crate::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};

/// The kind of a scope's document.
pub(crate) const SCOPE_KIND: &str = "scope";

pub(crate) fn document_key(path: &ScopePath) -> DocumentKey {
    DocumentKey::new(SCOPE_KIND, path.as_str())
}

/// An organization or a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// What it does about providers that `inheritance` does not name.
    #[serde(default)]
    pub default_inheritance: Inheritance,
    /// What it does about each provider, toward its parent.
    #[serde(default)]
    pub inheritance: BTreeMap<ProviderId, Inheritance>,
    /// The models it sets where a request names none.
    #[serde(default)]
    pub models: BTreeMap<ProviderId, ModelId>,
    /// Its credentials.
    #[serde(default)]
    pub credentials: Vec<Credential>,
}

impl Scope {
    /// What it does about a provider, toward its parent.
    pub fn inheritance(&self, provider: &ProviderId) -> Inheritance {
        self.inheritance
            .get(provider)
            .copied()
            .unwrap_or(self.default_inheritance)
    }

    /// The credential of that name for a provider.
    pub fn credential(&self, provider: &ProviderId, name: &CredentialName) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|credential| credential.is(provider, name))
    }

    /// Its credentials for a provider.
    pub fn credentials_for(&self, provider: &ProviderId) -> impl Iterator<Item = &Credential> {
        self.credentials
            .iter()
            .filter(move |credential| credential.provider == *provider)
    }
}

/// What a scope holds for a provider, less the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Stays the same through renewals of the secret.
    pub id: CredentialId,
    /// Whom it is for.
    pub provider: ProviderId,
    /// Its name, unique for the provider within the scope.
    pub name: CredentialName,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Who may use it, and for what.
    #[serde(flatten)]
    pub rules: Rules,
    /// What it is now.
    pub version: Version,
}

impl Credential {
    pub(crate) fn is(&self, provider: &ProviderId, name: &CredentialName) -> bool {
        self.provider == *provider && self.name == *name
    }

    /// Where its sealed secret belongs.
    pub(crate) fn binding(&self, scope: &ScopePath) -> Binding {
        Binding {
            scope: scope.to_string(),
            credential: self.id.to_string(),
            version: self.version.number,
            provider: self.provider.to_string(),
            hosts: self.version.hosts.clone(),
            epoch: self.version.epoch,
        }
    }
}

/// Who may use a credential, and for what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The models it may be used for, as patterns; none means every model, an
    /// empty list no model.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// With which descendants of its scope it is shared.
    #[serde(default)]
    pub sharing: Sharing,
    /// Whether those it is shared with must use it rather than their own.
    #[serde(default)]
    pub mandatory: bool,
    /// Its place within its scope: the lower goes first.
    #[serde(default)]
    pub priority: u32,
    /// When it ends, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
}

/// One secret of a credential, and what goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Counts from 1, never back.
    pub number: u32,
    /// When it was set, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_at_ms: u64,
    /// The mode of the provider that it is in.
    pub mode: String,
    /// The public parameters.
    pub parameters: BTreeMap<String, String>,
    /// The names of the fields that are sealed.
    #[serde(default)]
    pub secret_fields: Vec<String>,
    /// The hosts it may be sent to, as sealed with the secret.
    pub hosts: Vec<String>,
    /// The sealed secret.
    pub blob: Digest,
    /// Who it is sealed to.
    pub sealed_to: Vec<RecipientId>,
    /// Counts the generations of keys that secrets are sealed to.
    pub epoch: u32,
}
