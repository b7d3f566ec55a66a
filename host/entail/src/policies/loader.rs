//! Admitting components, and keeping the admitted ones.
//!
//! # Security
//!
//! The bytes of a component are a blob, which the store verifies against the digest in the
//! signed document whenever it is read. Nothing else, such as a file or the name of a cache
//! entry, decides which bytes run.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use entail_policy::{Engine, Limits, Policy, PolicyDigest, Rejected};
use entail_store::Store;

use crate::documents::policy::{PolicyActivation, blob_of};
use crate::error::Error;

/// How many admitted components are kept for the next organization that activates them.
/// Active ones are kept in any case. Each takes up to some megabytes.
const KEPT: usize = 8;

/// Loads the policies of a process.
pub(crate) struct PolicyLoader {
    engine: Engine,
    built_in: &'static [u8],
    /// Loaded when it is first needed: most commands decide nothing.
    built_in_policy: OnceLock<Policy>,
    built_in_digest: OnceLock<PolicyDigest>,
    /// The most recently admitted last.
    admitted: Mutex<Vec<Policy>>,
}

impl PolicyLoader {
    pub(super) fn new(engine: Engine, built_in: &'static [u8]) -> Self {
        PolicyLoader {
            engine,
            built_in,
            built_in_policy: OnceLock::new(),
            built_in_digest: OnceLock::new(),
            admitted: Mutex::default(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The built-in policy. If it cannot be loaded, the next call tries again.
    pub(crate) fn built_in(&self) -> Result<&Policy, Error> {
        if let Some(policy) = self.built_in_policy.get() {
            return Ok(policy);
        }
        let policy = self.engine.admit_trusted(self.built_in);
        let policy = policy.map_err(|rejected| match rejected {
            Rejected::Engine(error) => Error::Engine(error),
            other => other.into(),
        })?;
        Ok(self.built_in_policy.get_or_init(|| policy))
    }

    /// The digest of the built-in policy, even if it cannot be loaded.
    pub(crate) fn built_in_digest(&self) -> PolicyDigest {
        let digest = || PolicyDigest::of(self.built_in);
        *self.built_in_digest.get_or_init(digest)
    }

    /// Loads an activated policy: reads its component and admits it, unless that was done
    /// before.
    pub(crate) async fn load(
        &self,
        store: &Store,
        activation: &PolicyActivation,
    ) -> Result<Policy, Error> {
        if let Some(policy) = self.loaded(activation)? {
            return Ok(policy);
        }
        let Some(component) = activation.component else {
            return Ok(self.built_in()?.clone());
        };
        let bytes = store.blob(&blob_of(component)).await?;
        let policy = self.admit(bytes, activation.limits.clone()).await?;
        Ok(with_settings(&policy, activation))
    }

    /// An activated policy, if its component was admitted before.
    pub(super) fn loaded(&self, activation: &PolicyActivation) -> Result<Option<Policy>, Error> {
        let policy = match activation.component {
            None => Some(self.built_in()?.clone()),
            Some(component) => self
                .admitted()
                .iter()
                .find(|policy| is(policy, component, &activation.limits))
                .cloned(),
        };
        Ok(policy.map(|policy| with_settings(&policy, activation)))
    }

    /// Admits a component and keeps it.
    pub(super) async fn admit(
        &self,
        component: impl AsRef<[u8]> + Send + 'static,
        limits: Limits,
    ) -> Result<Policy, Error> {
        let policy = self.engine.admit_async(component, limits).await?;
        let mut admitted = self.admitted();
        admitted.retain(|other| !is(other, policy.digest(), policy.limits()));
        admitted.push(policy.clone());
        let surplus = admitted.len().saturating_sub(KEPT);
        admitted.drain(..surplus);
        Ok(policy)
    }

    fn admitted(&self) -> MutexGuard<'_, Vec<Policy>> {
        // A panic cannot leave the list inconsistent.
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy with its settings, which it accepted when it was activated. The document is
/// signed, so they are not checked again.
fn with_settings(policy: &Policy, activation: &PolicyActivation) -> Policy {
    policy.with_accepted_settings(&activation.settings, activation.isolation)
}

fn is(policy: &Policy, component: PolicyDigest, limits: &Limits) -> bool {
    policy.digest() == component && policy.limits() == limits
}
