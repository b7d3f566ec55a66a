//! The policy that decides for an organization.
//!
//! Each request reads the organization's document together with its facts, so the next
//! request sees a change. A component that this process admitted before is used immediately.
//! Another one is loaded in the background: meanwhile, for at most [`LAG`], the previous
//! policy still decides; then requests wait. If the policy cannot be loaded, they fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use entail_policy::{Engine, Policy, PolicyDigest};
use entail_store::{Document, Revision, Store, Tampering};
use tokio::sync::OnceCell;

use super::loader::PolicyLoader;
use super::shadow::Shadow;
use crate::documents::policy::ActivePolicy;
use crate::error::Error;
use entail_decision::name::ScopePath;

/// How long the previous policy still decides while the new one is loaded: other processes
/// must follow a change within a second.
const LAG: Duration = Duration::from_millis(800);

/// How long to wait before loading a policy again that could not be loaded.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The policies of a process.
pub(crate) struct ServingPolicies {
    loader: Arc<PolicyLoader>,
    built_in: OnceLock<Arc<Serving>>,
    organizations: Mutex<Organizations>,
}

#[derive(Default)]
struct Organizations {
    serving: HashMap<ScopePath, Arc<Serving>>,
    pending: HashMap<ScopePath, Arc<Pending>>,
}

/// The policy that decides for an organization.
pub(crate) struct Serving {
    /// The digest of the organization's document; `None` without one.
    document: Option<entail_store::Digest>,
    /// The revision of the store that wrote the document.
    pub(crate) bound_at: Option<Revision>,
    pub(crate) policy: Policy,
    pub(crate) shadow: Option<Arc<Shadow>>,
}

/// A policy that is being loaded.
struct Pending {
    document: entail_store::Digest,
    started: Instant,
    done: OnceCell<Result<Arc<Serving>, LoadError>>,
}

/// Why a policy cannot be loaded.
#[derive(Clone, Debug)]
enum LoadError {
    Tampered(Tampering),
    Unavailable(String),
    Rejected(String),
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Tampered(tampering) => Error::Tampered(tampering),
            LoadError::Unavailable(reason) => Error::Unavailable(reason),
            LoadError::Rejected(reason) => Error::PolicyUnready(reason),
        }
    }
}

impl From<Error> for LoadError {
    fn from(error: Error) -> Self {
        match error {
            Error::Tampered(tampering) => LoadError::Tampered(tampering),
            Error::Unavailable(reason) => LoadError::Unavailable(reason),
            other => LoadError::Rejected(other.to_string()),
        }
    }
}

impl ServingPolicies {
    pub(crate) fn new(engine: Engine, built_in: &'static [u8]) -> Arc<Self> {
        Arc::new(ServingPolicies {
            loader: Arc::new(PolicyLoader::new(engine, built_in)),
            built_in: OnceLock::new(),
            organizations: Mutex::default(),
        })
    }

    pub(crate) fn loader(&self) -> &Arc<PolicyLoader> {
        &self.loader
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.loader.engine()
    }

    pub(crate) fn built_in(&self) -> Result<&Policy, Error> {
        self.loader.built_in()
    }

    /// The digest of the built-in policy, even if it cannot be loaded.
    pub(crate) fn built_in_digest(&self) -> PolicyDigest {
        self.loader.built_in_digest()
    }

    fn serving_built_in(&self) -> Result<&Arc<Serving>, Error> {
        if let Some(serving) = self.built_in.get() {
            return Ok(serving);
        }
        let policy = self.loader.built_in()?.clone();
        Ok(self.built_in.get_or_init(|| {
            Arc::new(Serving {
                document: None,
                bound_at: None,
                policy,
                shadow: None,
            })
        }))
    }

    /// The policy that decides for an organization by its document; the built-in one
    /// without a document.
    pub(crate) async fn serving(
        self: &Arc<Self>,
        store: &Arc<Store>,
        active: Option<(&ScopePath, &Arc<Document>)>,
    ) -> Result<Arc<Serving>, Error> {
        let Some((organization, document)) = active else {
            return Ok(Arc::clone(self.serving_built_in()?));
        };
        let digest = document.digest();
        let before = self.organizations().serving.get(organization).cloned();
        if let Some(serving) = &before
            && serving.document == Some(digest)
        {
            return Ok(Arc::clone(serving));
        }
        let active = document.body::<ActivePolicy>()?;
        if let Some(policy) = self.loader.loaded(&active.current)? {
            let serving = Serving::new(document, policy, &active);
            return Ok(self.serve(organization, serving, before.as_deref()));
        }
        let (pending, is_first) = self.pending(organization, digest);
        let since_start = pending.started.elapsed();
        let loaded = {
            let (policies, store) = (Arc::clone(self), Arc::clone(store));
            let (organization, document) = (organization.clone(), Arc::clone(document));
            let before = before.clone();
            async move {
                let load = policies.load(&store, &organization, &document, before.as_deref());
                pending.done.get_or_init(|| load).await.clone()
            }
        };
        match before {
            Some(before) if since_start < LAG => {
                if is_first {
                    tokio::spawn(loaded);
                }
                Ok(before)
            }
            // One request loads it and the others wait. If that one is cancelled, another
            // continues.
            _ => loaded.await.map_err(Error::from),
        }
    }

    async fn load(
        &self,
        store: &Store,
        organization: &ScopePath,
        document: &Arc<Document>,
        before: Option<&Serving>,
    ) -> Result<Arc<Serving>, LoadError> {
        let active = document.body::<ActivePolicy>().map_err(Error::from)?;
        match self.loader.load(store, &active.current).await {
            Ok(policy) => {
                let serving = Serving::new(document, policy, &active);
                Ok(self.serve(organization, serving, before))
            }
            Err(error) => {
                // The previous policy must not decide any longer: it is not the active one.
                self.organizations().serving.remove(organization);
                Err(error.into())
            }
        }
    }

    fn serve(
        &self,
        organization: &ScopePath,
        mut serving: Serving,
        before: Option<&Serving>,
    ) -> Arc<Serving> {
        // Keep an equivalent policy with its warm instance, and an equivalent shadow.
        if let Some(before) = before {
            if before.policy.is_equivalent(&serving.policy) {
                serving.policy = before.policy.clone();
            }
            if let (Some(old), Some(new)) = (&before.shadow, &serving.shadow)
                && old.activation.is_equivalent(&new.activation)
            {
                serving.shadow = Some(Arc::clone(old));
            }
        }
        let serving = Arc::new(serving);
        let mut organizations = self.organizations();
        // A slow request may still use an older document, which must not replace a newer
        // one.
        let newest = organizations.serving.get(organization);
        if newest.is_none_or(|newest| newest.bound_at <= serving.bound_at) {
            organizations.pending.remove(organization);
            organizations
                .serving
                .insert(organization.clone(), Arc::clone(&serving));
        }
        serving
    }

    /// The load in progress for a document, or a new one; and whether it is new.
    fn pending(
        &self,
        organization: &ScopePath,
        document: entail_store::Digest,
    ) -> (Arc<Pending>, bool) {
        let mut organizations = self.organizations();
        if let Some(pending) = organizations.pending.get(organization)
            && pending.document == document
            && !pending.may_be_retried()
        {
            return (Arc::clone(pending), false);
        }
        let pending = Arc::new(Pending {
            document,
            started: Instant::now(),
            done: OnceCell::new(),
        });
        organizations
            .pending
            .insert(organization.clone(), Arc::clone(&pending));
        (pending, true)
    }

    fn organizations(&self) -> MutexGuard<'_, Organizations> {
        // Each change is one insertion or removal, so a panic leaves it consistent.
        self.organizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn may_be_retried(&self) -> bool {
        matches!(self.done.get(), Some(Err(_))) && self.started.elapsed() > TRY_AGAIN
    }
}

impl Serving {
    fn new(document: &Document, policy: Policy, active: &ActivePolicy) -> Self {
        let shadow = active.shadow.clone();
        Serving {
            document: Some(document.digest()),
            bound_at: Some(document.revision()),
            policy,
            shadow: shadow.map(|activation| Arc::new(Shadow::new(activation))),
        }
    }
}
