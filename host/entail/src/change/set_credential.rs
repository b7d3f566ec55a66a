//! Setting a credential: which mode is meant, what is missing, and what becomes of
//! the secret that was there.

use std::collections::BTreeMap;

use entail_store::{Binding, Digest, Fields, Keys, Secret};

use crate::change::rules::{Edit, RuleChanges};
use crate::change::service_account;
use crate::change::value;
use crate::change::{Context, Effects};
use crate::credential_ref::CredentialRef;
use crate::documents::scope::{Credential, Rules, Scope, Version};
use crate::error::Error;
use crate::error::hint::Hint;
use crate::error::invalid_value::InvalidValue;
use entail_decision::name::{CredentialId, quoted};
use entail_decision::provider::{Format, Mode, Provider};

/// What to set of a credential.
#[allow(missing_debug_implementations)] // holds secrets
pub struct SetCredential {
    /// Which one.
    pub credential: CredentialRef,
    /// The mode of the provider; none keeps the one it has, or takes the first
    /// that the given fields suffice for.
    pub mode: Option<String>,
    /// Fields by name, secret or public. Without a secret one the secret that is
    /// there stays.
    pub fields: Vec<(String, Secret)>,
    /// The rules to change.
    pub rules: RuleChanges,
    /// What becomes of the secret.
    pub secret: SecretEdit,
    /// For how long a secret that is replaced is kept, in milliseconds, so that one
    /// can go back; 0 destroys it at once.
    pub grace_ms: u64,
}

/// What setting a credential does about its secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretEdit {
    /// It becomes what is given; if nothing is, the one that is there stays.
    #[default]
    Given,
    /// It stays, whatever else changes; none may be given.
    Keep,
    /// It is renewed; the credential must be there already.
    Renew,
    /// It is set for the first time; the credential must not exist yet.
    New,
}

/// The fields that were given, checked and told apart.
#[derive(Default)]
struct Given {
    parameters: BTreeMap<String, String>,
    /// Public fields that were given as empty: they are taken away.
    removed: Vec<String>,
    secrets: Fields,
}

impl Given {
    fn names(&self) -> impl Iterator<Item = &String> {
        let secrets = self.secrets.iter().map(|(name, _)| name);
        self.parameters.keys().chain(&self.removed).chain(secrets)
    }

    fn has_secret(&self, field: &str) -> bool {
        self.secrets.iter().any(|(name, _)| name == field)
    }

    /// The parameters as they will be: those that were there, changed.
    fn merged(&self, before: &BTreeMap<String, String>, mode: &Mode) -> BTreeMap<String, String> {
        let mut merged: BTreeMap<String, String> = before
            .iter()
            .filter(|(name, _)| mode.takes(name) && !self.removed.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        merged.extend(self.parameters.clone());
        merged
    }
}

impl SetCredential {
    pub(crate) fn apply(
        &self,
        scope: &mut Scope,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let id = &self.credential;
        let provider = context
            .provider
            .ok_or_else(|| Error::Invalid(format!("{} is unknown", id.provider)))?;
        let existing = scope.credential(&id.provider, &id.name).cloned();
        match self.secret {
            SecretEdit::Keep | SecretEdit::Renew if existing.is_none() => {
                return Err(Error::unknown_credential(id));
            }
            SecretEdit::New if existing.is_some() => {
                return Err(Error::Invalid(format!(
                    "{} has a {} credential {} already",
                    id.scope, id.provider, id.name
                )));
            }
            _ => {}
        }
        if existing.is_none() {
            scope.check_room(&id.scope)?;
        }
        let mut rules = existing
            .as_ref()
            .map_or_else(|| first_rules(scope, id), |c| c.rules.clone());
        let allows_http = self.rules.unsafe_http.unwrap_or(rules.unsafe_http);
        let given = self.take(provider, allows_http, &mut effects.applied.notes)?;
        let mode = self.mode(provider, existing.as_ref(), &given)?;
        check_fields(&given, provider, mode)?;

        let same_mode = existing
            .as_ref()
            .is_some_and(|c| c.version.mode == mode.name);
        // Without a key there is nothing that could stay, or go astray.
        let keyless = same_mode
            && existing
                .as_ref()
                .is_some_and(|c| c.version.secret_fields.is_empty());
        let renewed = match self.secret {
            SecretEdit::New | SecretEdit::Renew => true,
            SecretEdit::Given => !same_mode || !given.secrets.is_empty() || keyless,
            SecretEdit::Keep if !given.secrets.is_empty() => {
                return Err(Error::Invalid(
                    "a secret is given, and the one that is there is to be kept".to_owned(),
                ));
            }
            SecretEdit::Keep => keyless,
        };
        let mut credential = match existing {
            Some(credential) => credential,
            None => Credential {
                id: new_credential_id()?,
                provider: id.provider.clone(),
                name: id.name.clone(),
                enabled: true,
                rules: Rules::default(),
                version: unwritten(mode),
                retired: Vec::new(),
                last_version: 0,
            },
        };
        if renewed {
            let replaced = credential.version.clone();
            self.renew(&mut credential, given, provider, mode, context, effects)?;
            if replaced.number > 0 {
                if replaced.mode != mode.name && self.grace_ms == 0 {
                    let note = format!("the secret of the mode {} is destroyed", replaced.mode);
                    effects.applied.notes.push(note);
                }
                let expires_at_ms = rules.expires_at_ms;
                effects.retire(
                    &mut credential,
                    replaced,
                    expires_at_ms,
                    self.grace_ms,
                    context,
                );
                // The old secret's end is not the new one's.
                if rules.expires_at_ms.take().is_some() && self.rules.expires_at_ms == Edit::Keep {
                    let note = "the expiry of the old secret no longer applies".to_owned();
                    effects.applied.notes.push(note);
                }
            }
        } else {
            keep_secret(&mut credential.version, given, provider, mode)?;
        }
        self.rules.apply(&mut rules, &id.scope)?;
        let unsafe_url = value::unsafe_url(&credential.version.parameters);
        rules.unsafe_http = unsafe_url.is_some();
        match unsafe_url {
            Some((name, url)) if !allows_http => {
                return Err(value::plain_http(name, url).into());
            }
            Some((_, url)) if !credential.rules.unsafe_http => effects.applied.notes.push(format!(
                "the secret goes to {url} over plain HTTP: whoever is on that network can read it"
            )),
            _ => {}
        }
        credential.rules = rules;
        effects.applied.version = Some(credential.version.number);
        match scope.credentials.iter_mut().find(|c| c.id == credential.id) {
            Some(place) => *place = credential,
            None => scope.credentials.push(credential),
        }
        Ok(())
    }

    /// Checks the given fields, each by its format.
    fn take(
        &self,
        provider: &Provider,
        allows_http: bool,
        notes: &mut Vec<String>,
    ) -> Result<Given, Error> {
        let mut given = Given::default();
        for (name, secret) in &self.fields {
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
            let taken = value::take(field, secret, allows_http)?;
            notes.extend(taken.note.map(|note| format!("{name}: {note}")));
            if field.secret {
                given.secrets.push((name.clone(), taken.value));
            } else {
                let text = taken.value.expose_text().unwrap_or_default().to_owned();
                given.parameters.insert(name.clone(), text);
            }
        }
        Ok(given)
    }

    fn mode<'a>(
        &self,
        provider: &'a Provider,
        existing: Option<&Credential>,
        given: &Given,
    ) -> Result<&'a Mode, Error> {
        if let Some(name) = &self.mode {
            return Ok(provider.mode_named(name)?);
        }
        let takes_all = |mode: &&Mode| given.names().all(|name| mode.takes(name));
        let present = existing.and_then(|credential| provider.mode(&credential.version.mode));
        if let Some(mode) = present.filter(takes_all) {
            return Ok(mode);
        }
        let has = |name: &String| {
            given.names().any(|given| given == name)
                || provider
                    .field(name)
                    .is_some_and(|field| field.default.is_some())
        };
        let suffices = |mode: &&Mode| mode.required.iter().all(has);
        let mut fitting = provider.modes.iter().filter(takes_all);
        // The usual mode is the one to say what is missing of.
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

    /// Seals the given secrets as the next version.
    fn renew(
        &self,
        credential: &mut Credential,
        given: Given,
        provider: &Provider,
        mode: &Mode,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut parameters = given.merged(&credential.version.parameters, mode);
        complete(
            &mut parameters,
            &given.secrets,
            provider,
            mode,
            &mut effects.applied.notes,
        );
        for name in &mode.required {
            let field = provider
                .field(name)
                .ok_or_else(|| InvalidValue::new(name, "is unknown"))?;
            let there = match field.secret {
                true => given.has_secret(name),
                // What belongs to the old secret does not go with a new one.
                false if field.with_secret => given.parameters.contains_key(name),
                false => parameters.contains_key(name),
            };
            if !there {
                return Err(missing(provider, mode, name).into());
            }
        }
        let version = Version {
            number: credential.last_version + 1,
            created_at_ms: context.times.now.at_ms,
            mode: mode.name.clone(),
            hosts: value::hosts(provider, &parameters)?,
            parameters,
            blob: Digest::of(b""),
            sealed_to: context.recipients.ids(),
            epoch: context.recipients.epoch,
            secret_fields: given.secrets.iter().map(|(name, _)| name.clone()).collect(),
        };
        credential.last_version = version.number;
        credential.version = version;
        let binding: Binding = credential.binding(&self.credential.scope);
        let sealed = Keys::seal(context.recipients, &binding, &given.secrets).map_err(|error| {
            Error::Sealed {
                scope: self.credential.scope.clone(),
                credential: format!("{}/{}", credential.provider, credential.name),
                error,
            }
        })?;
        credential.version.blob = Digest::of(&sealed);
        effects.add_blobs.push(sealed);
        Ok(())
    }
}

/// The rules that a new credential begins with. It comes after those that the scope has
/// for the provider, so that what serves goes on serving.
fn first_rules(scope: &Scope, id: &CredentialRef) -> Rules {
    let others = scope.credentials_for(&id.provider);
    let last = others.map(|credential| credential.rules.priority).max();
    Rules {
        priority: last.map_or(0, |last| last.saturating_add(1)),
        ..Rules::default()
    }
}

/// Stands for the version before the first.
fn unwritten(mode: &Mode) -> Version {
    Version {
        number: 0,
        created_at_ms: 0,
        mode: mode.name.clone(),
        parameters: BTreeMap::new(),
        hosts: Vec::new(),
        blob: Digest::of(b""),
        sealed_to: Vec::new(),
        epoch: 0,
        secret_fields: Vec::new(),
    }
}

/// Fills the gaps with what follows from the secret, and with the defaults.
fn complete(
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

fn check_fields(given: &Given, provider: &Provider, mode: &Mode) -> Result<(), Error> {
    match given.names().find(|name| !mode.takes(name)) {
        Some(name) => Err(InvalidValue::new(
            name,
            format!("the mode {} of {} does not take it", mode.name, provider.id),
        )
        .into()),
        None => Ok(()),
    }
}

fn missing(provider: &Provider, mode: &Mode, name: &str) -> InvalidValue {
    let label = provider
        .field(name)
        .map_or(name, |field| field.label.as_str());
    let is_secret = provider.field(name).is_some_and(|field| field.secret);
    let field = name.to_owned();
    let hint = if is_secret {
        Hint::EnterSecret { field }
    } else {
        Hint::SetParameter { field }
    };
    let rule = format!(
        "{} needs it in the mode {} ({label})",
        provider.id, mode.name
    );
    InvalidValue::new(name, rule).with_hint(hint)
}

/// Changes the public parameters only, if the secret may go where they lead.
fn keep_secret(
    version: &mut Version,
    given: Given,
    provider: &Provider,
    mode: &Mode,
) -> Result<(), Error> {
    if version.mode != mode.name {
        return Err(Error::Invalid(format!(
            "changing to the mode {} requires entering the secret again",
            mode.name
        )));
    }
    let parameters = given.merged(&version.parameters, mode);
    if let Some(name) = mode
        .required
        .iter()
        .find(|name| given.removed.contains(name))
    {
        return Err(missing(provider, mode, name).into());
    }
    let hosts = value::hosts(provider, &parameters)?;
    if let Some(host) = hosts.iter().find(|host| !version.hosts.contains(host)) {
        return Err(Error::OtherHost {
            host: host.clone(),
            hosts: version.hosts.clone(),
        });
    }
    version.parameters = parameters;
    Ok(())
}

/// Generates a random id.
fn new_credential_id() -> Result<CredentialId, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Home(format!("no randomness: {error}")))?;
    Ok(CredentialId::from_bytes(bytes))
}
