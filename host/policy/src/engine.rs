//! The engine that policies run on.
//!
//! It is set up when the first policy is admitted. Policies within the engine's own limits
//! run in a *pool* with a slot for every call; policies with higher limits get memory *on
//! demand* for each call. If the address space of the process is limited (`ulimit -v`), or
//! a pool cannot be set up, all policies get *compact* memory on demand: calls are slower,
//! and no address space is reserved.
//!
//! # Security
//!
//! Only components in binary form are compiled; neither text nor precompiled code is
//! accepted. Cached code is authenticated before it is loaded ([`CodeCache`]). Compiling
//! and composing components, and validating settings against a schema, have no deadline:
//! [`Compile`] says where it happens, and by default it does not.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use entail_text::sanitized;

use crate::admission::Rejected;
use crate::code_cache::CodeCache;
use crate::compose::{self, ComposeError};
use crate::failure::Failure;
use crate::lanes::Lanes;
use crate::limits::Limits;
use crate::machine::{Allocation, Machine};
use crate::policy::Policy;
use crate::sandbox::{Compile, NotCompiled, Sandbox};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What each call may use up, of a policy that is given nothing else. The pool
    /// has slots of this size.
    pub limits: Limits,
    /// Calls that may run at the same time; one more fails as [`Busy`]. Each
    /// takes address space, not memory.
    ///
    /// [`Busy`]: crate::Failure::Busy
    pub concurrent_calls: u32,
    /// The cache of compiled code, so that the next process need not compile again.
    pub code_cache: Option<CodeCache>,
    /// Where foreign components are compiled and composed, and their settings validated.
    pub compile: Compile,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            // Far more than there are processors; a call never waits.
            concurrent_calls: 64,
            code_cache: None,
            compile: Compile::default(),
        }
    }
}

/// Why an engine could not be set up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the policy engine cannot be set up: {}", sanitized(.0))]
pub struct EngineError(String);

impl EngineError {
    pub(crate) fn new(reason: impl std::fmt::Display) -> Self {
        EngineError(reason.to_string())
    }
}

/// The engine that policies run on. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    pooled: OnceLock<Machine>,
    on_demand: OnceLock<Machine>,
    compact: OnceLock<Machine>,
    lanes: OnceLock<Lanes>,
}

impl Engine {
    /// Returns an engine. It is set up when it is first needed, with one thread that keeps
    /// its clock for as long as the engine or a policy of it lives.
    pub fn new(settings: Settings) -> Self {
        Engine {
            inner: Arc::new(Inner {
                settings,
                pooled: OnceLock::new(),
                on_demand: OnceLock::new(),
                compact: OnceLock::new(),
                lanes: OnceLock::new(),
            }),
        }
    }

    /// Looks a component over and makes a policy of it: its size, its imports
    /// (none), its exports (the contract), and one trial call under the engine's
    /// limits. Nothing is set for the policy, and each of its calls gets an instance
    /// of its own; [`Policy::with_settings`]
    /// and [`Policy::with_isolation`] change that.
    ///
    /// Compiling takes some 40 ms for the built-in policy.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which of these it failed.
    pub fn admit(&self, component: &[u8]) -> Result<Policy, Rejected> {
        self.admit_within(component, &self.inner.settings.limits)
    }

    /// The same under limits of its own.
    ///
    /// # Errors
    ///
    /// [`Rejected`], also when the limits are above [`Limits::CEILING`].
    pub fn admit_within(&self, component: &[u8], limits: &Limits) -> Result<Policy, Rejected> {
        Policy::admit(self, component, limits, self.sandbox()?)
    }

    /// The same on the threads that are there for admission, which are few: in turn
    /// with other components, and without holding up the caller's thread.
    ///
    /// # Errors
    ///
    /// [`Rejected`]; [`Rejected::Unfinished`] when very many wait already.
    pub async fn admit_in_turn(
        &self,
        component: impl AsRef<[u8]> + Send + 'static,
        limits: Limits,
    ) -> Result<Policy, Rejected> {
        let engine = self.clone();
        let admitted = move || engine.admit_within(component.as_ref(), &limits);
        self.lanes()?
            .admit(admitted)
            .await
            .map_err(Rejected::Unfinished)?
    }

    /// The same for a component that the program itself carries: it needs neither a
    /// sandbox to be compiled in nor a trial call, and its calls run on the threads
    /// of its callers.
    ///
    /// # Errors
    ///
    /// [`Rejected`].
    pub fn admit_own(&self, component: &[u8]) -> Result<Policy, Rejected> {
        Policy::admit_own(self, component)
    }

    /// Composes a layer with the policy below it, where [`Settings::compile`] says. The same
    /// two components give the same bytes.
    ///
    /// # Errors
    ///
    /// [`ComposeError`], also if the layer imports anything else.
    pub fn compose(&self, layer: &[u8], below: &[u8]) -> Result<Vec<u8>, ComposeError> {
        match self.sandbox()? {
            Some(sandbox) => compose::compose_in(sandbox, layer, below, self.limits()),
            None => compose::compose(layer, below),
        }
    }

    /// The same on the threads for admission, without blocking the caller's thread.
    ///
    /// # Errors
    ///
    /// [`ComposeError`].
    pub async fn compose_in_turn(
        &self,
        layer: Vec<u8>,
        below: Vec<u8>,
    ) -> Result<Vec<u8>, ComposeError> {
        let engine = self.clone();
        let lanes = self.lanes().map_err(Failure::Engine)?;
        lanes.admit(move || engine.compose(&layer, &below)).await?
    }

    /// What each call may use up, unless a policy has limits of its own.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.settings.limits
    }

    /// The sandbox for foreign components; `None` if they are compiled in this process.
    pub(crate) fn sandbox(&self) -> Result<Option<&Sandbox>, NotCompiled> {
        self.inner.settings.compile.place()
    }

    /// How the engine was set up.
    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The machine for calls with these limits.
    pub(crate) fn machine(&self, limits: &Limits) -> Result<Machine, EngineError> {
        if Allocation::is_address_space_limited() {
            return self.compact();
        }
        // What a slot of the pool holds is memories, tables and instances.
        let in_pool = Limits {
            deadline: Duration::ZERO,
            credentials: 0,
            result_bytes: 0,
            component_bytes: 0,
            compile_memory_bytes: 0,
            compile_time: Duration::ZERO,
            ..limits.clone()
        };
        let made = match in_pool.within(&self.inner.settings.limits) {
            Ok(()) => self.set_up(&self.inner.pooled, Allocation::Pooled),
            Err(_) => self.set_up(&self.inner.on_demand, Allocation::OnDemand),
        };
        made.or_else(|_| self.compact())
    }

    fn compact(&self) -> Result<Machine, EngineError> {
        self.set_up(&self.inner.compact, Allocation::Compact)
    }

    fn set_up(
        &self,
        place: &OnceLock<Machine>,
        allocation: Allocation,
    ) -> Result<Machine, EngineError> {
        let settings = &self.inner.settings;
        let make = || {
            Machine::new(allocation, &settings.limits, settings.concurrent_calls)
                .map_err(|error| EngineError::new(format_args!("{error:#}")))
        };
        get_or_make(place, make).cloned()
    }

    /// The threads for calls, which start with the first one.
    pub(crate) fn lanes(&self) -> Result<&Lanes, EngineError> {
        get_or_make(&self.inner.lanes, Lanes::start)
    }
}

/// Returns the value, or makes it now. A failure is not kept: the next call tries again.
/// If two threads make it at the same time, one value is dropped.
fn get_or_make<T>(
    place: &OnceLock<T>,
    make: impl FnOnce() -> Result<T, EngineError>,
) -> Result<&T, EngineError> {
    if let Some(there) = place.get() {
        return Ok(there);
    }
    let made = make()?;
    Ok(place.get_or_init(|| made))
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
