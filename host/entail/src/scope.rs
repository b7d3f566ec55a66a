//! What a scope holds: its inheritance, its default models, and the metadata of
//! all its credentials, in one signed document, so that none of it can be
//! added, dropped or swapped alone.

use std::collections::BTreeMap;

use entail_policy::{Inheritance, Sharing};
use entail_store::{Binding, Digest, DocumentKey, RECIPIENTS_KIND, RecipientId};
use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};
use crate::policies::{COMPONENT_KIND, POLICY_KIND};
use crate::retirement::{Grace, SCHEDULE_KIND, Times};

/// The most versions of a credential that are kept besides the present one.
const MAX_RETIRED: usize = 8;

/// The kind of a scope's document.
pub(crate) const SCOPE_KIND: &str = "scope";

/// All kinds of documents that there are besides the scopes': who goes through all
/// documents must not forget one.
pub(crate) const OTHER_KINDS: [&str; 4] =
    [SCHEDULE_KIND, RECIPIENTS_KIND, COMPONENT_KIND, POLICY_KIND];

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
    /// The blobs of all its secrets.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        let versions = self.credentials.iter().flat_map(Credential::versions);
        versions.map(|version| version.blob)
    }

    /// When the first of its retired versions is to be destroyed.
    pub(crate) fn first_due(&self) -> Option<u64> {
        let retired = self.credentials.iter().flat_map(|c| &c.retired);
        retired.map(|retired| retired.until_ms).min()
    }

    /// Whether the time of one of its retired versions is over beyond doubt.
    pub(crate) fn has_over(&self, times: &Times<'_>) -> bool {
        let mut retired = self.credentials.iter().flat_map(|c| &c.retired);
        retired.any(|retired| times.is_over(retired))
    }

    /// Drops the retired versions whose time is over beyond doubt; returns their blobs.
    pub(crate) fn drop_over(&mut self, times: &Times<'_>) -> Vec<Digest> {
        let mut dropped = Vec::new();
        for credential in &mut self.credentials {
            let (over, kept) = std::mem::take(&mut credential.retired)
                .into_iter()
                .partition(|retired| times.is_over(retired));
            credential.retired = kept;
            dropped.extend(
                over.into_iter()
                    .map(|retired: Retired| retired.version.blob),
            );
        }
        dropped
    }

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
    /// What it was before and can be again, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
    /// The highest number that a version had; the next one's is higher.
    pub last_version: u32,
}

impl Credential {
    pub(crate) fn is(&self, provider: &ProviderId, name: &CredentialName) -> bool {
        self.provider == *provider && self.name == *name
    }

    /// Where its sealed secret belongs.
    pub(crate) fn binding(&self, scope: &ScopePath) -> Binding {
        self.binding_of(&self.version, scope)
    }

    /// Where the sealed secret of one of its versions belongs.
    pub(crate) fn binding_of(&self, version: &Version, scope: &ScopePath) -> Binding {
        Binding {
            scope: scope.to_string(),
            credential: self.id.to_string(),
            version: version.number,
            provider: self.provider.to_string(),
            hosts: version.hosts.clone(),
            epoch: version.epoch,
        }
    }

    /// All its versions whose secrets are there, the present one first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        let retired = self.retired.iter().map(|retired| &retired.version);
        std::iter::once(&self.version).chain(retired)
    }

    pub(crate) fn versions_mut(&mut self) -> impl Iterator<Item = &mut Version> {
        let retired = self.retired.iter_mut().map(|retired| &mut retired.version);
        std::iter::once(&mut self.version).chain(retired)
    }

    /// Takes `version` out of service: it stays for a time of grace, or is destroyed at
    /// once without. Answers with what a person should be told.
    pub(crate) fn retire(
        &mut self,
        version: Version,
        expires_at_ms: Option<u64>,
        grace: Option<Grace>,
        destroyed: &mut Vec<Digest>,
    ) -> Option<String> {
        let Some(Grace { since, until_ms }) = grace else {
            destroyed.push(version.blob);
            return None;
        };
        let retired = Retired {
            version,
            since,
            until_ms,
            expires_at_ms,
        };
        self.retired.insert(0, retired);
        let surplus = self.retired.split_off(self.retired.len().min(MAX_RETIRED));
        let note = surplus.first().map(|retired| {
            format!(
                "version {} is destroyed before its time: at most {MAX_RETIRED} are kept",
                retired.version.number
            )
        });
        destroyed.extend(surplus.into_iter().map(|retired| retired.version.blob));
        note
    }
}

/// A version that no longer serves, and is kept for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// The version.
    pub version: Version,
    /// When it was retired.
    pub since: ClockReading,
    /// When its time is over, in milliseconds since 1970-01-01T00:00:00Z. It is
    /// destroyed after that, once that is not on the word of one clock alone.
    pub until_ms: u64,
    /// When the credential would have ended with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
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
