//! The machine that policies run on.
//!
//! There are two of them in one. The *pooled* machine has a slot ready for every
//! call and serves policies within the engine's own limits. The *roomy* one takes
//! memory from the system for each call; it is set up when the first policy is
//! admitted that was given more.
//!
//! # Security
//!
//! Only a component in binary form is ever compiled; text is not accepted, nor
//! is code that something else has compiled. The cache of compiled code is the
//! one exception: it lies in a folder that only the owner may enter, and is as
//! trusted as the program itself. Compiling has no deadline; set a [`Sandbox`],
//! unless every component is your own.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use entail_text::sanitized;
use wasmtime::component::Linker;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, EngineWeak, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use crate::admission::Rejected;
use crate::lanes::Lanes;
use crate::limits::{Account, Limits};
use crate::policy::Policy;
use crate::sandbox::Sandbox;

/// How often the clock of deadlines ticks: a call may overrun its deadline by
/// this much. A hundred wake-ups a second are not to be seen in any load figure.
const TICK: Duration = Duration::from_millis(10);

/// Stack for the host and one policy call; a policy of ordinary depth needs a
/// small part of it, and threads have at least four times as much.
const STACK_BYTES: usize = 512 << 10;

/// Memory that a slot keeps for its next call instead of giving it back to the
/// system. More than a call of the built-in policy touches, so that in steady
/// state no call changes the memory map, which all threads share.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// The same of a table: two thousand functions that are called indirectly.
const TABLE_KEEP_RESIDENT_BYTES: usize = 16 << 10;

/// Slots that are kept for the next call of the same policy before one of another
/// policy is made over. With what each keeps they bound what the pool holds when
/// nothing runs.
const WARM_SLOTS: u32 = 16;

/// Memories that a call has on the average, at most: a layer, what is below it, and
/// what their languages add.
const MEMORIES: u32 = 4;

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
    /// A folder for compiled code, so that the next process need not compile
    /// again. The caller sees to it that only the owner may enter it.
    pub code_cache: Option<PathBuf>,
    /// The process in which foreign components are compiled. Needs a code cache,
    /// which is how the compiled code comes back.
    pub sandbox: Option<Sandbox>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            // Far more than there are processors; a call never waits.
            concurrent_calls: 64,
            code_cache: None,
            sandbox: None,
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

/// The machine that policies run on. A clone is the same machine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    pooled: Machine,
    roomy: OnceLock<Result<Machine, EngineError>>,
    lanes: OnceLock<Result<Lanes, EngineError>>,
}

/// One of the two.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Arc<Linker<Account>>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pooled,
    Roomy,
}

impl Engine {
    /// Sets up an engine, and one thread that keeps its clock for as long as the
    /// engine or a policy of it lives.
    ///
    /// # Errors
    ///
    /// When the system does not give the address space, or the cache folder
    /// cannot be used.
    pub fn new(settings: Settings) -> Result<Self, EngineError> {
        let pooled = Machine::new(Kind::Pooled, &settings)?;
        Ok(Engine {
            inner: Arc::new(Inner {
                settings,
                pooled,
                roomy: OnceLock::new(),
                lanes: OnceLock::new(),
            }),
        })
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
        Policy::admit(
            self,
            component,
            limits,
            self.inner.settings.sandbox.as_ref(),
        )
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

    /// What each call may use up, unless a policy has limits of its own.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.settings.limits
    }

    /// How the engine was set up.
    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The machine for calls that may use up so much.
    pub(crate) fn machine(&self, limits: &Limits) -> Result<Machine, EngineError> {
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
        if in_pool.within(&self.inner.settings.limits).is_ok() {
            return Ok(self.inner.pooled.clone());
        }
        self.inner
            .roomy
            .get_or_init(|| Machine::new(Kind::Roomy, &self.inner.settings))
            .clone()
    }

    /// What tells whether compiled code fits this engine.
    pub(crate) fn compatibility(&self) -> impl std::hash::Hash + '_ {
        self.inner.pooled.engine.precompile_compatibility_hash()
    }

    /// The threads for calls, which start with the first one.
    pub(crate) fn lanes(&self) -> Result<&Lanes, EngineError> {
        self.inner
            .lanes
            .get_or_init(Lanes::start)
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(kind: Kind, settings: &Settings) -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError::new(format_args!("{error:#}"));
        let config = config(kind, settings).map_err(failed)?;
        let engine = wasmtime::Engine::new(&config).map_err(failed)?;
        keep_time(engine.weak())?;
        Ok(Machine {
            linker: Arc::new(Linker::new(&engine)),
            engine,
        })
    }
}

/// How many ticks of the clock a call has.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_millis().div_ceil(TICK.as_millis());
    // The tick under way counts for nothing.
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

fn config(kind: Kind, settings: &Settings) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .allocation_strategy(match kind {
            Kind::Pooled => InstanceAllocationStrategy::Pooling(pool(settings)?),
            Kind::Roomy => InstanceAllocationStrategy::OnDemand,
        })
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // Between the parts of a component that were joined, data goes from one memory
        // to another.
        .wasm_multi_memory(true)
        .wasm_tail_call(false)
        // A trap is reported by its cause; frames of foreign code help nobody.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    if let Some(folder) = &settings.code_cache {
        let mut cache = CacheConfig::new();
        cache.with_directory(folder);
        config.cache(Some(Cache::new(cache)?));
    }
    Ok(config)
}

fn pool(settings: &Settings) -> wasmtime::Result<PoolingAllocationConfig> {
    let limits = &settings.limits;
    let calls = settings.concurrent_calls;
    let instances = u32::try_from(limits.instances)?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(instances))
        .total_memories(calls.saturating_mul(MEMORIES))
        .total_tables(calls.saturating_mul(instances))
        .max_core_instances_per_component(instances)
        .max_memories_per_component(instances)
        .max_tables_per_component(instances)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS.min(calls))
        .pagemap_scan(Enabled::Auto);
    Ok(pool)
}

/// Moves the engine's epoch on from a thread of its own: a timer of an async
/// runtime could be starved by the very call it should interrupt.
fn keep_time(engine: EngineWeak) -> Result<(), EngineError> {
    std::thread::Builder::new()
        .name("entail-policy-clock".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(|error| {
            EngineError::new(format_args!("the clock's thread did not start: {error}"))
        })
}
