//! The fields that are given for a credential, and the mode they fit.

use std::collections::BTreeMap;

use entail_store::{Fields, Secret};

use crate::change::service_account;
use crate::change::value::normalize;
use crate::documents::scope::Credential;
use crate::error::Error;
use crate::error::hint::Hint;
use crate::error::invalid_value::InvalidValue;
use entail_decision::name::quoted;
use entail_decision::provider::{Format, Mode, Provider};

/// The given fields, validated and sorted into parameters and secrets.
#[derive(Default)]
pub(super) struct GivenFields {
    pub(super) parameters: BTreeMap<String, String>,
    /// Public fields that were given as empty, and are removed.
    pub(super) removed: Vec<String>,
    pub(super) secrets: Fields,
}

impl GivenFields {
    /// Validates each field by its format. Adds notes for the user to `notes`.
    pub(super) fn parse(
        fields: &[(String, Secret)],
        provider: &Provider,
        allows_http: bool,
        notes: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let mut given = GivenFields::default();
        for (name, secret) in fields {
            let field = provider.field(name).ok_or_else(|| {
                let known: Vec<&str> = provider.fields.iter().map(|f| f.name.as_str()).collect();
                InvalidValue::new(
                    &quoted(name),
                    format!(
                        "{} has no such field; it has: {}",
                        provider.id,
                        known.join(", ")
                    ),
                )
            })?;
            if given.names().any(|known| known == name) {
                return Err(InvalidValue::new(name, "it is given twice").into());
            }
            if !field.secret && secret.is_empty() {
                given.removed.push(name.clone());
                continue;
            }
            let normalized = normalize(field, secret, allows_http)?;
            notes.extend(normalized.note.map(|note| format!("{name}: {note}")));
            if field.secret {
                given.secrets.push((name.clone(), normalized.value));
            } else {
                let text = normalized.value.expose_text().unwrap_or_default();
                given.parameters.insert(name.clone(), text.to_owned());
            }
        }
        Ok(given)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        let secrets = self.secrets.iter().map(|(name, _)| name);
        self.parameters.keys().chain(&self.removed).chain(secrets)
    }

    fn has_secret(&self, field: &str) -> bool {
        self.secrets.iter().any(|(name, _)| name == field)
    }

    /// The parameters of `before`, changed by the given ones.
    pub(super) fn merged(
        &self,
        before: &BTreeMap<String, String>,
        mode: &Mode,
    ) -> BTreeMap<String, String> {
        let mut merged: BTreeMap<String, String> = before
            .iter()
            .filter(|(name, _)| mode.takes(name) && !self.removed.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        merged.extend(self.parameters.clone());
        merged
    }

    /// The mode: the named one, otherwise the credential's if it takes the given
    /// fields, otherwise the first for which they suffice.
    pub(super) fn mode<'a>(
        &self,
        named: Option<&str>,
        provider: &'a Provider,
        existing: Option<&Credential>,
    ) -> Result<&'a Mode, Error> {
        if let Some(name) = named {
            return Ok(provider.require_mode(name)?);
        }
        let takes_all = |mode: &&Mode| self.names().all(|name| mode.takes(name));
        let current = existing.and_then(|credential| provider.mode(&credential.version.mode));
        if let Some(mode) = current.filter(takes_all) {
            return Ok(mode);
        }
        let has = |name: &String| {
            self.names().any(|given| given == name)
                || provider
                    .field(name)
                    .is_some_and(|field| field.default.is_some())
        };
        let suffices = |mode: &&Mode| mode.required.iter().all(has);
        let mut fitting = provider.modes.iter().filter(takes_all);
        // If none suffices, the error names what the first one lacks.
        fitting
            .clone()
            .find(suffices)
            .or_else(|| fitting.next())
            .ok_or_else(|| {
                let modes = provider.modes.iter().map(|mode| mode.name.clone());
                Error::NoMode {
                    provider: provider.id.clone(),
                    modes: modes.collect(),
                }
            })
    }

    /// Checks that the mode takes all given fields.
    pub(super) fn check_mode(&self, provider: &Provider, mode: &Mode) -> Result<(), Error> {
        match self.names().find(|name| !mode.takes(name)) {
            Some(name) => Err(InvalidValue::new(
                name,
                format!("the mode {} of {} does not take it", mode.name, provider.id),
            )
            .into()),
            None => Ok(()),
        }
    }

    /// Checks that a new secret with these parameters has all that the mode requires.
    pub(super) fn check_required(
        &self,
        parameters: &BTreeMap<String, String>,
        provider: &Provider,
        mode: &Mode,
    ) -> Result<(), Error> {
        for name in &mode.required {
            let field = provider
                .field(name)
                .ok_or_else(|| InvalidValue::new(name, "is unknown"))?;
            let is_present = if field.secret {
                self.has_secret(name)
            } else if field.with_secret {
                // What belongs to the old secret does not go with a new one.
                self.parameters.contains_key(name)
            } else {
                parameters.contains_key(name)
            };
            if !is_present {
                return Err(missing(provider, mode, name).into());
            }
        }
        Ok(())
    }
}

/// Adds what follows from the secrets, and the defaults.
pub(super) fn complete(
    parameters: &mut BTreeMap<String, String>,
    secrets: &Fields,
    provider: &Provider,
    mode: &Mode,
    notes: &mut Vec<String>,
) {
    let is_account = |name: &str| {
        provider
            .field(name)
            .is_some_and(|field| field.format == Format::ServiceAccount)
    };
    let account = secrets.iter().find(|(name, _)| is_account(name));
    let project = account.and_then(|(_, account)| service_account::project(account));
    if let Some(project) = project.filter(|_| mode.takes("project")) {
        let present = parameters
            .entry("project".to_owned())
            .or_insert_with(|| project.clone());
        if *present != project {
            notes.push(format!(
                "the project stays {present}; the service account is of {project}"
            ));
        }
    }
    for field in provider
        .fields
        .iter()
        .filter(|field| mode.takes(&field.name))
    {
        if let Some(default) = &field.default {
            parameters
                .entry(field.name.clone())
                .or_insert_with(|| default.clone());
        }
    }
}

/// The mode requires the field.
pub(super) fn missing(provider: &Provider, mode: &Mode, name: &str) -> InvalidValue {
    let field = provider.field(name);
    let label = field.map_or(name, |field| field.label.as_str());
    let hint = if field.is_some_and(|field| field.secret) {
        Hint::EnterSecret {
            field: name.to_owned(),
        }
    } else {
        Hint::SetParameter {
            field: name.to_owned(),
        }
    };
    let rule = format!(
        "{} needs it in the mode {} ({label})",
        provider.id, mode.name
    );
    InvalidValue::new(name, rule).with_hint(hint)
}
