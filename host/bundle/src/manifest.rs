//! What a bundle says, and what its signature covers.

use std::collections::BTreeMap;

use entail_decision::ScopeFacts;
use entail_decision::name::ScopePath;
use entail_decision::provider::Provider;
use entail_text::objects;
use entail_text::strict::{self, unique_map};
use serde::{Deserialize, Serialize};

use crate::error::{BundleError, malformed, not_the_form};

/// The newest version that this program reads, and the one that it writes.
pub const VERSION: u32 = 1;

/// The largest integer that every reader of JSON represents exactly: 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The most JSON values in a manifest: enough for 10,000 scopes with three credentials for each of
/// two providers.
const MAX_VALUES: usize = 4_000_000;

/// The type, as in all signed statements.
const KIND: &str = "bundle";

/// The names of all members.
const MEMBERS: [&str; 15] = [
    "type",
    "version",
    "critical",
    "store",
    "lineage",
    "organization",
    "revision",
    "checkpoint",
    "issued_at_ms",
    "expires_at_ms",
    "policy",
    "recipients",
    "scopes",
    "providers",
    "secrets",
];

/// What a bundle says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `bundle`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the format.
    pub version: u32,
    /// The members that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
    /// The id of the store, in hexadecimal digits.
    pub store: String,
    /// The lineage of the store, in hexadecimal digits.
    pub lineage: String,
    /// The organization.
    pub organization: ScopePath,
    /// The revision of the store that the facts are from.
    pub revision: u64,
    /// The SHA-256 of the checkpoint of that revision, in hexadecimal digits.
    pub checkpoint: String,
    /// When it was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub issued_at_ms: u64,
    /// From when on it resolves nothing, in milliseconds since 1970-01-01T00:00:00Z.
    pub expires_at_ms: u64,
    /// The policy that decides.
    pub policy: PolicyVersion,
    /// The age recipients that the secrets are sealed to.
    pub recipients: Vec<String>,
    /// The scopes that may request, in order.
    pub scopes: Vec<ScopePath>,
    /// The facts, by provider.
    pub providers: Vec<ProviderFacts>,
    /// The secrets that some request of one of the scopes can be granted, by the id of the
    /// credential.
    #[serde(deserialize_with = "unique_map")]
    pub secrets: BTreeMap<String, SealedSecret>,
}

/// Which policy decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersion {
    /// The digest of the component: `sha256:` and hexadecimal digits.
    pub digest: String,
    /// The version of the contract.
    pub contract: String,
}

/// The facts of the scopes for one provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderFacts {
    /// The provider, as in a file of providers.
    pub provider: Provider,
    /// The scopes that may request, and all above them.
    pub scopes: Vec<ScopeFacts>,
}

/// A secret that is sealed to the recipients of the bundle, and what may be known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSecret {
    /// The digest of the age file: `sha256:` and hexadecimal digits.
    pub blob: String,
    /// What the file must say that it is for.
    pub frame: Frame,
    /// The public parameters.
    #[serde(deserialize_with = "unique_map")]
    pub parameters: BTreeMap<String, String>,
    /// The names of the parameters that decide where the secret is sent, sorted. The digest of
    /// their values is in the frame.
    pub destination: Vec<String>,
    /// The base URL of the provider's API, if it is known. Its host is one of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
}

/// What a secret is sealed for. The frame inside the age file says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// The store.
    pub store: String,
    /// The scope that holds the credential.
    pub scope: ScopePath,
    /// The id of the credential.
    pub credential: String,
    /// The version of the credential, from 1.
    pub version: u32,
    /// The provider.
    pub provider: String,
    /// The mode of the provider.
    pub mode: String,
    /// The hosts that it may be sent to, sorted.
    pub hosts: Vec<String>,
    /// The SHA-256 of the parameters that decide where it is sent.
    pub destination: String,
    /// Always 0: it is sealed to the recipients themselves.
    pub epoch: u32,
    /// The names of its fields, sorted.
    pub fields: Vec<String>,
}

impl Manifest {
    /// The members `type` and `version` of a manifest that is made now.
    pub fn kind() -> String {
        KIND.to_owned()
    }

    /// Parses the signed bytes.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct FormVersion {
            version: u32,
            #[serde(default)]
            critical: Vec<String>,
        }
        let form: FormVersion =
            strict::from_slice_within(payload, MAX_VALUES).map_err(not_the_form)?;
        let is_known = |member: &String| MEMBERS.contains(&member.as_str());
        if form.version > VERSION || !form.critical.iter().all(is_known) {
            return Err(BundleError::Newer);
        }
        let manifest: Manifest = objects::from_slice(payload).map_err(not_the_form)?;
        if manifest.kind != KIND || manifest.version != VERSION {
            return Err(malformed("it is another statement"));
        }
        Ok(manifest)
    }
}
