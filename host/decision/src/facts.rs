//! The facts of a request, as defined by the contract (`wit/policy.wit`): metadata only, never
//! a secret.
//!
//! Their JSON form is that of the conformance vectors, of `entail policy decide` and of the
//! decision log. Optional fields and fields with a default may be omitted; an unknown field
//! is an error.

use std::collections::BTreeMap;

use std::fmt;

use entail_text::strict::unique_map;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::json::{case, record, records};

/// The input of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The request.
    pub request: RequestFacts,
    /// The requesting scope first, then its ancestors up to the organization.
    pub chain: Vec<ScopeFacts>,
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(deserialize_with = "record")]
            request: RequestFacts,
            #[serde(deserialize_with = "records")]
            chain: Vec<ScopeFacts>,
        }
        let Fields { request, chain } = record(deserializer)?;
        Ok(Facts { request, chain })
    }
}

/// The facts of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFacts {
    /// The provider, in canonical form.
    pub provider: String,
    /// The requested model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The name of the requested credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The principal that makes the request, in canonical form.
    #[serde(default)]
    pub principal: String,
    /// The time of the request, in milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: u64,
    /// Additional information about the request.
    #[serde(
        default,
        deserialize_with = "unique_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

/// Whether a scope uses its parent's credentials for a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inheritance {
    /// Never.
    #[default]
    Isolated,
    /// If this scope has no credential itself.
    Inherit,
    /// Also if all of this scope's own credentials are unusable.
    FallBack,
}

/// The descendants of its scope that a credential is shared with: in JSON `"all"`, `"none"`,
/// or `{"paths": ["acme/team-*/prod"]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Every descendant.
    #[default]
    All,
    /// No descendant.
    None,
    /// Those with a path that matches one of the patterns.
    Paths(Vec<String>),
}

impl<'de> Deserialize<'de> for Sharing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SharingVisitor)
    }
}

struct SharingVisitor;

impl<'de> Visitor<'de> for SharingVisitor {
    type Value = Sharing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""all", "none" or {"paths": [...]}"#)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Sharing, E> {
        match name {
            "all" => Ok(Sharing::All),
            "none" => Ok(Sharing::None),
            other => Err(E::unknown_variant(other, &["all", "none"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sharing, A::Error> {
        let paths = match map.next_key::<String>()? {
            Some(name) if name == "paths" => map.next_value()?,
            Some(other) => return Err(A::Error::unknown_field(&other, &["paths"])),
            None => return Err(A::Error::missing_field("paths")),
        };
        match map.next_key::<String>()? {
            None => Ok(Sharing::Paths(paths)),
            Some(_) => Err(A::Error::custom("sharing has one member, paths")),
        }
    }
}

/// A scope of the chain, with its credentials for the requested provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeFacts {
    /// Its path.
    pub path: String,
    /// Whether it uses its parent's credentials for the provider.
    #[serde(default, deserialize_with = "case")]
    pub inheritance: Inheritance,
    /// Its default model for the provider, used if the request names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// Its own credentials for the provider.
    #[serde(default, deserialize_with = "records")]
    pub credentials: Vec<CredentialFacts>,
    /// Additional information about the scope.
    #[serde(
        default,
        deserialize_with = "unique_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub attributes: BTreeMap<String, String>,
}

/// The metadata of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFacts {
    /// Identifies it in the decision; unique within the facts.
    pub id: String,
    /// Its name within its scope and provider.
    pub name: String,
    /// Whether it is enabled.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Whether the host can unseal its secret, as far as it knows.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub readable: bool,
    /// When it expires, in milliseconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Patterns of the models it may be used for: `None` allows every model, an empty list
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The descendants that it is shared with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sharing: Sharing,
    /// Whether the scopes that it is shared with must use it, or one from a scope above.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mandatory: bool,
    /// Its order within its scope: lower first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u32,
    /// Additional information about the credential.
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
