//! Providers, in the form of the provider file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `providers`: all providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Providers {
    /// The providers.
    pub providers: Vec<Provider>,
}

/// `providers PROVIDER`: a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Provider {
    /// The id: `openai`.
    pub id: String,
    /// The name for a person.
    pub name: String,
    /// `model`, `cloud` or `gateway`.
    pub kind: String,
    /// Where the vendor documents its credentials.
    pub docs: String,
    /// The URL of its API, as a template.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Other URLs for some values of a field.
    #[serde(default)]
    pub special_base_urls: Vec<SpecialBaseUrl>,
    /// The hosts that secrets may be sent to, as templates.
    pub hosts: Vec<String>,
    /// A cheap request that shows whether a key works.
    #[serde(default)]
    pub check: Option<KeyCheck>,
    /// Patterns of variables that a command does not get from the caller.
    #[serde(default)]
    pub unset_env: Vec<String>,
    /// The exceptions from those patterns.
    #[serde(default)]
    pub keep_env: Vec<KeptVariable>,
    /// Variables that keep clients from credentials that nobody granted.
    #[serde(default)]
    pub block_ambient: Vec<AmbientBlock>,
    /// The fields of a credential.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
    /// The modes of a credential, the usual one first.
    #[serde(rename = "mode")]
    pub modes: Vec<Mode>,
}

/// A URL for one value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpecialBaseUrl {
    /// The field.
    pub field: String,
    /// Its value.
    pub value: String,
    /// The URL.
    pub base_url: String,
}

/// A cheap request that shows whether a key works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyCheck {
    /// The HTTP method.
    pub method: String,
    /// The URL, as a template.
    pub url: String,
}

/// A variable that a command gets from the caller although a pattern matches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeptVariable {
    /// The name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A variable that keeps clients from credentials that nobody granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AmbientBlock {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// What it prevents.
    pub reason: String,
    /// Not set if one of these is kept.
    #[serde(default)]
    pub unless_kept: Vec<String>,
    /// Not set if one of these providers is granted.
    #[serde(default)]
    pub unless_granted: Vec<String>,
}

/// A field of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(clippy::struct_excessive_bools)] // each is a key of the provider file
pub struct Field {
    /// The name.
    pub name: String,
    /// The name for a person.
    pub label: String,
    /// Whether it is secret.
    #[serde(default)]
    pub secret: bool,
    /// `token`, `url`, `region` or `service-account`.
    pub format: String,
    /// The variables that clients read it from.
    #[serde(default)]
    pub environment: Vec<Variable>,
    /// Other variables that an import reads it from.
    #[serde(default)]
    pub import_from: Vec<String>,
    /// Arguments of clients that do not read it from a variable.
    #[serde(default)]
    pub client_arguments: Vec<ClientArgument>,
    /// Whether the variables hold the path of a file with the value.
    #[serde(default)]
    pub file: bool,
    /// Whether a new secret needs a new value.
    #[serde(default)]
    pub with_secret: bool,
    /// The default value.
    #[serde(default)]
    pub default: Option<String>,
    /// A hint for a person who enters it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// A variable that clients read a field from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variable {
    /// The name.
    pub name: String,
    /// The value as a template, if it is not just the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The clients that read it.
    #[serde(default)]
    pub read_by: Vec<String>,
}

/// An argument of a client that does not read a field from a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientArgument {
    /// The client.
    pub client: String,
    /// The argument of the client that takes the field.
    pub argument: String,
}

/// A mode of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mode {
    /// The name: `api-key`.
    pub name: String,
    /// The name for a person.
    pub label: String,
    /// The required fields.
    pub required: Vec<String>,
    /// The optional fields.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Variables with a fixed value that clients need.
    #[serde(default)]
    pub set_env: Vec<FixedVariable>,
    /// The AWS role that a command assumes.
    #[serde(default)]
    pub assume_role: Option<RoleFields>,
    /// How a request is authenticated.
    pub authentication: Authentication,
}

/// A variable with a fixed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FixedVariable {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The clients that read it.
    #[serde(default)]
    pub read_by: Vec<String>,
    /// Not set if one of these providers is granted.
    #[serde(default)]
    pub unless_granted: Vec<String>,
}

/// The fields that name an AWS role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleFields {
    /// The field with the ARN of the role.
    pub role: String,
    /// The field with the external id.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The field with the region.
    pub region: String,
    /// The fields with the keys that assume the role, by variable.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}

/// How a request is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// By headers.
    Headers(BTreeMap<String, String>),
    /// By an AWS signature, version 4.
    #[serde(rename = "aws-sigv4")]
    AwsSigV4 {
        /// The service.
        service: String,
    },
    /// By an access token that a service account signs for.
    GoogleServiceAccount {
        /// The OAuth scope of the token.
        scope: String,
    },
}
