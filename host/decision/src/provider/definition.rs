//! What a provider is: the form of the provider file.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{ProviderId, quoted};

/// A provider has no mode of that name.
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
    /// Passes requests on to others.
    Gateway,
}

/// How a value looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Visible characters without spaces: keys, ids, names.
    #[default]
    Token,
    /// An https URL, or an http one on this machine.
    Url,
    /// A part of a host name: `eu-central-1`, `europe-west4`.
    Region,
    /// A Google service account key: JSON, or the same in base64.
    ServiceAccount,
}

/// One value of a credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    /// Its name: `api_key`.
    pub name: String,
    /// Its name for a person.
    pub label: String,
    /// Whether it is sealed, or shown to whoever may see the credential.
    #[serde(default)]
    pub secret: bool,
    /// How it looks.
    #[serde(default)]
    pub format: Format,
    /// The variables that clients read it from.
    #[serde(default)]
    pub environment: Vec<Variable>,
    /// Other variables in which people keep it: read where it is entered, never set.
    #[serde(default)]
    pub import_from: Vec<String>,
    /// Clients that read it from no variable.
    #[serde(default)]
    pub unread_by: Vec<UnreadBy>,
    /// Whether those variables hold the path of a file with the value.
    #[serde(default)]
    pub file: bool,
    /// Whether it belongs to the secret, and is given anew with a new one.
    #[serde(default)]
    pub with_secret: bool,
    /// What stands for it when it is left out.
    #[serde(default)]
    pub default: Option<String>,
    /// What a person entering it should know.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Field {
    /// The names of the variables that clients read it from.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.environment
            .iter()
            .map(|variable| variable.name.as_str())
    }

    /// The names of the variables that people may have it in.
    pub fn entry_variables(&self) -> impl Iterator<Item = &str> {
        self.variables()
            .chain(self.import_from.iter().map(String::as_str))
    }
}

/// A variable that clients read a field from. In a file, its name alone will do.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Variable {
    /// Its name: `OPENAI_BASE_URL`.
    pub name: String,
    /// Its value as a template, where it is not just that of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The clients that read it.
    pub read_by: Vec<String>,
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VariableVisitor)
    }
}

struct VariableVisitor;

impl<'de> Visitor<'de> for VariableVisitor {
    type Value = Variable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a variable, or a table with name, value and read-by")
    }

    fn visit_str<E>(self, name: &str) -> Result<Variable, E> {
        Ok(Variable {
            name: name.to_owned(),
            ..Variable::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Variable, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            name: String,
            #[serde(default)]
            value: Option<String>,
            #[serde(default)]
            read_by: Vec<String>,
        }
        let Table {
            name,
            value,
            read_by,
        } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Variable {
            name,
            value,
            read_by,
        })
    }
}

/// A client that reads a field from no variable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnreadBy {
    /// The client: `xai-sdk`.
    pub client: String,
    /// What a program passes to it instead: `api_host`.
    pub argument: String,
}

/// A variable with a fixed value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FixedVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The clients that read it.
    #[serde(default)]
    pub read_by: Vec<String>,
    /// The providers with whose credentials it would be wrong: it is not set where one
    /// of them is granted too.
    #[serde(default)]
    pub unless_granted: Vec<ProviderId>,
}

/// A variable of the caller that a command keeps although a pattern covers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeptVariable {
    /// Its name, as a pattern.
    pub name: String,
    /// Why it can do no harm, and what needs it.
    pub reason: String,
}

/// A variable that keeps clients from credentials that nobody granted: it points a
/// file at nothing, or switches a source off.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shield {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What clients would read.
    pub reason: String,
    /// The variables of the caller that need what it shields from: it is not set where
    /// one of them is kept.
    #[serde(default)]
    pub unless_kept: Vec<String>,
    /// The providers whose granted credentials make it needless.
    #[serde(default)]
    pub unless_granted: Vec<ProviderId>,
}

/// The fields that say which role of AWS is assumed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleFields {
    /// The role; none is assumed where a credential has no value for it.
    pub role: String,
    /// The external id that the role asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The region.
    pub region: String,
    /// The fields of the keys that it is assumed with, by their names in an AWS
    /// configuration file; without any it is assumed with the caller's own identity.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
}

/// Whether a name fits a pattern. Case does not count.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => pattern.eq_ignore_ascii_case(name),
        Some(prefix) => name
            .get(..prefix.len())
            .is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix)),
    }
}

/// How a request proves that it has the credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// By headers; one that names a field without a value is left out.
    Headers(BTreeMap<String, String>),
    /// By an AWS signature, version 4.
    #[serde(rename = "aws-sigv4")]
    AwsSigV4 {
        /// The service that is signed for.
        service: String,
    },
    /// By an access token for which a service account signs.
    GoogleServiceAccount {
        /// The OAuth scope of the token.
        scope: String,
    },
}

/// One way to be a credential of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mode {
    /// Its name: `api-key`.
    pub name: String,
    /// Its name for a person.
    pub label: String,
    /// The fields that it cannot do without.
    pub required: Vec<String>,
    /// The fields that it may have besides.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Variables with a fixed value that clients need for this mode.
    #[serde(default)]
    pub sets: Vec<FixedVariable>,
    /// The role that a command assumes, by a private AWS configuration.
    #[serde(default)]
    pub assumes_role: Option<RoleFields>,
    /// How a request proves that it has the credential.
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

/// A cheap request that shows whether a key works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Check {
    /// The HTTP method.
    pub method: String,
    /// The URL, as a template.
    pub url: String,
}

/// Where a provider's API is if a field has a certain value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpecialBaseUrl {
    /// The field.
    pub field: String,
    /// Its value.
    pub value: String,
    /// Where the API is.
    pub base_url: String,
}

/// Whom a credential is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// Its id: `openai`.
    pub id: ProviderId,
    /// Its name for a person.
    pub name: String,
    /// What kind of provider it is.
    pub kind: ProviderKind,
    /// Where the vendor documents its credentials.
    pub docs: String,
    /// Where its API is unless a credential says otherwise, as a template.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Where it is instead for some values of a field.
    #[serde(default)]
    pub special_base_urls: Vec<SpecialBaseUrl>,
    /// The hosts that its secrets may be sent to unless a credential names a
    /// URL of its own, as templates.
    pub hosts: Vec<String>,
    /// A cheap request that shows whether a key works.
    #[serde(default)]
    pub check: Option<Check>,
    /// The variables that belong to its clients besides those that are set, as patterns:
    /// a final `*` is any run of characters, and case does not count. A command gets none
    /// of the caller's: each could replace a credential or redirect it.
    #[serde(default)]
    pub clears: Vec<String>,
    /// The exceptions from `clears`.
    #[serde(default)]
    pub keeps: Vec<KeptVariable>,
    /// Variables that keep its clients from credentials that nobody granted.
    #[serde(default)]
    pub shields: Vec<Shield>,
    /// What its credentials consist of.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
    /// The ways to be one, the usual one first.
    #[serde(rename = "mode")]
    pub modes: Vec<Mode>,
}

impl Provider {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The mode of that name.
    pub fn mode(&self, name: &str) -> Option<&Mode> {
        self.modes.iter().find(|mode| mode.name == name)
    }

    /// The mode of that name, as a person gave it.
    ///
    /// # Errors
    ///
    /// [`UnknownMode`] if it has none of that name.
    pub fn mode_named(&self, name: &str) -> Result<&Mode, UnknownMode> {
        self.mode(name).ok_or_else(|| UnknownMode {
            provider: self.id.clone(),
            mode: quoted(name),
            known: self.mode_names(),
        })
    }

    /// The names of the modes, for an error message.
    pub fn mode_names(&self) -> String {
        let names: Vec<&str> = self.modes.iter().map(|mode| mode.name.as_str()).collect();
        names.join(", ")
    }

    /// Every variable that a command may get for it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let fixed = self.modes.iter().flat_map(|mode| &mode.sets);
        let shields = self.shields.iter().map(|shield| shield.name.as_str());
        self.field_variables()
            .chain(fixed.map(|variable| variable.name.as_str()))
            .chain(shields)
    }

    /// The variables that its fields are read from.
    pub fn field_variables(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().flat_map(Field::variables)
    }

    /// Whether a variable is in the name space of its clients.
    pub fn owns(&self, variable: &str) -> bool {
        self.claim(variable).is_some()
    }

    /// How well a variable of the caller fits what belongs to its clients, as the length
    /// of the longest pattern; `None` if it does not.
    pub(super) fn claim(&self, variable: &str) -> Option<usize> {
        let patterns = self.clears.iter().map(String::as_str);
        patterns
            .chain(self.variables())
            .filter(|pattern| fits(pattern, variable))
            .map(str::len)
            .max()
    }

    /// Whether a variable is an exception from `clears`.
    pub(super) fn excepts(&self, variable: &str) -> bool {
        self.keeps.iter().any(|kept| fits(&kept.name, variable))
    }

    /// Which of these public parameters some client does not find by itself, and which
    /// client. A field's default is no matter: it is what clients do unasked.
    pub fn unread<'a>(
        &'a self,
        parameters: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Field, &'a UnreadBy)> {
        let is_own = |field: &&Field| {
            let value = parameters.get(&field.name);
            value.is_some() && value != field.default.as_ref()
        };
        self.fields
            .iter()
            .filter(is_own)
            .flat_map(|field| field.unread_by.iter().map(move |by| (field, by)))
    }

    /// The special base URL that goes with these public parameters.
    pub fn special_base_url(
        &self,
        parameters: &BTreeMap<String, String>,
    ) -> Option<&SpecialBaseUrl> {
        self.special_base_urls
            .iter()
            .find(|special| parameters.get(&special.field) == Some(&special.value))
    }

    /// Where its API is for a credential with these public parameters.
    pub fn base_url(&self, parameters: &BTreeMap<String, String>) -> Option<String> {
        match self.special_base_url(parameters) {
            Some(special) => Some(special.base_url.clone()),
            None => self.fill(self.base_url.as_deref()?, parameters),
        }
    }

    /// Fills in a template with `values` or the fields' defaults. `None` if it
    /// names a field that has neither.
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

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text to copy.
    Text(&'a str),
    /// The name of a field to fill in.
    Field(&'a str),
}

/// A template's parts: text, and field names in braces.
pub fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    template
        .split('{')
        .enumerate()
        .flat_map(|(position, piece)| {
            match (position, piece.split_once('}')) {
                (0, _) | (_, None) => [Some(Part::Text(piece)), None],
                (_, Some((field, text))) => [Some(Part::Field(field)), Some(Part::Text(text))],
            }
            .into_iter()
            .flatten()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    #[test]
    fn a_template_takes_values_then_defaults_then_gives_up() {
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
