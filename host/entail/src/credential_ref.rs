//! The full name of a credential.

use serde::Serialize;

use entail_decision::name::{CredentialName, ProviderId, ScopePath};

/// Names a credential: its scope, its provider, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct CredentialRef {
    /// The scope that holds it.
    pub scope: ScopePath,
    /// The provider it is for.
    pub provider: ProviderId,
    /// Its name.
    pub name: CredentialName,
}
