//! The providers: a data file, not code.
//!
//! Eleven come built in (`providers.toml`); a home may add its own in a file of
//! the same form.
//!
//! # Security
//!
//! A provider file decides which variables a child process sees and where a key
//! may go, so it is as trusted as the keys: it is read from the home only, and
//! cannot redefine a built-in provider. At most [`MAX_FILE_BYTES`] are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::name::{ProviderId, quoted};
use crate::settings::described;

const BUILT_IN: &str = include_str!("providers.toml");

/// Room for several hundred providers.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 20;

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
    /// The variables that the vendors' clients read it from.
    #[serde(default)]
    pub environment: Vec<String>,
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
    /// The caller's own variables that a command keeps, since the credential is
    /// used with the caller's identity.
    #[serde(default)]
    pub keeps: Vec<String>,
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
    /// Variables that its clients read besides those of the fields, and that could
    /// replace or redirect a credential: never set, but taken away from a command.
    #[serde(default)]
    pub clears: Vec<String>,
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
    /// [`Error::Invalid`], which names those that there are.
    pub fn mode_named(&self, name: &str) -> Result<&Mode, Error> {
        self.mode(name).ok_or_else(|| {
            Error::Invalid(format!(
                "{} has no mode {}; it has: {}",
                self.id,
                quoted(name),
                self.mode_names()
            ))
        })
    }

    /// The names of the modes, for an error message.
    pub(crate) fn mode_names(&self) -> String {
        let names: Vec<&str> = self.modes.iter().map(|mode| mode.name.as_str()).collect();
        names.join(", ")
    }

    /// Every variable that its clients read.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.field_variables()
            .chain(self.clears.iter().map(String::as_str))
    }

    /// The variables that its fields are read from.
    pub fn field_variables(&self) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .flat_map(|field| &field.environment)
            .map(String::as_str)
    }

    /// The special base URL that goes with these public parameters.
    pub(crate) fn special_base_url(
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

enum Part<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// A template's parts: text, and field names in braces.
fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
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

/// What is wrong with a provider file.
#[derive(Debug, thiserror::Error)]
#[error("the provider file is not valid: {0}")]
pub struct InvalidProviders(String);

/// All providers that are known.
#[derive(Clone, Debug)]
pub struct Catalog {
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "provider")]
    providers: Vec<Provider>,
}

impl Catalog {
    /// The built-in providers, and those of `additions`, a file of the same
    /// form.
    ///
    /// # Errors
    ///
    /// When a file does not have the form, redefines a provider, or contradicts
    /// itself.
    pub fn new(additions: Option<&str>) -> Result<Self, InvalidProviders> {
        let mut catalog = Catalog {
            providers: Vec::new(),
        };
        for text in std::iter::once(BUILT_IN).chain(additions) {
            let file: File =
                toml::from_str(text).map_err(|error| InvalidProviders(described(text, &error)))?;
            for provider in file.providers {
                if catalog.get(&provider.id).is_some() {
                    return Err(InvalidProviders(format!(
                        "{} is there already",
                        provider.id
                    )));
                }
                check(&provider)?;
                let taken = |variable: &&str| {
                    catalog
                        .iter()
                        .any(|other| other.variables().any(|known| known == *variable))
                };
                if let Some(variable) = provider.variables().find(taken) {
                    return Err(InvalidProviders(format!(
                        "{}: the variable {variable} belongs to another provider",
                        provider.id
                    )));
                }
                catalog.providers.push(provider);
            }
        }
        Ok(catalog)
    }

    /// The provider of that id.
    pub fn get(&self, id: &ProviderId) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == *id)
    }

    /// All of them, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.providers.iter()
    }

    /// The ids, for an error message.
    pub(crate) fn ids(&self) -> String {
        let mut ids = String::new();
        for provider in &self.providers {
            let comma = if ids.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(ids, "{comma}{}", provider.id);
        }
        ids
    }
}

/// Refuses a provider whose parts do not fit together.
fn check(provider: &Provider) -> Result<(), InvalidProviders> {
    let id = &provider.id;
    let wrong = |what: String| Err(InvalidProviders(format!("{id}: {what}")));
    let mut names = BTreeSet::new();
    for field in &provider.fields {
        if !names.insert(field.name.as_str()) {
            return wrong(format!("the field {} is there twice", field.name));
        }
    }
    if let Some(variable) = provider.variables().find(|variable| !is_variable(variable)) {
        return wrong(format!(
            "{variable:?} is not a variable that a provider can have"
        ));
    }
    if provider.modes.is_empty() {
        return wrong("it has no mode".to_owned());
    }
    for mode in &provider.modes {
        if let Some(name) = mode
            .required
            .iter()
            .chain(&mode.optional)
            .find(|name| !names.contains(name.as_str()))
        {
            return wrong(format!(
                "the mode {} names the field {name}, which is not there",
                mode.name
            ));
        }
        if let Authentication::Headers(headers) = &mode.authentication {
            for template in headers.values() {
                check_template(provider, template, &|name| mode.takes(name))?;
            }
        }
    }
    let special = provider.special_base_urls.iter().map(|s| &s.base_url);
    if let Some(url) = provider
        .base_url
        .iter()
        .chain(special)
        .find(|url| !url.starts_with("https://"))
    {
        return wrong(format!("the base URL {url:?} is not https"));
    }
    let mut modes = BTreeSet::new();
    if let Some(mode) = provider.modes.iter().find(|mode| !modes.insert(&mode.name)) {
        return wrong(format!("the mode {} is there twice", mode.name));
    }
    let public = |name: &str| provider.field(name).is_some_and(|field| !field.secret);
    for special in &provider.special_base_urls {
        if !public(&special.field) {
            return wrong(format!(
                "a special base URL goes by {}, which is no public field",
                special.field
            ));
        }
    }
    let special = provider.special_base_urls.iter().map(|s| &s.base_url);
    let urls = provider
        .base_url
        .iter()
        .chain(&provider.hosts)
        .chain(special);
    for template in urls.chain(provider.check.as_ref().map(|check| &check.url)) {
        check_template(provider, template, &public)?;
    }
    Ok(())
}

/// Whether it is the name of a variable, and not one that programs depend on.
fn is_variable(name: &str) -> bool {
    const RESERVED: [&str; 14] = [
        "BASH_ENV",
        "ENV",
        "HOME",
        "IFS",
        "LANG",
        "NODE_OPTIONS",
        "PATH",
        "PERL5OPT",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "RUBYOPT",
        "SHELL",
        "TMPDIR",
        "USER",
    ];
    const RESERVED_PREFIXES: [&str; 3] = ["DYLD_", "ENTAIL_", "LD_"];
    let fit = |byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    !name.is_empty()
        && name.bytes().all(fit)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !RESERVED.contains(&name)
        && !name.ends_with("_PROXY")
        && !RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn check_template(
    provider: &Provider,
    template: &str,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<(), InvalidProviders> {
    let opened = template.matches('{').count();
    let closed = template.matches('}').count();
    if opened != closed
        || parts(template)
            .filter(|part| matches!(part, Part::Field(_)))
            .count()
            != opened
    {
        return Err(InvalidProviders(format!(
            "{}: {template:?} has a brace that stands alone",
            provider.id
        )));
    }
    parts(template)
        .find_map(|part| match part {
            Part::Field(name) if !allowed(name) && name != "base_url" => Some(name),
            _ => None,
        })
        .map_or(Ok(()), |name| {
            Err(InvalidProviders(format!(
                "{}: {template:?} may not name {name}",
                provider.id
            )))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleven_are_there_and_fit_together() {
        let catalog = Catalog::new(None).unwrap();
        assert_eq!(
            catalog.ids(),
            "openai, anthropic, gemini, xai, deepseek, mistral, perplexity, bedrock, vertex-ai, portkey, litellm"
        );
    }

    #[test]
    fn no_variable_belongs_to_two_providers() {
        let catalog = Catalog::new(None).unwrap();
        let mut seen = BTreeSet::new();
        for variable in catalog.iter().flat_map(Provider::variables) {
            assert!(seen.insert(variable.to_owned()), "{variable}");
        }
    }

    #[test]
    fn a_home_may_add_a_provider_and_not_redefine_one() {
        let addition = |id: &str, header: &str| {
            format!(
                r#"
                [[provider]]
                id = "{id}"
                name = "Local"
                kind = "gateway"
                docs = "https://example.com"
                hosts = ["llm.example.com"]
                [[provider.field]]
                name = "api_key"
                label = "API key"
                secret = true
                [[provider.mode]]
                name = "api-key"
                label = "API key"
                required = ["api_key"]
                authentication = {{ headers = {{ Authorization = "{header}" }} }}
                "#
            )
        };
        assert!(Catalog::new(Some(&addition("local", "Bearer {api_key}"))).is_ok());
        let redefined = Catalog::new(Some(&addition("openai", "Bearer {api_key}"))).unwrap_err();
        assert!(redefined.to_string().contains("openai"), "{redefined}");
        let unknown = Catalog::new(Some(&addition("local", "Bearer {key}"))).unwrap_err();
        assert!(unknown.to_string().contains("key"), "{unknown}");
        assert!(Catalog::new(Some("nonsense = 1")).is_err());
        for variable in [
            "PATH",
            "LD_PRELOAD",
            "HTTPS_PROXY",
            "1X",
            "lower",
            "OPENAI_API_KEY",
        ] {
            let with_variable = addition("local", "Bearer {api_key}").replace(
                "secret = true",
                &format!("secret = true\nenvironment = [\"{variable}\"]"),
            );
            let refused = Catalog::new(Some(&with_variable)).unwrap_err();
            assert!(refused.to_string().contains(variable), "{refused}");
        }
    }

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
