//! Every way to change a store, as one typed value.
//!
//! A [`Change`] is applied in memory to the scope's document at one revision. The result is
//! committed against that revision; if another writer was faster, the change is planned
//! again.

mod commit;
mod context;
mod credential;
mod destroy_due;
mod given_fields;
pub(crate) mod plan;
pub(crate) mod rules;
mod service_account;
pub(crate) mod set_credential;
pub(crate) mod value;

use entail_policy::Inheritance;
use serde_json::{Value, json};

pub use crate::change::context::Applied;

use crate::change::context::{Context, Effects};
use crate::change::set_credential::{SecretEdit, SetCredential};
use crate::credential_ref::CredentialRef;
use crate::documents::scope::Scope;
use crate::error::Error;
use entail_decision::name::{ModelId, ProviderId, ScopePath};

/// A change of the store.
#[allow(missing_debug_implementations)] // holds secrets
#[non_exhaustive]
pub enum Change {
    /// Adds an organization, or a project below an existing scope.
    AddScope {
        /// Its path.
        scope: ScopePath,
    },
    /// Removes a project with its credentials. It must have no projects below it.
    RemoveProject {
        /// Its path.
        scope: ScopePath,
    },
    /// Adds a credential, or changes what is given of it and leaves the rest.
    SetCredential(Box<SetCredential>),
    /// Enables or disables a credential.
    SetEnabled {
        /// The credential.
        credential: CredentialRef,
        /// Whether it is enabled.
        enabled: bool,
    },
    /// Reactivates the version that was retired last.
    RollBackCredential {
        /// The credential.
        credential: CredentialRef,
        /// How long the current version is kept, in milliseconds; 0 destroys it.
        grace_ms: u64,
    },
    /// Destroys the retired versions and removed credentials whose grace period is certainly over:
    /// see [`Maintenance::destroy_due`].
    ///
    /// [`Maintenance::destroy_due`]: crate::Maintenance::destroy_due
    DestroyRetired {
        /// The scope that holds them.
        scope: ScopePath,
    },
    /// Removes a credential.
    RemoveCredential {
        /// The credential.
        credential: CredentialRef,
        /// How long it can be restored, in milliseconds; 0 destroys its secret.
        grace_ms: u64,
    },
    /// Restores the credential with this name that was removed last.
    RestoreCredential {
        /// The credential.
        credential: CredentialRef,
    },
    /// Sets whether a scope inherits a provider's credentials from its parent.
    SetInheritance {
        /// The scope.
        scope: ScopePath,
        /// The provider; `None` means all, and clears what is set for single ones.
        provider: Option<ProviderId>,
        /// The inheritance.
        inheritance: Inheritance,
    },
    /// Sets the default model of a scope, for requests that name none.
    SetModel {
        /// The scope.
        scope: ScopePath,
        /// The provider.
        provider: ProviderId,
        /// The model; `None` clears it.
        model: Option<ModelId>,
    },
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

    /// The provider that it sets something for, which must be known. What exists can be
    /// disabled and removed even if its provider is no longer known.
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

    /// Its entry in the journal: of secrets, only the names of the fields.
    pub(crate) fn record(&self) -> Value {
        match self {
            Change::AddScope { scope } => json!({"change": "add-scope", "scope": scope}),
            Change::RemoveProject { scope } => json!({"change": "remove-project", "scope": scope}),
            Change::SetCredential(set) => {
                let fields: Vec<&str> = set.fields.iter().map(|(name, _)| name.as_str()).collect();
                json!({
                    "change": if set.secret == SecretEdit::Rotate { "rotate-credential" } else { "set-credential" },
                    "scope": set.credential.scope,
                    "provider": set.credential.provider,
                    "credential": set.credential.name,
                    "fields": fields,
                })
            }
            Change::SetEnabled {
                credential,
                enabled: true,
            } => record_of("enable-credential", credential),
            Change::SetEnabled { credential, .. } => record_of("disable-credential", credential),
            Change::DestroyRetired { scope } => {
                json!({"change": "destroy-retired", "scope": scope})
            }
            Change::RollBackCredential { credential, .. } => {
                record_of("roll-back-credential", credential)
            }
            Change::RemoveCredential { credential, .. } => {
                record_of("remove-credential", credential)
            }
            Change::RestoreCredential { credential } => record_of("restore-credential", credential),
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

    /// Applies the change to `scope`, the current document; `None` if the scope does not
    /// exist. Returns the new document; `None` if the change removes the scope.
    pub(crate) fn apply(
        &self,
        scope: Option<Scope>,
        context: &Context<'_>,
    ) -> Result<(Option<Scope>, Effects), Error> {
        if let Change::AddScope { scope: path } = self {
            return match scope {
                Some(_) => Err(Error::ScopeExists(path.clone())),
                None => Ok((
                    Some(Scope::default()),
                    Effects::of_new_scope(path, context)?,
                )),
            };
        }
        let mut scope = scope.ok_or_else(|| Error::UnknownScope(self.scope().clone()))?;
        let mut effects = Effects {
            remove_blobs: scope.drop_destroyable(&context.times),
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
                credential::find(credential, &mut scope)?.enabled = *enabled;
            }
            Change::RollBackCredential {
                credential: id,
                grace_ms,
            } => credential::roll_back(id, &mut scope, *grace_ms, context, &mut effects)?,
            Change::RemoveCredential {
                credential: id,
                grace_ms,
            } => credential::remove(id, &mut scope, *grace_ms, context, &mut effects)?,
            Change::RestoreCredential { credential: id } => {
                credential::restore(id, &mut scope, &mut effects)?;
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

/// The journal entry of a change of a credential.
fn record_of(change: &str, credential: &CredentialRef) -> Value {
    json!({
        "change": change,
        "scope": credential.scope,
        "provider": credential.provider,
        "credential": credential.name,
    })
}
