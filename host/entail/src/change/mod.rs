//! Every way to change a store, as one typed value.
//!
//! A [`Change`] is applied to the scope's document as it is at one revision, in
//! memory; what comes out is committed against that very revision, or, when
//! somebody else was faster, worked out again.

pub(crate) mod rules;
pub(crate) mod service_account;
pub(crate) mod set_credential;
pub(crate) mod value;

use entail_policy::Inheritance;
use entail_store::{Digest, Recipients};
use serde_json::json;

use crate::change::set_credential::{SecretEdit, SetCredential};
use crate::credential_ref::CredentialRef;
use crate::documents::retirements::{Grace, Times};
use crate::documents::scope::{Credential, Scope, Version};
use crate::error::Error;
use entail_decision::name::{ModelId, ProviderId, ScopePath};
use entail_decision::provider::Provider;

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
    /// Brings the version back into service that was retired last.
    RollBackCredential {
        /// Which one.
        credential: CredentialRef,
        /// For how long the present version is kept, in milliseconds; 0 destroys it.
        grace_ms: u64,
    },
    /// Destroys the retired versions and removed credentials whose time is over beyond
    /// doubt: see
    /// [`Entail::destroy_due`].
    ///
    /// [`Entail::destroy_due`]: crate::Entail::destroy_due
    DestroyRetired {
        /// The scope that holds them.
        scope: ScopePath,
    },
    /// Removes a credential.
    RemoveCredential {
        /// Which one.
        credential: CredentialRef,
        /// For how long it can be restored, in milliseconds; 0 destroys its secret.
        grace_ms: u64,
    },
    /// Restores the credential of that name that was removed last.
    RestoreCredential {
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

/// What a change did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What a person should be told.
    pub notes: Vec<String>,
    /// The version that a credential is at.
    pub version: Option<u32>,
    /// Until when the version before is kept, in milliseconds since
    /// 1970-01-01T00:00:00Z; none if it is not.
    pub retired_until_ms: Option<u64>,
}

/// What a change needs to know besides the document it changes.
pub(crate) struct Context<'a> {
    /// What is known of the time.
    pub(crate) times: Times<'a>,
    /// Who secrets are sealed to.
    pub(crate) recipients: &'a Recipients,
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

impl Effects {
    /// For how long something is kept that is taken out of service now.
    fn grace(&mut self, grace_ms: u64, context: &Context<'_>) -> Option<Grace> {
        let grace = context.times.grace(grace_ms);
        if grace.is_some() && context.times.is_behind() {
            self.applied.notes.push(
                "this machine's clock is far behind the newest change, so the time to go back counts from that change on"
                    .to_owned(),
            );
        }
        grace
    }

    /// Takes a version of a credential out of service.
    pub(crate) fn retire(
        &mut self,
        credential: &mut Credential,
        version: Version,
        expires_at_ms: Option<u64>,
        grace_ms: u64,
        context: &Context<'_>,
    ) {
        let grace = self.grace(grace_ms, context);
        self.applied.retired_until_ms = grace.as_ref().map(|grace| grace.until_ms);
        let note = credential.retire(version, expires_at_ms, grace, &mut self.remove_blobs);
        self.applied.notes.extend(note);
    }
}

impl Change {
    /// The scope whose document it changes.
    pub fn scope(&self) -> &ScopePath {
        match self {
            Change::AddScope { scope }
            | Change::RemoveProject { scope }
            | Change::DestroyRetired { scope }
            | Change::SetInheritance { scope, .. }
            | Change::SetModel { scope, .. } => scope,
            Change::SetCredential(set) => &set.credential.scope,
            Change::SetEnabled { credential, .. }
            | Change::RollBackCredential { credential, .. }
            | Change::RemoveCredential { credential, .. }
            | Change::RestoreCredential { credential } => &credential.scope,
        }
    }

    /// The provider that it sets something for. What is there already can be
    /// switched off and removed also when its provider is no longer known.
    pub fn provider(&self) -> Option<&ProviderId> {
        match self {
            Change::AddScope { .. }
            | Change::RemoveProject { .. }
            | Change::SetEnabled { .. }
            | Change::RollBackCredential { .. }
            | Change::DestroyRetired { .. }
            | Change::RemoveCredential { .. }
            | Change::RestoreCredential { .. } => None,
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
            Change::DestroyRetired { scope } => {
                json!({"change": "destroy-retired", "scope": scope})
            }
            Change::RollBackCredential { credential, .. } => json!({
                "change": "roll-back-credential",
                "scope": credential.scope,
                "provider": credential.provider,
                "credential": credential.name,
            }),
            Change::RemoveCredential { credential, .. } => json!({
                "change": "remove-credential",
                "scope": credential.scope,
                "provider": credential.provider,
                "credential": credential.name,
            }),
            Change::RestoreCredential { credential } => json!({
                "change": "restore-credential",
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
        let mut effects = Effects {
            remove_blobs: scope.drop_over(&context.times),
            ..Effects::default()
        };
        match self {
            Change::AddScope { .. } | Change::DestroyRetired { .. } => {}
            Change::RemoveProject { .. } => {
                effects.remove_blobs = scope.blobs().collect();
                return Ok((None, effects));
            }
            Change::SetCredential(set) => set.apply(&mut scope, context, &mut effects)?,
            Change::SetEnabled {
                credential,
                enabled,
            } => {
                credential.find(&mut scope)?.enabled = *enabled;
            }
            Change::RollBackCredential {
                credential: id,
                grace_ms,
            } => id.roll_back(&mut scope, *grace_ms, context, &mut effects)?,
            Change::RemoveCredential {
                credential,
                grace_ms,
            } => credential.remove(&mut scope, *grace_ms, context, &mut effects)?,
            Change::RestoreCredential { credential } => {
                credential.restore(&mut scope, &mut effects)?;
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
            .ok_or_else(|| Error::unknown_credential(self))
    }

    /// Swaps the version that was retired last with the present one.
    fn roll_back(
        &self,
        scope: &mut Scope,
        grace_ms: u64,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let credential = self.find(scope)?;
        if credential.retired.is_empty() {
            return Err(Error::Invalid(format!(
                "{} {} {} has no earlier version: it was never renewed, or the time to go back is over",
                self.scope, self.provider, self.name
            )));
        }
        let back = credential.retired.remove(0);
        let replaced = std::mem::replace(&mut credential.version, back.version);
        let expires_at_ms =
            std::mem::replace(&mut credential.rules.expires_at_ms, back.expires_at_ms);
        // It was allowed when that version was set.
        credential.rules.unsafe_http = value::unsafe_url(&credential.version.parameters).is_some();
        effects.retire(credential, replaced, expires_at_ms, grace_ms, context);
        effects.applied.version = Some(credential.version.number);
        Ok(())
    }

    fn remove(
        &self,
        scope: &mut Scope,
        grace_ms: u64,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut credentials = scope.credentials.iter();
        let position = credentials
            .position(|credential| credential.is(&self.provider, &self.name))
            .ok_or_else(|| Error::unknown_credential(self))?;
        let grace = effects.grace(grace_ms, context);
        effects.applied.retired_until_ms = scope.remove(
            position,
            grace,
            &mut effects.remove_blobs,
            &mut effects.applied.notes,
        );
        Ok(())
    }

    fn restore(&self, scope: &mut Scope, effects: &mut Effects) -> Result<(), Error> {
        if scope.credential(&self.provider, &self.name).is_some() {
            return Err(Error::Invalid(format!(
                "{} has a credential {} for {}, so the one that was removed cannot be restored \
                 under that name",
                self.scope, self.name, self.provider
            )));
        }
        scope.check_room(&self.scope)?;
        let mut removed = scope.removed.iter();
        let position = removed
            .position(|removed| removed.credential.is(&self.provider, &self.name))
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "{} has no removed credential {} for {}: none was removed, or the time to \
                     restore it is over",
                    self.scope, self.name, self.provider
                ))
            })?;
        let credential = scope.removed.remove(position).credential;
        effects.applied.version = Some(credential.version.number);
        scope.credentials.push(credential);
        Ok(())
    }
}
