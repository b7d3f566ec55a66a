//! The catalog of providers.

use entail_text::sanitized;
use serde::Deserialize;

use super::definition::Provider;
use super::validate::{validate, variable_prefix};
use crate::describe_toml_error;
use crate::name::ProviderId;

const BUILT_IN: &str = include_str!("providers.toml");

/// The largest provider file, in bytes: room for several hundred providers.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A provider file is not valid.
#[derive(Debug, thiserror::Error)]
#[error("the provider file is not valid: {}", sanitized(.0))]
pub struct InvalidProviders(String);

/// There is no provider with this id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no provider {id}; there are: {}", list(.known))]
pub struct UnknownProvider {
    /// The requested id.
    pub id: ProviderId,
    /// The ids that exist.
    pub known: Vec<ProviderId>,
}

fn list(ids: &[ProviderId]) -> String {
    let ids: Vec<&str> = ids.iter().map(ProviderId::as_str).collect();
    ids.join(", ")
}

/// The known providers.
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
    /// Returns the built-in providers and those of `additions`, a file in the same format.
    ///
    /// # Errors
    ///
    /// [`InvalidProviders`] if the file cannot be parsed, redefines a provider, or is
    /// inconsistent.
    pub fn new(additions: Option<&str>) -> Result<Self, InvalidProviders> {
        let mut catalog = Catalog {
            providers: Vec::new(),
        };
        catalog.add(BUILT_IN, |_, _, _| true)?;
        if let Some(text) = additions {
            catalog.add(text, |known, provider, variable| {
                variable.starts_with(&variable_prefix(&provider.id))
                    && known.owner(variable).is_none()
            })?;
        }
        Ok(catalog)
    }

    /// Adds the providers of a file. `may_own` decides whether a provider may own a variable,
    /// or a pattern of variables.
    fn add(
        &mut self,
        text: &str,
        may_own: impl Fn(&Catalog, &Provider, &str) -> bool,
    ) -> Result<(), InvalidProviders> {
        let file: File = toml::from_str(text)
            .map_err(|error| InvalidProviders(describe_toml_error(text, &error)))?;
        for provider in file.providers {
            self.check(&provider, &may_own)
                .map_err(|problem| InvalidProviders(format!("{}: {problem}", provider.id)))?;
            self.providers.push(provider);
        }
        Ok(())
    }

    fn check(
        &self,
        provider: &Provider,
        may_own: impl Fn(&Catalog, &Provider, &str) -> bool,
    ) -> Result<(), String> {
        if self.get(&provider.id).is_some() {
            return Err("it is already defined, and cannot be redefined".to_owned());
        }
        validate(provider)?;
        let is_taken = |variable: &&str| {
            let mut others = self.iter();
            others.any(|other| other.variables().any(|known| known == *variable))
        };
        if let Some(variable) = provider.variables().find(is_taken) {
            return Err(format!(
                "the variable {variable} belongs to another provider"
            ));
        }
        let patterns = provider.unset_env.iter().map(String::as_str);
        if let Some(variable) = provider
            .variables()
            .chain(patterns)
            .find(|name| !may_own(self, provider, name))
        {
            return Err(format!(
                "the variable {variable} does not begin with {}, as the variables of the \
                 provider {} must, or it belongs to another provider",
                variable_prefix(&provider.id),
                provider.id
            ));
        }
        Ok(())
    }

    /// Returns the provider with this id.
    pub fn get(&self, id: &ProviderId) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == *id)
    }

    /// Returns the provider with this id.
    ///
    /// # Errors
    ///
    /// [`UnknownProvider`] if there is none.
    pub fn require(&self, id: &ProviderId) -> Result<&Provider, UnknownProvider> {
        self.get(id).ok_or_else(|| UnknownProvider {
            id: id.clone(),
            known: self.iter().map(|known| known.id.clone()).collect(),
        })
    }

    /// Returns the provider whose clients read a variable: the one with the longest matching
    /// pattern.
    pub fn owner(&self, variable: &str) -> Option<&Provider> {
        self.iter()
            .filter_map(|provider| Some((provider.match_length(variable)?, provider)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, provider)| provider)
    }

    /// Returns the provider for which a variable of the caller is unset; `None` if a command
    /// keeps it.
    pub fn unset_by(&self, variable: &str) -> Option<&Provider> {
        self.owner(variable)
            .filter(|provider| !provider.keeps_variable(variable))
    }

    /// Returns all providers, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.providers.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_eleven_built_in_providers_are_valid() {
        let catalog = Catalog::new(None).unwrap();
        assert_eq!(
            list(
                &catalog
                    .iter()
                    .map(|provider| provider.id.clone())
                    .collect::<Vec<_>>()
            ),
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
}
