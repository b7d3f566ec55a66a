//! What a scope holds: its inheritance, its default models, and the metadata of
//! all its credentials, in one signed document, so that none of it can be
//! added, dropped or swapped alone.

use std::collections::BTreeMap;

use entail_policy::{Inheritance, Sharing};
use entail_store::{Binding, Digest, DocumentKey, RECIPIENTS_KIND, RecipientId};
use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::documents::policy::{COMPONENT_KIND, POLICY_KIND};
use crate::documents::retirements::{Grace, SCHEDULE_KIND, Times};
use crate::error::Error;
use entail_decision::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};

/// The most versions of a credential that are kept besides the present one.
const MAX_RETIRED: usize = 8;

/// The most credentials that one scope holds; a policy gets all of a provider's.
const MAX_CREDENTIALS: usize = 200;

/// The most removed credentials that a scope keeps: as many as it may have.
const MAX_REMOVED: usize = 200;

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
    /// Credentials that were removed and can be restored for a while, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
}

impl Scope {
    /// The blobs of all its secrets.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        let versions = self.all_credentials().flat_map(Credential::versions);
        versions.map(|version| version.blob)
    }

    /// Its credentials, and those that were removed and can be restored: all that have
    /// secrets in the store.
    pub fn all_credentials(&self) -> impl Iterator<Item = &Credential> {
        let removed = self.removed.iter().map(|removed| &removed.credential);
        self.credentials.iter().chain(removed)
    }

    pub(crate) fn all_credentials_mut(&mut self) -> impl Iterator<Item = &mut Credential> {
        let removed = self.removed.iter_mut();
        let removed = removed.map(|removed| &mut removed.credential);
        self.credentials.iter_mut().chain(removed)
    }

    /// What it keeps for a while: since when, and until when.
    fn kept(&self) -> impl Iterator<Item = (&ClockReading, u64)> {
        let retired = self.all_credentials().flat_map(|c| &c.retired);
        let removed = self.removed.iter();
        retired
            .map(|retired| (&retired.since, retired.until_ms))
            .chain(removed.map(|removed| (&removed.since, removed.until_ms)))
    }

    /// When the first of what it keeps for a while is to be destroyed.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.kept().map(|(_, until_ms)| until_ms).min()
    }

    /// Whether the time of something that it keeps for a while is over beyond doubt.
    pub(crate) fn has_over(&self, times: &Times<'_>) -> bool {
        self.kept()
            .any(|(since, until_ms)| times.is_over(since, until_ms))
    }

    /// Drops the retired versions and removed credentials whose time is over beyond
    /// doubt; returns their blobs.
    pub(crate) fn drop_over(&mut self, times: &Times<'_>) -> Vec<Digest> {
        let (over, kept): (Vec<Removed>, _) = std::mem::take(&mut self.removed)
            .into_iter()
            .partition(|removed| times.is_over(&removed.since, removed.until_ms));
        self.removed = kept;
        let mut dropped: Vec<Digest> = over.iter().flat_map(Removed::blobs).collect();
        for credential in self.all_credentials_mut() {
            let (over, kept) = std::mem::take(&mut credential.retired)
                .into_iter()
                .partition(|retired: &Retired| times.is_over(&retired.since, retired.until_ms));
            credential.retired = kept;
            dropped.extend(
                over.into_iter()
                    .map(|retired: Retired| retired.version.blob),
            );
        }
        dropped
    }

    /// Refuses one credential more than a scope may have.
    pub(crate) fn check_room(&self, path: &ScopePath) -> Result<(), Error> {
        match self.credentials.len() < MAX_CREDENTIALS {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "{path} holds {MAX_CREDENTIALS} credentials, and no more are allowed in one scope"
            ))),
        }
    }

    /// Takes a credential away. It can be restored during the time of grace, and is
    /// destroyed at once without. Returns until when it is kept, and adds what is to be
    /// destroyed to `destroyed` and what a person should be told to `notes`.
    pub(crate) fn remove(
        &mut self,
        position: usize,
        grace: Option<Grace>,
        destroyed: &mut Vec<Digest>,
        notes: &mut Vec<String>,
    ) -> Option<u64> {
        let credential = self.credentials.remove(position);
        let Some(Grace { since, until_ms }) = grace else {
            destroyed.extend(credential.versions().map(|version| version.blob));
            return None;
        };
        // What it was before was promised a time as well.
        let retired = credential.retired.iter().map(|retired| retired.until_ms);
        let until_ms = retired.fold(until_ms, u64::max);
        let removed = Removed {
            credential,
            since,
            until_ms,
        };
        self.removed.insert(0, removed);
        for surplus in self.removed.split_off(self.removed.len().min(MAX_REMOVED)) {
            notes.push(format!(
                "the removed credential {} for {} is destroyed before its time: at most \
                 {MAX_REMOVED} are kept",
                surplus.credential.name, surplus.credential.provider
            ));
            destroyed.extend(surplus.blobs());
        }
        Some(until_ms)
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

/// A credential that was removed, and can be restored for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// The credential as it was.
    pub credential: Credential,
    /// When it was removed.
    pub since: ClockReading,
    /// When its time is over, in milliseconds since 1970-01-01T00:00:00Z. It is
    /// destroyed after that, once that is not on the word of one clock alone.
    pub until_ms: u64,
}

impl Removed {
    fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.credential.versions().map(|version| version.blob)
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
    /// Whether it goes to another machine of a private network over plain HTTP, which
    /// somebody allowed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsafe_http: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_false(value: &bool) -> bool {
    !value
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
