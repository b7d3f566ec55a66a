//! The changes of an import.

use entail::policy::Inheritance;
use entail::{
    Change, CredentialName, CredentialRef, ProviderId, RuleChanges, ScopePath, Secret, SecretEdit,
    SetCredential,
};

use super::recognize::Candidate;
use entail_api::import::{ChangeKind, ChangeReport};

/// A change of the store.
pub enum Step {
    AddScope(ScopePath),
    SetCredential {
        scope: ScopePath,
        provider: ProviderId,
        mode: String,
        fields: Vec<(String, Secret)>,
    },
    Inherit {
        scope: ScopePath,
        provider: ProviderId,
    },
}

impl Step {
    /// Sets a credential on a scope.
    pub fn set(scope: &ScopePath, candidate: &Candidate) -> Self {
        Step::SetCredential {
            scope: scope.clone(),
            provider: candidate.provider.clone(),
            mode: candidate.mode.clone(),
            fields: candidate.fields.clone(),
        }
    }

    /// The scope.
    pub fn scope(&self) -> &ScopePath {
        match self {
            Step::AddScope(scope)
            | Step::SetCredential { scope, .. }
            | Step::Inherit { scope, .. } => scope,
        }
    }

    /// The step for the report, without secrets.
    pub fn report(&self) -> ChangeReport {
        let (change, scope, provider) = match self {
            Step::AddScope(scope) => (ChangeKind::AddScope, scope, None),
            Step::SetCredential {
                scope, provider, ..
            } => (ChangeKind::SetCredential, scope, Some(provider)),
            Step::Inherit { scope, provider } => (ChangeKind::Inherit, scope, Some(provider)),
        };
        ChangeReport {
            change,
            scope: scope.to_string(),
            provider: provider.map(ToString::to_string),
        }
    }

    /// The change for the library. It fails if another process has set the credential.
    pub fn change(self) -> Change {
        match self {
            Step::AddScope(scope) => Change::AddScope { scope },
            Step::SetCredential {
                scope,
                provider,
                mode,
                fields,
            } => Change::SetCredential(Box::new(SetCredential {
                credential: CredentialRef {
                    scope,
                    provider,
                    name: CredentialName::default(),
                },
                mode: Some(mode),
                fields,
                rules: RuleChanges::default(),
                secret: SecretEdit::New,
                grace_ms: 0,
            })),
            Step::Inherit { scope, provider } => Change::SetInheritance {
                scope,
                provider: Some(provider),
                inheritance: Inheritance::Inherit,
            },
        }
    }
}
