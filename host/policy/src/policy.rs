//! An admitted policy and its calls.
//!
//! # Security
//!
//! Unless the organization chose otherwise ([`Isolation`]), each call gets a fresh instance,
//! so no call can observe or disturb another.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use entail_decision::{Decision, Facts};
use serde_json::Value;
use wasmtime::Store;

use crate::admitted::{Admitted, Costs, Description};
use crate::call_queue::CallQueue;
use crate::contract::{Contract, Error, GuestError, Resolver};
use crate::digest::PolicyDigest;
use crate::error::{CallError, sanitize};
use crate::isolation::Isolation;
use crate::limits::{Limits, ResourceUsage};
use crate::settings::{self, BadSettings, Problem, Schema, Values};

/// An admitted policy with its settings. A clone is the same policy.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    admitted: Arc<Admitted>,
    /// JSON, as the contract passes it.
    settings: String,
    isolation: Isolation,
    queue: Arc<CallQueue>,
    warm: Mutex<Option<Instance>>,
}

impl Policy {
    /// Returns the policy of an admitted component, without settings.
    pub(crate) fn new(admitted: Admitted) -> Self {
        let settings = "{}".to_owned();
        Self::of(Arc::new(admitted), settings, Isolation::PerCall)
    }

    fn of(admitted: Arc<Admitted>, settings: String, isolation: Isolation) -> Self {
        Policy {
            inner: Arc::new(Inner {
                admitted,
                settings,
                isolation,
                queue: Arc::new(CallQueue::new(isolation)),
                warm: Mutex::new(None),
            }),
        }
    }

    fn with(&self, settings: String, isolation: Isolation) -> Self {
        Self::of(Arc::clone(&self.inner.admitted), settings, isolation)
    }

    /// Validates settings and returns the same policy with them. They are validated
    /// against the policy's schema, where the engine compiles, and by the policy itself, so
    /// that all problems are found at once. Takes some milliseconds: not for every request.
    ///
    /// # Errors
    ///
    /// [`BadSettings`] has each problem with its path. A policy without the interface
    /// `settings` accepts none.
    pub fn with_settings(&self, settings: &Values) -> Result<Self, BadSettings> {
        let admitted = &self.inner.admitted;
        let text = settings::to_text(settings)?;
        let Some(schema) = &admitted.schema else {
            let rule = "nothing can be set for this policy";
            let names = settings.keys();
            let problems = names.map(|name| Problem::new(&settings::pointer(name), rule));
            settings::checked(problems.collect(), Ok(Vec::new()))?;
            return Ok(self.with(text, self.inner.isolation));
        };
        let sandbox = if admitted.is_trusted {
            None
        } else {
            admitted.engine.sandbox()?
        };
        let by_schema = schema.check(settings, sandbox)?;
        settings::checked(by_schema, self.validate(&text))?;
        Ok(self.with(text, self.inner.isolation))
    }

    /// Validates settings on the threads for admission, without blocking the caller's
    /// thread: see [`Policy::with_settings`].
    ///
    /// # Errors
    ///
    /// [`BadSettings`].
    pub async fn with_settings_async(&self, settings: Values) -> Result<Self, BadSettings> {
        let lanes = self.inner.admitted.engine.lanes();
        let lanes = lanes.map_err(CallError::Engine)?;
        let policy = self.clone();
        let validate = move || policy.with_settings(&settings);
        lanes.run_admission(validate).await?
    }

    /// Returns the same policy with settings that it accepted before, and with this
    /// isolation. Unlike [`Policy::with_settings`] it validates nothing: the caller must
    /// know that the same component accepted these settings.
    #[must_use]
    pub fn with_accepted_settings(&self, settings: &Values, isolation: Isolation) -> Self {
        self.with(Value::Object(settings.clone()).to_string(), isolation)
    }

    /// Whether it decides as `other` does: the same admitted component, the same settings,
    /// the same isolation.
    #[must_use]
    pub fn is_equivalent(&self, other: &Policy) -> bool {
        Arc::ptr_eq(&self.inner.admitted, &other.inner.admitted)
            && self.inner.settings == other.inner.settings
            && self.inner.isolation == other.inner.isolation
    }

    /// Returns the same policy with another isolation.
    #[must_use]
    pub fn with_isolation(&self, isolation: Isolation) -> Self {
        self.with(self.inner.settings.clone(), isolation)
    }

    /// Calls the policy's own validation of settings.
    fn validate(&self, settings: &str) -> Result<Vec<Problem>, CallError> {
        let admitted = &*self.inner.admitted;
        let failed = |error| admitted.call_error(error);
        let mut store = admitted.store();
        let instance = admitted.instance.instantiate(&mut store).map_err(failed)?;
        let functions = admitted.exports.settings(&mut store, &instance);
        match functions.map_err(failed)? {
            None => Ok(Vec::new()),
            Some(functions) => {
                admitted.start_deadline(&mut store);
                functions.validate(&mut store, settings).map_err(failed)
            }
        }
    }

    /// Decides one request on the caller's thread.
    ///
    /// Blocks while the policy runs: some 10 µs for the built-in one, at most twice the
    /// deadline (instantiation, call) for any policy, and with
    /// [`Isolation::PerOrganization`] also while the calls before it run.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn decide(&self, facts: &Facts) -> Result<Decision, CallError> {
        let inner = &*self.inner;
        let admitted = &*inner.admitted;
        let limit = admitted.limits.credentials;
        let found = facts.chain.iter().map(|scope| scope.credentials.len());
        let found = found.sum();
        if found > limit {
            return Err(CallError::TooManyCredentials { found, limit });
        }
        match inner.isolation {
            Isolation::PerCall => Instance::new(admitted)?.decide(admitted, facts, &inner.settings),
            Isolation::PerOrganization => {
                // A call that panicked has already taken its instance.
                let mut warm = inner.warm.lock().unwrap_or_else(PoisonError::into_inner);
                let mut instance = match warm.take() {
                    Some(instance) => instance,
                    None => Instance::new(admitted)?,
                };
                let decision = instance.decide(admitted, facts, &inner.settings);
                // An error that the policy returned leaves the instance intact.
                if let Ok(_) | Err(CallError::InvalidFacts(_) | CallError::Undecided(_)) = &decision
                {
                    *warm = Some(instance);
                }
                decision
            }
        }
    }

    /// Decides one request on the threads for policy calls, without blocking the caller's
    /// thread or the policies of others. A trusted policy ([`Engine::admit_trusted`]) runs
    /// on the caller's thread: it returns faster than a change of threads takes.
    ///
    /// # Errors
    ///
    /// As [`Policy::decide`]; [`CallError::Busy`] if too many calls of this policy are
    /// waiting.
    ///
    /// [`Engine::admit_trusted`]: crate::Engine::admit_trusted
    pub async fn decide_async(&self, facts: Arc<Facts>) -> Result<Decision, CallError> {
        if self.inner.admitted.is_trusted {
            return self.decide(&facts);
        }
        let lanes = self.inner.admitted.engine.lanes();
        let lanes = lanes.map_err(CallError::Engine)?;
        let policy = self.clone();
        let call = move || policy.decide(&facts);
        lanes.run(&self.inner.queue, call).await
    }

    /// Decides one request at a later time, on a thread with the lowest priority that is
    /// busy a tenth of the time, and passes the result to `then`. Returns false, and does
    /// nothing, if too many of these calls are waiting.
    pub fn decide_in_background(
        &self,
        facts: Arc<Facts>,
        then: impl FnOnce(Result<Decision, CallError>) + Send + 'static,
    ) -> bool {
        let policy = self.clone();
        let Ok(lanes) = self.inner.admitted.engine.lanes() else {
            return false;
        };
        lanes.run_background(move || then(policy.decide(&facts)))
    }

    /// The digest of the component.
    pub fn digest(&self) -> PolicyDigest {
        self.inner.admitted.digest
    }

    /// How the policy describes itself.
    pub fn description(&self) -> &Description {
        &self.inner.admitted.description
    }

    /// The version of the contract that it implements.
    pub fn contract(&self) -> Contract {
        self.inner.admitted.contract
    }

    /// The JSON Schema of its settings; `None` if it has no settings.
    pub fn schema(&self) -> Option<&Value> {
        self.inner.admitted.schema.as_ref().map(Schema::value)
    }

    /// Its settings, as JSON.
    pub fn settings(&self) -> &str {
        &self.inner.settings
    }

    /// What its calls share.
    pub fn isolation(&self) -> Isolation {
        self.inner.isolation
    }

    /// The limits of each of its calls.
    pub fn limits(&self) -> &Limits {
        &self.inner.admitted.limits
    }

    /// What it took to admit it. Not measured for a trusted policy.
    pub fn costs(&self) -> Costs {
        self.inner.admitted.costs
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.inner.admitted.digest)
            .field("description", &self.inner.admitted.description)
            .field("isolation", &self.inner.isolation)
            .finish_non_exhaustive()
    }
}

/// An instance of a policy, ready to decide.
pub(crate) struct Instance {
    store: Store<ResourceUsage>,
    resolver: Resolver,
}

impl Instance {
    pub(crate) fn new(admitted: &Admitted) -> Result<Self, CallError> {
        let failed = |error| admitted.call_error(error);
        let mut store = admitted.store();
        let instance = admitted.instance.instantiate(&mut store).map_err(failed)?;
        let resolver = admitted
            .exports
            .resolver(&mut store, &instance)
            .map_err(failed)?;
        Ok(Instance { store, resolver })
    }

    pub(crate) fn decide(
        &mut self,
        admitted: &Admitted,
        facts: &Facts,
        settings: &str,
    ) -> Result<Decision, CallError> {
        admitted.start_deadline(&mut self.store);
        self.resolver
            .decide(&mut self.store, facts, settings)
            .map_err(|error| admitted.call_error(error))?
            .map_err(|error| match error {
                GuestError::Returned(Error::InvalidFacts(text)) => {
                    CallError::InvalidFacts(sanitize(&text))
                }
                GuestError::Returned(Error::Other(text)) => CallError::Undecided(sanitize(&text)),
                GuestError::Malformed(code) => CallError::Malformed(code.to_string()),
            })
    }

    /// The resources that it uses.
    pub(crate) fn usage(&self) -> &ResourceUsage {
        self.store.data()
    }
}
