//! The types of the provider file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::template::{Part, parts};
use super::variable::{
    AmbientBlock, ClientArgument, FixedVariable, KeptVariable, Variable, matches_pattern,
};
use crate::name::{ProviderId, quoted};

/// A provider has no mode with this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{provider} has no mode {mode}; it has: {known}")]
pub struct UnknownMode {
    provider: ProviderId,
    mode: String,
    known: String,
}

/// What kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Serves models itself.
    Model,
    /// Serves models as one service of many, behind a cloud identity.
    Cloud,
    /// Forwards requests to other providers.
    Gateway,
}

/// The format of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Visible characters without spaces: keys, ids, names.
    #[default]
    Token,
    /// An https URL, or an http URL on this machine.
    Url,
    /// A part of a host name: `eu-central-1`, `europe-west4`.
    Region,
    /// A Google service account key: JSON, or the same in base64.
    ServiceAccount,
}

/// A field of a credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    /// Its name: `api_key`.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// Whether it is sealed. Other fields are shown to everybody who may see the credential.
    #[serde(default)]
    pub secret: bool,
    /// Its format.
    #[serde(default)]
    pub format: Format,
    /// The environment variables that clients read it from.
    #[serde(default)]
    pub environment: Vec<Variable>,
    /// Other variables that may hold it: read when a credential is entered, never set.
    #[serde(default)]
    pub import_from: Vec<String>,
    /// Clients that read it from no variable, and the arguments that they take instead.
    #[serde(default)]
    pub client_arguments: Vec<ClientArgument>,
    /// Whether the variables hold the path of a file with the value.
    #[serde(default)]
    pub file: bool,
    /// Whether it belongs to the secret: a new secret needs a new value.
    #[serde(default)]
    pub with_secret: bool,
    /// Its value if none is given.
    #[serde(default)]
    pub default: Option<String>,
    /// What people should know when they enter it.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Field {
    /// Returns the names of the variables that clients read it from.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.environment
            .iter()
            .map(|variable| variable.name.as_str())
    }

    /// Returns the names of all variables that may hold it.
    pub fn entry_variables(&self) -> impl Iterator<Item = &str> {
        self.variables()
            .chain(self.import_from.iter().map(String::as_str))
    }
}

/// The fields that define the AWS role to assume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleFields {
    /// The role; none is assumed if a credential has no value for it.
    pub role: String,
    /// The external id that the role requires.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The region.
    pub region: String,
    /// The fields of the keys to assume it with, by their names in an AWS configuration file.
    /// Without any, the caller's own identity is used.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}

/// How a request authenticates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// With headers. A header that names a field without a value is omitted.
    Headers(BTreeMap<String, String>),
    /// With an AWS signature, version 4.
    #[serde(rename = "aws-sigv4")]
    AwsSigV4 {
        /// The service in the signature.
        service: String,
    },
    /// With an access token that a service account requests.
    GoogleServiceAccount {
        /// The OAuth scope of the token.
        scope: String,
    },
}

/// A kind of credential of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mode {
    /// Its name: `api-key`.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// The required fields.
    pub required: Vec<String>,
    /// The optional fields.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Variables with a fixed value that clients need for this mode.
    #[serde(default)]
    pub set_env: Vec<FixedVariable>,
    /// The role that a command assumes, by a private AWS configuration.
    #[serde(default)]
    pub assume_role: Option<RoleFields>,
    /// How a request authenticates.
    pub authentication: Authentication,
}

impl Mode {
    /// Whether the mode has the field.
    pub fn takes(&self, field: &str) -> bool {
        self.required
            .iter()
            .chain(&self.optional)
            .any(|name| name == field)
    }
}

/// A cheap request that checks whether a key works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Check {
    /// The HTTP method.
    pub method: String,
    /// The URL, as a template.
    pub url: String,
}

/// The base URL of a provider's API for one value of a field.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpecialBaseUrl {
    /// The field.
    pub field: String,
    /// Its value.
    pub value: String,
    /// The base URL.
    pub base_url: String,
}

/// A provider that credentials are for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// Its id: `openai`.
    pub id: ProviderId,
    /// Its name for people.
    pub name: String,
    /// Its kind.
    pub kind: ProviderKind,
    /// Where the vendor documents its credentials.
    pub docs: String,
    /// The base URL of its API unless a credential has another, as a template.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Other base URLs for some values of a field.
    #[serde(default)]
    pub special_base_urls: Vec<SpecialBaseUrl>,
    /// The hosts that its secrets may be sent to unless a credential has another base URL,
    /// as templates.
    pub hosts: Vec<String>,
    /// A cheap request that checks whether a key works.
    #[serde(default)]
    pub check: Option<Check>,
    /// Patterns of variables that its clients read, in addition to those that are set. A
    /// final `*` matches any characters; case is ignored. A command gets none of the
    /// caller's: each could replace a credential or redirect it.
    #[serde(default)]
    pub unset_env: Vec<String>,
    /// The exceptions from `unset-env`.
    #[serde(default)]
    pub keep_env: Vec<KeptVariable>,
    /// Variables that stop its clients from using ambient credentials.
    #[serde(default)]
    pub block_ambient: Vec<AmbientBlock>,
    /// The fields of its credentials.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
    /// The kinds of credentials, the usual one first.
    #[serde(rename = "mode")]
    pub modes: Vec<Mode>,
}

impl Provider {
    /// Returns the field with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the mode with this name.
    pub fn mode(&self, name: &str) -> Option<&Mode> {
        self.modes.iter().find(|mode| mode.name == name)
    }

    /// Returns the mode with this name.
    ///
    /// # Errors
    ///
    /// [`UnknownMode`] if there is none.
    pub fn require_mode(&self, name: &str) -> Result<&Mode, UnknownMode> {
        self.mode(name).ok_or_else(|| UnknownMode {
            provider: self.id.clone(),
            mode: quoted(name),
            known: self.mode_names(),
        })
    }

    /// Returns the names of the modes, for messages.
    pub fn mode_names(&self) -> String {
        let names: Vec<&str> = self.modes.iter().map(|mode| mode.name.as_str()).collect();
        names.join(", ")
    }

    /// Returns every variable that a command may get for it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let fixed = self.modes.iter().flat_map(|mode| &mode.set_env);
        let blocks = self.block_ambient.iter().map(|block| block.name.as_str());
        self.field_variables()
            .chain(fixed.map(|variable| variable.name.as_str()))
            .chain(blocks)
    }

    /// Returns the variables that its fields are read from.
    pub fn field_variables(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().flat_map(Field::variables)
    }

    /// Whether a variable belongs to its clients.
    pub fn owns_variable(&self, variable: &str) -> bool {
        self.match_length(variable).is_some()
    }

    /// Returns the length of the longest pattern or name of its clients' variables that
    /// matches; `None` if none does.
    pub(super) fn match_length(&self, variable: &str) -> Option<usize> {
        let patterns = self.unset_env.iter().map(String::as_str);
        patterns
            .chain(self.variables())
            .filter(|pattern| matches_pattern(pattern, variable))
            .map(str::len)
            .max()
    }

    /// Whether a variable is an exception from `unset-env`.
    pub(super) fn keeps_variable(&self, variable: &str) -> bool {
        self.keep_env
            .iter()
            .any(|kept| matches_pattern(&kept.name, variable))
    }

    /// Returns which of these public parameters a client takes only as an argument. Default
    /// values are skipped: clients use them without the argument.
    pub fn client_arguments_for<'a>(
        &'a self,
        parameters: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Field, &'a ClientArgument)> {
        let is_changed = |field: &&Field| {
            let value = parameters.get(&field.name);
            value.is_some() && value != field.default.as_ref()
        };
        self.fields
            .iter()
            .filter(is_changed)
            .flat_map(|field| field.client_arguments.iter().map(move |by| (field, by)))
    }

    /// Returns the special base URL for these public parameters.
    pub fn special_base_url(
        &self,
        parameters: &BTreeMap<String, String>,
    ) -> Option<&SpecialBaseUrl> {
        self.special_base_urls
            .iter()
            .find(|special| parameters.get(&special.field) == Some(&special.value))
    }

    /// Returns the base URL for a credential with these public parameters.
    pub fn base_url(&self, parameters: &BTreeMap<String, String>) -> Option<String> {
        match self.special_base_url(parameters) {
            Some(special) => Some(special.base_url.clone()),
            None => self.fill(self.base_url.as_deref()?, parameters),
        }
    }

    /// Fills in a template with `values` or the fields' defaults; `None` if it names a field
    /// without either.
    pub fn fill(&self, template: &str, values: &BTreeMap<String, String>) -> Option<String> {
        let mut filled = String::new();
        for part in parts(template) {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field(name) => {
                    let default = || self.field(name)?.default.as_ref();
                    filled.push_str(values.get(name).or_else(default)?);
                }
            }
        }
        Some(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    #[test]
    fn a_template_uses_values_then_defaults_then_fails() {
        let catalog = Catalog::new(None).unwrap();
        let vertex = catalog.get(&"vertex-ai".parse().unwrap()).unwrap();
        let template = vertex.base_url.as_deref().unwrap();
        let values = [("location".to_owned(), "europe-west4".to_owned())].into();
        assert_eq!(
            vertex.fill(template, &values).unwrap(),
            "https://europe-west4-aiplatform.googleapis.com"
        );
        assert!(vertex.fill("{project}", &BTreeMap::new()).is_none());
    }
}
