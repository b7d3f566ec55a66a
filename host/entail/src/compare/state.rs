//! What scopes hold and which policies are active: one side of a comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use entail_policy::{Isolation, Policy};
use entail_store::{Keyring, Revision};

use crate::authorize::authorize;
use crate::documents::scope::{self, Scope};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::resolve::chain::Chain;
use entail_decision::name::ScopePath;

/// Scopes read at a time.
const PAGE: usize = 1_000;

/// What scopes hold, and which policies are active.
#[derive(Clone)]
pub(crate) struct AccessState {
    pub(super) revision: Revision,
    pub(super) keyring: Arc<Keyring>,
    pub(super) scopes: BTreeMap<ScopePath, Arc<Scope>>,
    /// Scopes whose documents cannot be read: nothing in them, or below them, is compared.
    pub(super) unreadable: Vec<ScopePath>,
    /// By organization.
    pub(super) policies: BTreeMap<ScopePath, Policy>,
}

impl AccessState {
    /// The chain of a scope and the policy that decides for it; `None` if the scope does
    /// not exist.
    pub(crate) fn resolve_chain(&self, path: &ScopePath) -> Option<(Chain, &Policy)> {
        let scopes: Option<Vec<_>> = path
            .chain()
            .map(|path| {
                let scope = self.scopes.get(&path)?;
                Some((path, Arc::clone(scope)))
            })
            .collect();
        let scopes = scopes?;
        let (organization, _) = scopes.last()?;
        let policy = self.policies.get(organization)?;
        let chain = Chain {
            revision: self.revision,
            keyring: Arc::clone(&self.keyring),
            scopes,
        };
        Some((chain, policy))
    }
}

impl Entail {
    /// Reads `paths` and their ancestors at `revision`, and loads their active policies.
    ///
    /// # Errors
    ///
    /// [`Error::Contended`] if the store is at another revision.
    pub(super) async fn load_state(
        &self,
        principal: &Principal,
        revision: Revision,
        paths: &[ScopePath],
    ) -> Result<AccessState, Error> {
        let keyring = self.documents.store.keyring().await?;
        let mut state = AccessState {
            revision,
            keyring,
            scopes: BTreeMap::new(),
            unreadable: Vec::new(),
            policies: BTreeMap::new(),
        };
        for path in paths {
            authorize(principal, Action::View, path)?;
        }
        let all: BTreeSet<ScopePath> = paths.iter().flat_map(ScopePath::chain).collect();
        let all: Vec<ScopePath> = all.into_iter().collect();
        for page in all.chunks(PAGE) {
            let keys: Vec<_> = page.iter().map(scope::document_key).collect();
            let snapshot = self.documents.store.read(&keys).await?;
            if snapshot.revision != revision {
                return Err(Error::Contended);
            }
            for (path, document) in page.iter().zip(snapshot.documents) {
                let Some(document) = document else { continue };
                match document.body::<Scope>() {
                    Ok(scope) => drop(state.scopes.insert(path.clone(), scope)),
                    // A signer of this scope alone may have written it.
                    Err(_) => state.unreadable.push(path.clone()),
                }
            }
        }
        for organization in all.into_iter().filter(ScopePath::is_organization) {
            let policy = self.policies().load_deciding(&organization).await?;
            // A fresh instance per call, so that a comparison leaves nothing in the shared
            // instances of the active policy.
            let policy = policy.with_isolation(Isolation::PerCall);
            state.policies.insert(organization, policy);
        }
        Ok(state)
    }
}
