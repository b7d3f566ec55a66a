//! The engine that policies run on.
//!
//! It is set up when the first policy is admitted. Policies within the engine's own limits
//! run in a *pool* with a slot for every call; policies with higher limits get memory *on
//! demand* for each call. If the address space of the process is limited (`ulimit -v`), or
//! a pool cannot be set up, all policies get *compact* memory on demand: calls are slower,
//! and no address space is reserved. [`wasmtime_engine`](crate::wasmtime_engine) explains
//! why there are three.
//!
//! # Security
//!
//! Only components in binary form are compiled; neither text nor precompiled code is
//! accepted. Cached code is authenticated before it is loaded
//! ([`CodeCache`](crate::CodeCache)). Compiling and composing components, and validating
//! settings against a schema, have no deadline: [`Compiler`](crate::Compiler)
//! chooses where they run; by default they are disabled.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::compose::{self, ComposeError};
use crate::config::EngineConfig;
use crate::error::{CallError, CompilerDisabled, EngineError};
use crate::lanes::Lanes;
use crate::limits::Limits;
use crate::sandbox::Sandbox;
use crate::wasmtime_engine::{Allocation, WasmtimeEngine};

/// The engine that policies run on. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    pooled: OnceLock<WasmtimeEngine>,
    on_demand: OnceLock<WasmtimeEngine>,
    compact: OnceLock<WasmtimeEngine>,
    lanes: OnceLock<Lanes>,
}

impl Engine {
    /// Returns an engine. It is set up when it is first needed, with one thread for its
    /// clock, which runs as long as the engine or one of its policies exists.
    pub fn new(config: EngineConfig) -> Self {
        Engine {
            inner: Arc::new(Inner {
                config,
                pooled: OnceLock::new(),
                on_demand: OnceLock::new(),
                compact: OnceLock::new(),
                lanes: OnceLock::new(),
            }),
        }
    }

    /// Composes a layer with the policy below it, where [`EngineConfig::compiler`] sets. The
    /// same two components give the same bytes.
    ///
    /// # Errors
    ///
    /// [`ComposeError`]. The result may still have other imports of the layer; its
    /// admission rejects them.
    pub fn compose(&self, layer: &[u8], below: &[u8]) -> Result<Vec<u8>, ComposeError> {
        match self.sandbox()? {
            Some(sandbox) => compose::compose_in(sandbox, layer, below, self.limits()),
            None => compose::compose(layer, below),
        }
    }

    /// Composes on the threads for admission, without blocking the caller's thread: see
    /// [`Engine::compose`].
    ///
    /// # Errors
    ///
    /// [`ComposeError`].
    pub async fn compose_async(
        &self,
        layer: Vec<u8>,
        below: Vec<u8>,
    ) -> Result<Vec<u8>, ComposeError> {
        let engine = self.clone();
        let lanes = self.lanes().map_err(CallError::Engine)?;
        let compose = move || engine.compose(&layer, &below);
        lanes.run_admission(compose).await?
    }

    /// The limits of each call, unless a policy has its own limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.config.limits
    }

    /// The sandbox for foreign components; `None` if they are compiled in this process.
    pub(crate) fn sandbox(&self) -> Result<Option<&Sandbox>, CompilerDisabled> {
        self.inner.config.compiler.sandbox()
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// The wasmtime engine for calls with these limits.
    pub(crate) fn wasmtime_engine(&self, limits: &Limits) -> Result<WasmtimeEngine, EngineError> {
        if Allocation::is_address_space_limited() {
            return self.compact();
        }
        // A slot of the pool limits memories, tables and instances only.
        let in_pool = Limits {
            deadline: Duration::ZERO,
            credentials: 0,
            result_bytes: 0,
            component_bytes: 0,
            compile_memory_bytes: 0,
            compile_time: Duration::ZERO,
            ..limits.clone()
        };
        let engine = if in_pool.check_within(self.limits()).is_ok() {
            self.set_up(&self.inner.pooled, Allocation::Pooled)
        } else {
            self.set_up(&self.inner.on_demand, Allocation::OnDemand)
        };
        engine.or_else(|_| self.compact())
    }

    fn compact(&self) -> Result<WasmtimeEngine, EngineError> {
        self.set_up(&self.inner.compact, Allocation::Compact)
    }

    fn set_up(
        &self,
        cell: &OnceLock<WasmtimeEngine>,
        allocation: Allocation,
    ) -> Result<WasmtimeEngine, EngineError> {
        let config = self.config();
        let make = || {
            WasmtimeEngine::new(allocation, &config.limits, config.concurrent_calls)
                .map_err(|error| EngineError::new(format_args!("{error:#}")))
        };
        get_or_try_init(cell, make).cloned()
    }

    /// The threads for calls. They start when they are first needed.
    pub(crate) fn lanes(&self) -> Result<&Lanes, EngineError> {
        get_or_try_init(&self.inner.lanes, Lanes::start)
    }
}

/// Returns the value, or makes it. A failure is not stored: the next call tries again. If
/// two threads make it at the same time, one value is dropped.
fn get_or_try_init<T>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> Result<T, EngineError>,
) -> Result<&T, EngineError> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
