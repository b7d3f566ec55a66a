//! Which policy decides for an organization, ready to be asked.
//!
//! What an organization's document says is looked up with each request, among the
//! documents that are read anyway; so a change is seen with the next one. A component
//! that this process has admitted before serves at once. Another is made ready in the
//! background: until it is, at most for [`LAG`], requests are still decided by the one
//! before, which was right a moment ago; then they wait for it. If it cannot be made
//! ready they are refused.
//!
//! # Security
//!
//! The bytes of a component are a blob that the store holds against the digest in the
//! signed document whenever it is read. Nothing else, such as a file or a name in a
//! cache, decides which bytes run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use entail_policy::{Engine, Limits, Policy, PolicyDigest, Rejected};
use entail_store::{Document, Revision, Store, Tampering};
use tokio::sync::OnceCell;

use super::shadow::Shadow;
use crate::documents::policy::{Bound, PolicyBinding, blob_of};
use crate::error::Error;
use entail_decision::name::ScopePath;

/// How long the policy before still decides while the new one is made ready. Others
/// follow a change within a second.
const LAG: Duration = Duration::from_millis(800);

/// After a policy could not be made ready, it is not tried again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Admitted components kept for the next organization that binds them. Those that are
/// in service are kept anyway; each takes up to some megabytes.
const KEPT: usize = 8;

/// The policies of a process.
pub(crate) struct Policies {
    engine: Engine,
    built_in: &'static [u8],
    /// Made ready when it is first needed: most commands decide nothing.
    ready_built_in: OnceLock<Arc<Serving>>,
    built_in_digest: OnceLock<PolicyDigest>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By organization.
    serving: HashMap<ScopePath, Arc<Serving>>,
    pending: HashMap<ScopePath, Arc<Pending>>,
    /// The one used last comes last.
    admitted: Vec<Policy>,
}

/// What decides for an organization.
pub(crate) struct Serving {
    /// The digest of the document that says so; none where there is no document.
    document: Option<entail_store::Digest>,
    /// The change of the store that wrote the document.
    pub(crate) binding: Option<Revision>,
    pub(crate) policy: Policy,
    pub(crate) shadow: Option<Arc<Shadow>>,
}

/// A policy that is being made ready.
struct Pending {
    document: entail_store::Digest,
    started: Instant,
    done: OnceCell<Result<Arc<Serving>, Unready>>,
}

/// Why a policy cannot be made ready.
#[derive(Clone, Debug)]
pub(crate) enum Unready {
    Tampered(Tampering),
    Unavailable(String),
    Rejected(String),
}

impl From<Unready> for Error {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::Tampered(tampering) => Error::Tampered(tampering),
            Unready::Unavailable(reason) => Error::Unavailable(reason),
            Unready::Rejected(reason) => Error::PolicyUnready(reason),
        }
    }
}

impl From<Error> for Unready {
    fn from(error: Error) -> Self {
        match error {
            Error::Tampered(tampering) => Unready::Tampered(tampering),
            Error::Unavailable(reason) => Unready::Unavailable(reason),
            other => Unready::Rejected(other.to_string()),
        }
    }
}

impl Policies {
    pub(crate) fn new(engine: Engine, built_in: &'static [u8]) -> Arc<Self> {
        Arc::new(Policies {
            engine,
            built_in,
            ready_built_in: OnceLock::new(),
            built_in_digest: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    pub(crate) fn built_in(&self) -> Result<&Policy, Error> {
        Ok(&self.serving_built_in()?.policy)
    }

    /// What the built-in policy is called, also if it cannot be made ready.
    pub(crate) fn built_in_digest(&self) -> PolicyDigest {
        let digest = || PolicyDigest::of(self.built_in);
        *self.built_in_digest.get_or_init(digest)
    }

    fn serving_built_in(&self) -> Result<&Arc<Serving>, Error> {
        if let Some(serving) = self.ready_built_in.get() {
            return Ok(serving);
        }
        // If it fails, the next one tries again.
        let policy = self.engine.admit_trusted(self.built_in);
        let policy = policy.map_err(|rejected| match rejected {
            Rejected::Engine(error) => Error::Engine(error),
            other => other.into(),
        })?;
        Ok(self.ready_built_in.get_or_init(|| {
            Arc::new(Serving {
                document: None,
                binding: None,
                policy,
                shadow: None,
            })
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The policy that decides for an organization by its document; the built-in one
    /// where there is none.
    pub(crate) async fn serving(
        self: &Arc<Self>,
        store: &Arc<Store>,
        binding: Option<(&ScopePath, &Arc<Document>)>,
    ) -> Result<Arc<Serving>, Error> {
        let Some((organization, document)) = binding else {
            return Ok(Arc::clone(self.serving_built_in()?));
        };
        let digest = document.digest();
        let before = self.known().serving.get(organization).cloned();
        if let Some(serving) = &before
            && serving.document == Some(digest)
        {
            return Ok(Arc::clone(serving));
        }
        let binding = document.body::<PolicyBinding>()?;
        if let Some(policy) = self.ready(&binding.active)? {
            let serving = Serving::new(document, policy, &binding);
            return Ok(self.put_in_service(organization, serving, before.as_deref()));
        }
        let (pending, is_first) = self.pending(organization, digest);
        let begun = pending.started.elapsed();
        let made_ready = {
            let (policies, store) = (Arc::clone(self), Arc::clone(store));
            let (organization, document) = (organization.clone(), Arc::clone(document));
            let before = before.clone();
            async move {
                let make = policies.make_ready(&store, &organization, &document, before.as_deref());
                pending.done.get_or_init(|| make).await.clone()
            }
        };
        match before {
            Some(before) if begun < LAG => {
                if is_first {
                    tokio::spawn(made_ready);
                }
                Ok(before)
            }
            // Whoever comes first does it, also when the first one was broken off.
            _ => made_ready.await.map_err(Error::from),
        }
    }

    async fn make_ready(
        &self,
        store: &Store,
        organization: &ScopePath,
        document: &Arc<Document>,
        before: Option<&Serving>,
    ) -> Result<Arc<Serving>, Unready> {
        let binding = document.body::<PolicyBinding>().map_err(Error::from)?;
        match self.load(store, &binding.active).await {
            Ok(policy) => {
                let serving = Serving::new(document, policy, &binding);
                Ok(self.put_in_service(organization, serving, before))
            }
            Err(error) => {
                // The one before was right for a moment; it is not what was put in
                // service.
                self.known().serving.remove(organization);
                Err(error.into())
            }
        }
    }

    /// Reads a component and admits it.
    pub(crate) async fn load(&self, store: &Store, bound: &Bound) -> Result<Policy, Error> {
        if let Some(policy) = self.ready(bound)? {
            return Ok(policy);
        }
        let Some(component) = bound.component else {
            return Ok(self.built_in()?.clone());
        };
        // They have this digest, or are not handed out.
        let bytes = store.blob(&blob_of(component)).await?;
        let policy = self.admit(bytes, bound.limits.clone()).await?;
        Ok(as_bound(&policy, bound))
    }

    /// Admits a component and keeps it.
    pub(crate) async fn admit(
        &self,
        component: impl AsRef<[u8]> + Send + 'static,
        limits: Limits,
    ) -> Result<Policy, Error> {
        let policy = self.engine.admit_async(component, limits).await?;
        let mut known = self.known();
        let admitted = &mut known.admitted;
        admitted.retain(|other| !is(other, policy.digest(), policy.limits()));
        admitted.push(policy.clone());
        let surplus = admitted.len().saturating_sub(KEPT);
        admitted.drain(..surplus);
        Ok(policy)
    }

    /// A policy as it is bound, if its component has been admitted here.
    fn ready(&self, bound: &Bound) -> Result<Option<Policy>, Error> {
        let policy = match bound.component {
            None => Some(self.built_in()?.clone()),
            Some(component) => {
                let known = self.known();
                let mut admitted = known.admitted.iter();
                admitted
                    .find(|policy| is(policy, component, &bound.limits))
                    .cloned()
            }
        };
        Ok(policy.map(|policy| as_bound(&policy, bound)))
    }

    fn put_in_service(
        &self,
        organization: &ScopePath,
        mut serving: Serving,
        before: Option<&Serving>,
    ) -> Arc<Serving> {
        // What decides as before goes on with what it has: its warm instance, and the
        // shadow that was made ready.
        if let Some(before) = before {
            if before.policy.is_equivalent(&serving.policy) {
                serving.policy = before.policy.clone();
            }
            if let (Some(old), Some(new)) = (&before.shadow, &serving.shadow)
                && old.bound.serves_as(&new.bound)
            {
                serving.shadow = Some(Arc::clone(old));
            }
        }
        let serving = Arc::new(serving);
        let mut known = self.known();
        // A request that took long may still go by an older document; it is right for
        // that one, and for nobody after it.
        let newest = known.serving.get(organization);
        if newest.is_none_or(|newest| newest.binding <= serving.binding) {
            known.pending.remove(organization);
            known
                .serving
                .insert(organization.clone(), Arc::clone(&serving));
        }
        serving
    }

    /// The one that is under way, or a new one, and which of the two it is.
    fn pending(
        &self,
        organization: &ScopePath,
        document: entail_store::Digest,
    ) -> (Arc<Pending>, bool) {
        let mut known = self.known();
        if let Some(pending) = known.pending.get(organization)
            && pending.document == document
            && !pending.has_failed_long_ago()
        {
            return (Arc::clone(pending), false);
        }
        let pending = Arc::new(Pending {
            document,
            started: Instant::now(),
            done: OnceCell::new(),
        });
        known
            .pending
            .insert(organization.clone(), Arc::clone(&pending));
        (pending, true)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change of it is one insertion or removal.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy with what is set for it. It took that when it was put in service, and the
/// document is signed.
fn as_bound(policy: &Policy, bound: &Bound) -> Policy {
    policy.with_accepted_settings(&bound.settings, bound.isolation)
}

fn is(policy: &Policy, component: PolicyDigest, limits: &Limits) -> bool {
    policy.digest() == component && policy.limits() == limits
}

impl Pending {
    fn has_failed_long_ago(&self) -> bool {
        matches!(self.done.get(), Some(Err(_))) && self.started.elapsed() > TRY_AGAIN
    }
}

impl Serving {
    fn new(document: &Document, policy: Policy, binding: &PolicyBinding) -> Self {
        let shadow = binding.shadow.clone();
        Serving {
            document: Some(document.digest()),
            binding: Some(document.revision()),
            policy,
            shadow: shadow.map(|bound| Arc::new(Shadow::new(bound))),
        }
    }
}
