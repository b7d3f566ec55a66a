//! Setting a credential: adding it, replacing its secret, or changing its parameters and
//! rules.

use std::collections::BTreeMap;

use entail_store::{Digest, Epoch, Fault, Fields, Keys, Secret, Tampering};

use crate::change::context::{Context, Effects};
use crate::change::given_fields::{GivenFields, complete, missing};
use crate::change::rules::{Edit, RuleChanges};
use crate::credential_ref::CredentialRef;
use crate::documents::scope::{Credential, Rules, Scope, Version, readers};
use crate::error::Error;
use crate::urls::{destination, hosts, plain_http, unsafe_url};
use entail_decision::name::CredentialId;
use entail_decision::provider::{Mode, Provider};

/// What to set of a credential.
#[allow(missing_debug_implementations)] // holds secrets
pub struct SetCredential {
    /// The credential.
    pub credential: CredentialRef,
    /// The mode of the provider; `None` keeps the current one, or takes the first for
    /// which the given fields suffice.
    pub mode: Option<String>,
    /// Fields by name, secret or public. Without a secret field the current secret stays.
    pub fields: Vec<(String, Secret)>,
    /// The rules to change.
    pub rules: RuleChanges,
    /// What to do with the secret.
    pub secret: SecretEdit,
    /// How long a replaced secret is kept for a rollback, in milliseconds; 0 destroys it at
    /// once.
    pub grace_ms: u64,
}

/// What setting a credential does with its secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretEdit {
    /// Replaces it if a secret field is given, otherwise keeps it.
    #[default]
    Given,
    /// Keeps it; no secret field may be given.
    Keep,
    /// Rotates it; the credential must exist.
    Rotate,
    /// Sets it for the first time; the credential must not exist.
    New,
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
        self.check_existence(scope, existing.as_ref())?;
        let mut rules = existing
            .as_ref()
            .map_or_else(|| first_rules(scope, id), |c| c.rules.clone());
        let allows_http = self.rules.unsafe_http.unwrap_or(rules.unsafe_http);
        let notes = &mut effects.applied.notes;
        let given = GivenFields::parse(&self.fields, provider, allows_http, notes)?;
        let mode = given.mode(self.mode.as_deref(), provider, existing.as_ref())?;
        given.check_mode(provider, mode)?;
        let replaces_secret = self.replaces_secret(existing.as_ref(), mode, &given)?;
        let mut credential = match existing {
            Some(credential) => credential,
            None => new_credential(id, mode)?,
        };
        if replaces_secret {
            let replaced = credential.version.clone();
            self.set_secret(&mut credential, given, provider, mode, context, effects)?;
            if replaced.number > 0 {
                self.retire(&mut credential, replaced, &mut rules, context, effects);
            }
        } else {
            let sealed_for = credential.version.destination_digest();
            keep_secret(&mut credential.version, given, provider, mode)?;
            if credential.version.destination_digest() != sealed_for {
                self.seal_again(&mut credential, context, effects)?;
            }
        }
        self.rules.apply(&mut rules, &id.scope)?;
        check_plain_http(&credential, &mut rules, allows_http, effects)?;
        credential.rules = rules;
        effects.applied.version = Some(credential.version.number);
        match scope.credentials.iter_mut().find(|c| c.id == credential.id) {
            Some(place) => *place = credential,
            None => scope.credentials.push(credential),
        }
        Ok(())
    }

    /// Checks whether the credential may, or must, exist.
    fn check_existence(&self, scope: &Scope, existing: Option<&Credential>) -> Result<(), Error> {
        let id = &self.credential;
        match (self.secret, existing) {
            (SecretEdit::Keep | SecretEdit::Rotate, None) => Err(Error::unknown_credential(id)),
            (SecretEdit::New, Some(_)) => Err(Error::Invalid(format!(
                "{} has a {} credential {} already",
                id.scope, id.provider, id.name
            ))),
            (_, None) => scope.check_room(&id.scope),
            (_, Some(_)) => Ok(()),
        }
    }

    /// Whether the credential gets a new secret.
    fn replaces_secret(
        &self,
        existing: Option<&Credential>,
        mode: &Mode,
        given: &GivenFields,
    ) -> Result<bool, Error> {
        let same_mode = existing.is_some_and(|c| c.version.mode == mode.name);
        // A mode without a secret has nothing to keep.
        let keyless = same_mode && existing.is_some_and(|c| c.version.secret_fields.is_empty());
        match self.secret {
            SecretEdit::New | SecretEdit::Rotate => Ok(true),
            SecretEdit::Given => Ok(!same_mode || !given.secrets.is_empty() || keyless),
            SecretEdit::Keep if !given.secrets.is_empty() => Err(Error::Invalid(
                "a secret is given, although the current one is to be kept".to_owned(),
            )),
            SecretEdit::Keep => Ok(keyless),
        }
    }

    /// Seals the given secrets as the next version.
    fn set_secret(
        &self,
        credential: &mut Credential,
        given: GivenFields,
        provider: &Provider,
        mode: &Mode,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut parameters = given.merged(&credential.version.parameters, mode);
        let notes = &mut effects.applied.notes;
        complete(&mut parameters, &given.secrets, provider, mode, notes);
        given.check_required(&parameters, provider, mode)?;
        let epoch = self.newest_epoch(context)?;
        let version = Version {
            number: credential.last_version + 1,
            created_at_ms: context.times.now.at_ms,
            mode: mode.name.clone(),
            hosts: hosts(provider, &parameters)?,
            destination: destination(provider),
            parameters,
            blob: Digest::of(b""),
            epoch: epoch.number,
            secret_fields: given.secrets.iter().map(|(name, _)| name.clone()).collect(),
        };
        credential.last_version = version.number;
        credential.version = version;
        self.seal(credential, &given.secrets, context, effects)
    }

    /// Seals the present secret again, for the destination that the parameters now lead to.
    fn seal_again(
        &self,
        credential: &mut Credential,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let Some(fields) = &context.present_secret else {
            return Err(Error::DestinationSealed {
                parameters: credential.version.destination.clone(),
            });
        };
        effects.remove_blobs.push(credential.version.blob);
        credential.version.epoch = self.newest_epoch(context)?.number;
        self.seal(credential, fields, context, effects)
    }

    /// Seals the fields as the secret of the version.
    fn seal(
        &self,
        credential: &mut Credential,
        fields: &Fields,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let scope = &self.credential.scope;
        let epoch = self.newest_epoch(context)?;
        let seal_context = credential.seal_context(scope, context.keyring.store());
        let sealed = Keys::seal(epoch, &seal_context, fields).map_err(|error| Error::Sealed {
            scope: scope.clone(),
            credential: format!("{}/{}", credential.provider, credential.name),
            error,
        })?;
        credential.version.blob = Digest::of(&sealed);
        effects.add_blobs.push(sealed);
        // What a locked identity opens is not known.
        let mut own = context.keys.identity_ids();
        let is_open = own.any(|id| epoch.sealed_to.iter().any(|to| to == id));
        if !is_open && !context.keys.is_locked() {
            effects.note(format!(
                "this machine cannot read the secrets of {}, and will not be able to read this one",
                scope.organization()
            ));
        }
        Ok(())
    }

    /// The epoch that secrets of the organization are sealed to.
    fn newest_epoch<'a>(&self, context: &Context<'a>) -> Result<&'a Epoch, Error> {
        let readers = readers(context.keyring, &self.credential.scope)?;
        let newest = readers.newest().ok_or_else(|| {
            let what = format!("the organization {}", readers.organization);
            Tampering::new(Fault::Missing, what, "has no epoch")
        });
        Ok(newest?)
    }

    /// Whether the secret of `version` stays, but a parameter that it is sealed with is given.
    pub(crate) fn may_change_destination(&self, version: &Version) -> bool {
        let mut names = self.fields.iter().map(|(name, _)| name);
        matches!(self.secret, SecretEdit::Given | SecretEdit::Keep)
            && names.any(|name| version.destination.contains(name))
    }

    /// Retires the version that was replaced, and its expiry.
    fn retire(
        &self,
        credential: &mut Credential,
        replaced: Version,
        rules: &mut Rules,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        if replaced.mode != credential.version.mode && self.grace_ms == 0 {
            effects.note(format!(
                "the secret of the mode {} is destroyed",
                replaced.mode
            ));
        }
        let expires_at_ms = rules.expires_at_ms.take();
        effects.retire(credential, replaced, expires_at_ms, self.grace_ms, context);
        if expires_at_ms.is_some() && self.rules.expires_at_ms == Edit::Keep {
            effects.note("the expiry of the old secret no longer applies");
        }
    }
}

/// The rules of a new credential. Its priority comes after those that the scope has for
/// the provider, so that adding it does not change which one is used.
fn first_rules(scope: &Scope, id: &CredentialRef) -> Rules {
    let others = scope.credentials_for(&id.provider);
    let last = others.map(|credential| credential.rules.priority).max();
    Rules {
        priority: last.map_or(0, |last| last.saturating_add(1)),
        ..Rules::default()
    }
}

/// A credential without a secret yet: at version 0.
fn new_credential(id: &CredentialRef, mode: &Mode) -> Result<Credential, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Home(format!("no randomness: {error}")))?;
    Ok(Credential {
        id: CredentialId::from_bytes(bytes),
        provider: id.provider.clone(),
        name: id.name.clone(),
        enabled: true,
        rules: Rules::default(),
        version: Version {
            number: 0,
            created_at_ms: 0,
            mode: mode.name.clone(),
            parameters: BTreeMap::new(),
            hosts: Vec::new(),
            destination: Vec::new(),
            blob: Digest::of(b""),
            epoch: 0,
            secret_fields: Vec::new(),
        },
        retired: Vec::new(),
        last_version: 0,
    })
}

/// Changes only the public parameters, if the secret is bound to the hosts they lead to.
fn keep_secret(
    version: &mut Version,
    given: GivenFields,
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
    let mut required = mode.required.iter();
    if let Some(name) = required.find(|name| given.removed.contains(name)) {
        return Err(missing(provider, mode, name).into());
    }
    let hosts = hosts(provider, &parameters)?;
    if let Some(host) = hosts.into_iter().find(|host| !version.hosts.contains(host)) {
        return Err(Error::OtherHost {
            host,
            hosts: version.hosts.clone(),
        });
    }
    version.parameters = parameters;
    Ok(())
}

/// Rejects a plain HTTP URL of another machine unless it is allowed, and notes one that is
/// new.
fn check_plain_http(
    credential: &Credential,
    rules: &mut Rules,
    allows_http: bool,
    effects: &mut Effects,
) -> Result<(), Error> {
    let unsafe_url = unsafe_url(&credential.version.parameters);
    rules.unsafe_http = unsafe_url.is_some();
    match unsafe_url {
        Some((name, url)) if !allows_http => return Err(plain_http(name, url).into()),
        Some((_, url)) if !credential.rules.unsafe_http => effects.note(format!(
            "the secret goes to {url} over plain HTTP: anybody on that network can read it"
        )),
        _ => {}
    }
    Ok(())
}
