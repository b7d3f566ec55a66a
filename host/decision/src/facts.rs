//! The facts of a request, as the contract has them (`wit/policy.wit`): metadata
//! only, never a secret.
//!
//! As JSON they are the form of the conformance vectors, of `entail policy
//! decide` and of the decision log. A field that stands for "none" or for a
//! default may be left out; an unknown field is an error.

use std::collections::BTreeMap;

use entail_text::strict::unique_map;
use serde::{Deserialize, Serialize};

/// What a policy decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What is asked.
    pub request: RequestFacts,
    /// The requesting scope first, then its ancestors up to the organization.
    pub chain: Vec<ScopeFacts>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFacts {
    /// Whom the credential is for, in canonical form.
    pub provider: String,
    /// The model the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The name of the one credential the caller wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Who asks, in canonical form.
    #[serde(default)]
    pub principal: String,
    /// The time of the request, in milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: u64,
    /// What else is known of the request.
    #[serde(
        default,
        deserialize_with = "unique_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

/// What a scope does about a provider, toward its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inheritance {
    /// Never look at the parent.
    #[default]
    Isolated,
    /// Use the parent's credential when this scope has none of its own.
    Inherit,
    /// Use the parent's also when all of this scope's own are unusable.
    FallBack,
}

/// With which descendants of its scope a credential is shared: in JSON `"all"`,
/// `"none"`, or `{"paths": ["acme/team-*/prod"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// With every descendant.
    #[default]
    All,
    /// With none.
    None,
    /// With those whose path matches one of the patterns.
    Paths(Vec<String>),
}

/// One scope of the chain, with what it holds for the requested provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeFacts {
    /// Its path.
    pub path: String,
    /// What it does about the provider, toward its parent.
    #[serde(default)]
    pub inheritance: Inheritance,
    /// The model it sets for the provider when the request names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// Its own credentials for the provider.
    #[serde(default)]
    pub credentials: Vec<CredentialFacts>,
    /// What else is known of the scope.
    #[serde(
        default,
        deserialize_with = "unique_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

/// What a policy may know of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFacts {
    /// Names it in the decision; unique within one call.
    pub id: String,
    /// The name its scope gave it.
    pub name: String,
    /// Whether it is switched on.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Whether the host can open its secret, as far as it can tell.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub readable: bool,
    /// When it ends, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// The models it may be used for, as patterns; absent means every model, an
    /// empty list none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// With whom it is shared.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sharing: Sharing,
    /// Whether those it is shared with must use it or one from above.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mandatory: bool,
    /// Its place within its scope: the lower goes first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u32,
    /// What else is known of the credential.
    #[serde(
        default,
        deserialize_with = "unique_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_yes(value: &bool) -> bool {
    *value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
