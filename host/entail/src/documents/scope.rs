//! The document of a scope: its inheritance, its default models, and the metadata of all
//! its credentials. It is signed as a whole, so that no part can be added, dropped or
//! swapped alone.

use std::collections::BTreeMap;

use entail_policy::{Inheritance, Sharing};
use entail_store::{
    Digest, DocumentKey, Fault, Keyring, RandomId, Readers, SealContext, Tampering,
};
use serde::{Deserialize, Serialize};

use crate::clock::ClockReading;
use crate::documents::retirements::{Grace, Times};
use crate::error::Error;
use entail_decision::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath};

/// The most retired versions of a credential that are kept.
const MAX_RETIRED: usize = 8;

/// The most credentials of one scope; a policy gets all of a provider's.
const MAX_CREDENTIALS: usize = 200;

/// The most removed credentials that a scope keeps: as many as it may have.
const MAX_REMOVED: usize = 200;

/// The kind of a scope's document.
pub(crate) const SCOPE_KIND: &str = "scope";

/// The readers of the organization of a scope.
pub(crate) fn readers<'a>(
    keyring: &'a Keyring,
    scope: &ScopePath,
) -> Result<&'a Readers, Tampering> {
    let organization = scope.organization();
    keyring.readers(organization.as_str()).ok_or_else(|| {
        let what = format!("the organization {organization}");
        Tampering::new(Fault::Missing, what, "has no readers in the keyring")
    })
}

pub(crate) fn document_key(path: &ScopePath) -> DocumentKey {
    DocumentKey::new(SCOPE_KIND, path.as_str())
}

/// An organization or a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The inheritance for providers that `inheritance` does not name.
    #[serde(default)]
    pub default_inheritance: Inheritance,
    /// The inheritance by provider: whether the parent's credentials are used.
    #[serde(default)]
    pub inheritance: BTreeMap<ProviderId, Inheritance>,
    /// The default models by provider, for requests that name none.
    #[serde(default)]
    pub models: BTreeMap<ProviderId, ModelId>,
    /// Its credentials.
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// Removed credentials that can be restored for a while, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedCredential>,
}

impl Scope {
    /// The blobs of all its secrets.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        let versions = self.all_credentials().flat_map(Credential::versions);
        versions.map(|version| version.blob)
    }

    /// Its credentials and its removed ones: all that have secrets in the store.
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

    /// When the first retired version or removed credential is due to be destroyed.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.kept().map(|(_, until_ms)| until_ms).min()
    }

    /// Whether the grace period of a retired version or removed credential is certainly
    /// over.
    pub(crate) fn has_destroyable(&self, times: &Times<'_>) -> bool {
        self.kept()
            .any(|(since, until_ms)| times.is_over(since, until_ms))
    }

    /// Drops the retired versions and removed credentials whose grace period is certainly over.
    /// Returns their blobs.
    pub(crate) fn drop_destroyable(&mut self, times: &Times<'_>) -> Vec<Digest> {
        let (over, kept): (Vec<RemovedCredential>, _) = std::mem::take(&mut self.removed)
            .into_iter()
            .partition(|removed| times.is_over(&removed.since, removed.until_ms));
        self.removed = kept;
        let mut dropped: Vec<Digest> = over.iter().flat_map(RemovedCredential::blobs).collect();
        for credential in self.all_credentials_mut() {
            let (over, kept) = std::mem::take(&mut credential.retired)
                .into_iter()
                .partition(|retired: &RetiredVersion| {
                    times.is_over(&retired.since, retired.until_ms)
                });
            credential.retired = kept;
            dropped.extend(
                over.into_iter()
                    .map(|retired: RetiredVersion| retired.version.blob),
            );
        }
        dropped
    }

    /// Checks that the scope may hold one more credential.
    pub(crate) fn check_room(&self, path: &ScopePath) -> Result<(), Error> {
        if self.credentials.len() < MAX_CREDENTIALS {
            Ok(())
        } else {
            Err(Error::Invalid(format!(
                "{path} holds {MAX_CREDENTIALS} credentials, and no more are allowed in one scope"
            )))
        }
    }

    /// Removes a credential. It can be restored during the grace period; without one it is
    /// destroyed at once. Returns until when it is kept, adds the blobs to destroy to
    /// `destroyed`, and notes for the user to `notes`.
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
        // Its retired versions have their own times.
        let retired = credential.retired.iter().map(|retired| retired.until_ms);
        let until_ms = retired.fold(until_ms, u64::max);
        let removed = RemovedCredential {
            credential,
            since,
            until_ms,
        };
        self.removed.insert(0, removed);
        for surplus in self.removed.split_off(self.removed.len().min(MAX_REMOVED)) {
            notes.push(format!(
                "the removed credential {} for {} is destroyed early: at most \
                 {MAX_REMOVED} are kept",
                surplus.credential.name, surplus.credential.provider
            ));
            destroyed.extend(surplus.blobs());
        }
        Some(until_ms)
    }

    /// The inheritance for a provider.
    pub fn inheritance(&self, provider: &ProviderId) -> Inheritance {
        self.inheritance
            .get(provider)
            .copied()
            .unwrap_or(self.default_inheritance)
    }

    /// The credential with this name for a provider.
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

/// A credential, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Stays the same when the secret is rotated.
    pub id: CredentialId,
    /// The provider.
    pub provider: ProviderId,
    /// Its name, unique for the provider within the scope.
    pub name: CredentialName,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Who may use it, and for what.
    #[serde(flatten)]
    pub rules: Rules,
    /// The current version.
    pub version: Version,
    /// Retired versions that can be reactivated, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RetiredVersion>,
    /// The highest version number so far.
    pub last_version: u32,
}

impl Credential {
    pub(crate) fn is(&self, provider: &ProviderId, name: &CredentialName) -> bool {
        self.provider == *provider && self.name == *name
    }

    /// The context that its secret is sealed for.
    pub(crate) fn seal_context(&self, scope: &ScopePath, store: RandomId) -> SealContext {
        self.seal_context_of(&self.version, scope, store)
    }

    /// The context that the secret of one of its versions is sealed for.
    pub(crate) fn seal_context_of(
        &self,
        version: &Version,
        scope: &ScopePath,
        store: RandomId,
    ) -> SealContext {
        let mut fields = version.secret_fields.clone();
        fields.sort();
        SealContext {
            store,
            scope: scope.to_string(),
            credential: self.id.to_string(),
            version: version.number,
            provider: self.provider.to_string(),
            mode: version.mode.clone(),
            hosts: version.hosts.clone(),
            destination: version.destination_digest(),
            epoch: version.epoch,
            fields,
        }
    }

    /// All its versions with a secret in the store, the current one first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        let retired = self.retired.iter().map(|retired| &retired.version);
        std::iter::once(&self.version).chain(retired)
    }

    pub(crate) fn versions_mut(&mut self) -> impl Iterator<Item = &mut Version> {
        let retired = self.retired.iter_mut().map(|retired| &mut retired.version);
        std::iter::once(&mut self.version).chain(retired)
    }

    /// Retires `version`: it is kept for the grace period; without one it is destroyed at
    /// once. Returns a note for the user.
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
        let retired = RetiredVersion {
            version,
            since,
            until_ms,
            expires_at_ms,
        };
        self.retired.insert(0, retired);
        let surplus = self.retired.split_off(self.retired.len().min(MAX_RETIRED));
        let note = surplus.first().map(|retired| {
            format!(
                "version {} is destroyed early: at most {MAX_RETIRED} are kept",
                retired.version.number
            )
        });
        destroyed.extend(surplus.into_iter().map(|retired| retired.version.blob));
        note
    }
}

/// A removed credential that can be restored for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovedCredential {
    /// The credential.
    pub credential: Credential,
    /// When it was removed.
    pub since: ClockReading,
    /// Until when it is kept, in milliseconds since 1970-01-01T00:00:00Z. It is destroyed
    /// later, once more than one clock reading confirms that.
    pub until_ms: u64,
}

impl RemovedCredential {
    fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.credential.versions().map(|version| version.blob)
    }
}

/// A version that was replaced and is kept for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredVersion {
    /// The version.
    pub version: Version,
    /// When it was retired.
    pub since: ClockReading,
    /// Until when it is kept, in milliseconds since 1970-01-01T00:00:00Z. It is destroyed
    /// later, once more than one clock reading confirms that.
    pub until_ms: u64,
    /// The expiry of the credential with this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// Who may use a credential, and for what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The models it may be used for, as patterns; `None` means every model, an empty list
    /// none.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// The descendants of its scope that it is shared with.
    #[serde(default)]
    pub sharing: Sharing,
    /// Whether those it is shared with must use it instead of their own.
    #[serde(default)]
    pub mandatory: bool,
    /// Its priority within its scope: lower comes first.
    #[serde(default)]
    pub priority: u32,
    /// When it expires, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// Whether it may be sent to another machine of a private network over plain HTTP.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsafe_http: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_false(value: &bool) -> bool {
    !value
}

/// A version of a credential: its sealed secret and parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Counts up from 1.
    pub number: u32,
    /// When it was set, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_at_ms: u64,
    /// The mode of the provider.
    pub mode: String,
    /// The public parameters.
    pub parameters: BTreeMap<String, String>,
    /// The names of the sealed fields.
    #[serde(default)]
    pub secret_fields: Vec<String>,
    /// The hosts it may be sent to, sealed with the secret.
    pub hosts: Vec<String>,
    /// The names of the parameters that decide where it is sent, sorted. Their values are
    /// sealed with the secret, also that they have none.
    pub destination: Vec<String>,
    /// The sealed secret.
    pub blob: Digest,
    /// The epoch of the organization that it is sealed to.
    pub epoch: u32,
}

impl Version {
    /// The digest of the parameters that decide where the secret is sent: a JSON object with
    /// all their names in order, and `null` for those without a value.
    pub fn destination_digest(&self) -> Digest {
        let destination: BTreeMap<&String, Option<&String>> = self
            .destination
            .iter()
            .map(|name| (name, self.parameters.get(name)))
            .collect();
        // Texts always serialize.
        Digest::of(&serde_json::to_vec(&destination).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_fixed_by_its_parameters_and_their_names() {
        let version = Version {
            number: 1,
            created_at_ms: 0,
            mode: "api-key".to_owned(),
            parameters: [("region".to_owned(), "eu".to_owned())].into(),
            secret_fields: Vec::new(),
            hosts: Vec::new(),
            destination: vec!["endpoint".to_owned(), "region".to_owned()],
            blob: Digest::of(b""),
            epoch: 1,
        };
        let digest = version.destination_digest();
        assert_eq!(digest, Digest::of(br#"{"endpoint":null,"region":"eu"}"#));
        let edits: [fn(&mut Version); 4] = [
            |version| {
                let endpoint = ("endpoint".to_owned(), "https://example.com".to_owned());
                version.parameters.extend([endpoint]);
            },
            |version| drop(version.parameters.remove("region")),
            |version| drop(version.destination.remove(0)),
            |version| version.destination.push("zone".to_owned()),
        ];
        for edit in edits {
            let mut other = version.clone();
            edit(&mut other);
            assert_ne!(other.destination_digest(), digest);
        }
        let mut same = version;
        let project = ("project".to_owned(), "p1".to_owned());
        same.parameters.extend([project]);
        assert_eq!(same.destination_digest(), digest);
    }
}
