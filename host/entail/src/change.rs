//! Every way to change a store, as one typed value.
//!
//! A [`Change`] is applied to the scope's document as it is at one revision, in
//! memory; what comes out is committed against that very revision, or, when
//! somebody else was faster, worked out again.

use std::collections::BTreeMap;

use entail_policy::{Inheritance, Sharing};
use entail_store::{Binding, Digest, Fields, Keys, Secret};
use serde_json::json;

use crate::error::Error;
use crate::name::{CredentialId, CredentialName, ModelId, ProviderId, ScopePath, quoted};
use crate::provider::{Format, Mode, Provider};
use crate::scope::{Credential, Rules, Scope, Version};
use crate::value::{self, InvalidValue};

/// Counts the generations of keys that secrets are sealed to.
const EPOCH: u32 = 1;

/// The most patterns in a rule; a policy looks at each of them on each request.
const MAX_PATTERNS: usize = 100;

/// Paths have as many segments; a longer pattern matches nothing more.
const MAX_PATTERN_SEGMENTS: usize = 8;

/// The most credentials that one scope holds; a policy gets all of a provider's.
const MAX_CREDENTIALS: usize = 200;

/// A change of the store.
#[allow(missing_debug_implementations)] // holds secrets
#[non_exhaustive]
pub enum Change {
    /// Adds an organization, or a project below a scope that is there.
    AddScope {
        /// Its path.
        scope: ScopePath,
    },
    /// Removes a project, and its credentials with it. Nothing may lie below.
    RemoveProject {
        /// Its path.
        scope: ScopePath,
    },
    /// Sets a credential: adds it, or changes what is given and leaves the rest.
    SetCredential(Box<SetCredential>),
    /// Switches a credential on or off.
    SetEnabled {
        /// Which one.
        credential: CredentialRef,
        /// On or off.
        enabled: bool,
    },
    /// Removes a credential and destroys its secret.
    RemoveCredential {
        /// Which one.
        credential: CredentialRef,
    },
    /// Sets what a scope does about a provider, toward its parent.
    SetInheritance {
        /// The scope.
        scope: ScopePath,
        /// The provider; none means every one, also those set before.
        provider: Option<ProviderId>,
        /// What it does.
        inheritance: Inheritance,
    },
    /// Sets the model of a scope for requests that name none.
    SetModel {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
        /// The model; none takes the setting away.
        model: Option<ModelId>,
    },
}

/// Names a credential.
#[derive(Clone, Debug)]
pub struct CredentialRef {
    /// The scope that holds it.
    pub scope: ScopePath,
    /// Whom it is for.
    pub provider: ProviderId,
    /// Its name.
    pub name: CredentialName,
}

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
}

/// What to do about a setting that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Take it away.
    Clear,
    /// Set it.
    Set(T),
}

impl<T: Clone> Edit<T> {
    fn apply(&self, setting: &mut Option<T>) {
        match self {
            Edit::Keep => {}
            Edit::Clear => *setting = None,
            Edit::Set(value) => *setting = Some(value.clone()),
        }
    }
}

/// The rules of a credential to change; what is none or kept stays as it is.
#[derive(Clone, Debug, Default)]
pub struct RuleChanges {
    /// The models it may be used for; without the setting every one.
    pub models: Edit<Vec<String>>,
    /// Whom it is shared with.
    pub sharing: Option<Sharing>,
    /// Whether it is mandatory.
    pub mandatory: Option<bool>,
    /// Its place within its scope.
    pub priority: Option<u32>,
    /// When it ends, in milliseconds since 1970-01-01T00:00:00Z; without the
    /// setting never.
    pub expires_at_ms: Edit<u64>,
}

/// What a change did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What a person should be told.
    pub notes: Vec<String>,
    /// The version that a credential is at.
    pub version: Option<u32>,
}

/// What a change needs to know besides the document it changes.
pub(crate) struct Context<'a> {
    pub(crate) now_ms: u64,
    pub(crate) keys: &'a Keys,
    /// The provider that the change names.
    pub(crate) provider: Option<&'a Provider>,
}

/// What a change does to the store besides the document.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) add_blobs: Vec<Vec<u8>>,
    pub(crate) remove_blobs: Vec<Digest>,
    pub(crate) applied: Applied,
}

impl Change {
    /// The scope whose document it changes.
    pub fn scope(&self) -> &ScopePath {
        match self {
            Change::AddScope { scope }
            | Change::RemoveProject { scope }
            | Change::SetInheritance { scope, .. }
            | Change::SetModel { scope, .. } => scope,
            Change::SetCredential(set) => &set.credential.scope,
            Change::SetEnabled { credential, .. } | Change::RemoveCredential { credential } => {
                &credential.scope
            }
        }
    }

    /// The provider that it sets something for. What is there already can be
    /// switched off and removed also when its provider is no longer known.
    pub fn provider(&self) -> Option<&ProviderId> {
        match self {
            Change::AddScope { .. }
            | Change::RemoveProject { .. }
            | Change::SetEnabled { .. }
            | Change::RemoveCredential { .. } => None,
            Change::SetInheritance { provider, .. } => provider.as_ref(),
            Change::SetModel { provider, .. } => Some(provider),
            Change::SetCredential(set) => Some(&set.credential.provider),
        }
    }

    /// What the journal says of it: of secrets, the names of the fields.
    pub(crate) fn record(&self) -> serde_json::Value {
        match self {
            Change::AddScope { scope } => json!({"change": "add-scope", "scope": scope}),
            Change::RemoveProject { scope } => json!({"change": "remove-project", "scope": scope}),
            Change::SetCredential(set) => {
                let fields: Vec<&str> = set.fields.iter().map(|(name, _)| name.as_str()).collect();
                json!({
                    "change": if set.secret == SecretEdit::Renew { "rotate-credential" } else { "set-credential" },
                    "scope": set.credential.scope,
                    "provider": set.credential.provider,
                    "credential": set.credential.name,
                    "fields": fields,
                })
            }
            Change::SetEnabled {
                credential,
                enabled,
            } => json!({
                "change": if *enabled { "enable-credential" } else { "disable-credential" },
                "scope": credential.scope,
                "provider": credential.provider,
                "credential": credential.name,
            }),
            Change::RemoveCredential { credential } => json!({
                "change": "remove-credential",
                "scope": credential.scope,
                "provider": credential.provider,
                "credential": credential.name,
            }),
            Change::SetInheritance {
                scope,
                provider,
                inheritance,
            } => json!({
                "change": "set-inheritance",
                "scope": scope,
                "provider": provider,
                "inheritance": inheritance,
            }),
            Change::SetModel {
                scope,
                provider,
                model,
            } => json!({
                "change": "set-model",
                "scope": scope,
                "provider": provider,
                "model": model,
            }),
        }
    }

    /// Works the change into `scope`, which is the document as it is; it is
    /// none if there is no such scope. Answers with the document as it will be.
    pub(crate) fn apply(
        &self,
        scope: Option<Scope>,
        context: &Context<'_>,
    ) -> Result<(Option<Scope>, Effects), Error> {
        if let Change::AddScope { scope: path } = self {
            return match scope {
                Some(_) => Err(Error::ScopeExists(path.clone())),
                None => Ok((Some(Scope::default()), Effects::default())),
            };
        }
        let mut scope = scope.ok_or_else(|| Error::UnknownScope(self.scope().clone()))?;
        let mut effects = Effects::default();
        match self {
            Change::AddScope { .. } => {}
            Change::RemoveProject { .. } => {
                effects.remove_blobs = scope
                    .credentials
                    .iter()
                    .map(|credential| credential.version.blob)
                    .collect();
                return Ok((None, effects));
            }
            Change::SetCredential(set) => set.apply(&mut scope, context, &mut effects)?,
            Change::SetEnabled {
                credential,
                enabled,
            } => {
                credential.find(&mut scope)?.enabled = *enabled;
            }
            Change::RemoveCredential { credential } => {
                effects
                    .remove_blobs
                    .push(credential.find(&mut scope)?.version.blob);
                scope
                    .credentials
                    .retain(|c| !c.is(&credential.provider, &credential.name));
            }
            Change::SetInheritance {
                provider: Some(provider),
                inheritance,
                ..
            } => {
                scope.inheritance.insert(provider.clone(), *inheritance);
            }
            Change::SetInheritance {
                provider: None,
                inheritance,
                ..
            } => {
                scope.inheritance.clear();
                scope.default_inheritance = *inheritance;
            }
            Change::SetModel {
                provider,
                model: Some(model),
                ..
            } => {
                scope.models.insert(provider.clone(), model.clone());
            }
            Change::SetModel {
                provider,
                model: None,
                ..
            } => {
                scope.models.remove(provider);
            }
        }
        Ok((Some(scope), effects))
    }
}

impl CredentialRef {
    fn find<'a>(&self, scope: &'a mut Scope) -> Result<&'a mut Credential, Error> {
        scope
            .credentials
            .iter_mut()
            .find(|credential| credential.is(&self.provider, &self.name))
            .ok_or_else(|| self.unknown())
    }

    pub(crate) fn unknown(&self) -> Error {
        Error::UnknownCredential {
            scope: self.scope.clone(),
            provider: self.provider.clone(),
            name: self.name.clone(),
        }
    }
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
    fn apply(
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
        if self.secret != SecretEdit::Given && existing.is_none() {
            return Err(id.unknown());
        }
        if existing.is_none() && scope.credentials.len() >= MAX_CREDENTIALS {
            return Err(Error::Invalid(format!(
                "{} holds {MAX_CREDENTIALS} credentials, and no more are allowed in one scope",
                id.scope
            )));
        }
        let given = self.take(provider, &mut effects.applied.notes)?;
        let mode = self.mode(provider, existing.as_ref(), &given)?;
        check_fields(&given, provider, mode)?;

        let mut rules = existing
            .as_ref()
            .map(|c| c.rules.clone())
            .unwrap_or_default();
        let same_mode = existing
            .as_ref()
            .is_some_and(|c| c.version.mode == mode.name);
        let renewed = match self.secret {
            SecretEdit::Renew => true,
            SecretEdit::Given => !same_mode || !given.secrets.is_empty(),
            SecretEdit::Keep if !given.secrets.is_empty() => {
                return Err(Error::Invalid(
                    "a secret is given, and the one that is there is to be kept".to_owned(),
                ));
            }
            SecretEdit::Keep => false,
        };
        let mut credential = match existing {
            Some(credential) => credential,
            None => Credential {
                id: CredentialId::draw()
                    .map_err(|error| Error::Home(format!("no randomness: {error}")))?,
                provider: id.provider.clone(),
                name: id.name.clone(),
                enabled: true,
                rules: Rules::default(),
                version: unwritten(mode),
            },
        };
        if renewed {
            let replaced = credential.version.clone();
            self.renew(&mut credential, given, provider, mode, context, effects)?;
            if replaced.number > 0 {
                effects.remove_blobs.push(replaced.blob);
                if replaced.mode != mode.name {
                    let note = format!("the secret of the mode {} is destroyed", replaced.mode);
                    effects.applied.notes.push(note);
                }
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
        credential.rules = rules;
        effects.applied.version = Some(credential.version.number);
        match scope.credentials.iter_mut().find(|c| c.id == credential.id) {
            Some(place) => *place = credential,
            None => scope.credentials.push(credential),
        }
        Ok(())
    }

    /// Checks the given fields, each by its format.
    fn take(&self, provider: &Provider, notes: &mut Vec<String>) -> Result<Given, Error> {
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
            let taken = value::take(field, secret)?;
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
        let known = || {
            provider
                .modes
                .iter()
                .map(|mode| mode.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(name) = &self.mode {
            return provider.mode(name).ok_or_else(|| {
                Error::Invalid(format!(
                    "{} has no mode {}; it has: {}",
                    provider.id,
                    quoted(name),
                    known()
                ))
            });
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
                Error::Invalid(format!(
                    "no mode of {} takes these fields together; give one by --mode: {}",
                    provider.id,
                    known()
                ))
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
            number: credential.version.number + 1,
            created_at_ms: context.now_ms,
            mode: mode.name.clone(),
            hosts: value::hosts(provider, &parameters)?,
            parameters,
            blob: Digest::of(b""),
            sealed_to: context.keys.recipient_ids(),
            epoch: EPOCH,
            secret_fields: given.secrets.iter().map(|(name, _)| name.clone()).collect(),
        };
        credential.version = version;
        let binding: Binding = credential.binding(&self.credential.scope);
        let sealed = context
            .keys
            .seal(&binding, &given.secrets)
            .map_err(|error| Error::Sealed {
                scope: self.credential.scope.clone(),
                credential: format!("{}/{}", credential.provider, credential.name),
                error,
            })?;
        credential.version.blob = Digest::of(&sealed);
        effects.add_blobs.push(sealed);
        Ok(())
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
        epoch: EPOCH,
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
    let project = account.and_then(|(_, account)| value::project_of(account));
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
    let how = match provider.field(name) {
        Some(field) if field.secret => {
            "enter it at the prompt, or give it by --from-env, --from-file or standard input"
                .to_owned()
        }
        _ => format!("give it by --param {name}=VALUE"),
    };
    InvalidValue::new(
        name,
        format!(
            "{} needs it in the mode {} ({label}); {how}",
            provider.id, mode.name
        ),
    )
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
            "changing to the mode {} takes entering the secret again",
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
        return Err(Error::Invalid(format!(
            "the secret is bound to {}; to use it with {host}, enter it again",
            version.hosts.join(", ")
        )));
    }
    version.parameters = parameters;
    Ok(())
}

impl RuleChanges {
    fn apply(&self, rules: &mut Rules, scope: &ScopePath) -> Result<(), Error> {
        if let Edit::Set(models) = &self.models {
            check_patterns("a model pattern", models.iter(), is_model_pattern)?;
        }
        self.models.apply(&mut rules.models);
        self.expires_at_ms.apply(&mut rules.expires_at_ms);
        if let Some(sharing) = &self.sharing {
            if let Sharing::Paths(paths) = sharing {
                check_patterns("a path pattern", paths.iter(), is_path_pattern)?;
                let organization = scope.chain().last();
                let elsewhere = |path: &&String| {
                    let first = path.split('/').next().unwrap_or_default();
                    !first.contains('*')
                        && organization.as_ref().is_some_and(|o| o.as_str() != first)
                };
                if let Some(path) = paths.iter().find(elsewhere) {
                    return Err(Error::Invalid(format!(
                        "{path} matches nothing below {scope}: a pattern is a whole path, such as {scope}/*"
                    )));
                }
            }
            rules.sharing = sharing.clone();
        }
        rules.mandatory = self.mandatory.unwrap_or(rules.mandatory);
        rules.priority = self.priority.unwrap_or(rules.priority);
        Ok(())
    }
}

fn check_patterns<'a>(
    what: &str,
    patterns: impl Iterator<Item = &'a String> + Clone,
    fits: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    if patterns.clone().count() > MAX_PATTERNS {
        return Err(Error::Invalid(format!(
            "more than {MAX_PATTERNS} patterns are given"
        )));
    }
    let mut patterns = patterns;
    match patterns.find(|pattern| !fits(pattern)) {
        Some(pattern) => Err(Error::Invalid(format!("{} is not {what}", quoted(pattern)))),
        None => Ok(()),
    }
}

/// What a model consists of, and the two wildcards.
fn is_model_pattern(pattern: &str) -> bool {
    pattern.parse::<ModelId>().is_ok()
}

/// What a path consists of, with `*` for a part of a segment and `**` for
/// segments; as deep as paths are.
fn is_path_pattern(pattern: &str) -> bool {
    let fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
    let segment_fits = |segment: &str| {
        (1..=63).contains(&segment.len())
            && segment.bytes().all(fit)
            && (segment == "**" || !segment.contains("**"))
    };
    pattern.split('/').count() <= MAX_PATTERN_SEGMENTS && pattern.split('/').all(segment_fits)
}
