//! The scopes of an import before it.

use std::collections::BTreeMap;

use entail::policy::Inheritance;
use entail::{CredentialName, Entail, Error, ProviderId, Scope, ScopePath};

use crate::error::CliError;
use crate::session::Session;

/// What the scopes of an import hold before it.
pub struct Present {
    scopes: BTreeMap<ScopePath, Option<Scope>>,
}

impl Present {
    /// Reads the organization, the scopes of the projects and those between.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn read(
        session: &Session,
        entail: &Entail,
        scopes: impl Iterator<Item = &ScopePath>,
    ) -> Result<Self, CliError> {
        let mut present = BTreeMap::new();
        for path in scopes.flat_map(ScopePath::chain) {
            if present.contains_key(&path) {
                continue;
            }
            let scope = match entail.scope(&session.principal, &path).await {
                Ok(scope) => Some((*scope).clone()),
                Err(Error::UnknownScope(_)) => None,
                Err(error) => return Err(error.into()),
            };
            present.insert(path, scope);
        }
        Ok(Present { scopes: present })
    }

    fn get(&self, path: &ScopePath) -> Option<&Scope> {
        self.scopes.get(path)?.as_ref()
    }

    /// Whether the scope exists.
    pub fn exists(&self, path: &ScopePath) -> bool {
        self.get(path).is_some()
    }

    /// The names of the credentials that a scope holds for a provider.
    pub fn credentials(&self, path: &ScopePath, provider: &ProviderId) -> Vec<CredentialName> {
        let scope = self.get(path).into_iter();
        scope
            .flat_map(|scope| scope.credentials_for(provider))
            .map(|credential| credential.name.clone())
            .collect()
    }

    /// What a scope inherits for a provider.
    pub fn inheritance(&self, path: &ScopePath, provider: &ProviderId) -> Inheritance {
        self.get(path)
            .map_or(Inheritance::Isolated, |scope| scope.inheritance(provider))
    }
}
