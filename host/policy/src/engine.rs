//! The machine that policies run on.
//!
//! # Security
//!
//! Only a component in binary form is ever compiled; text is not accepted, nor
//! is code that something else has compiled. The cache of compiled code is the
//! one exception: it lies in a folder that only the owner may enter, and is as
//! trusted as the program itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, EngineWeak, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use crate::limits::{Account, Limits};
use crate::policy::{Policy, Rejected};

/// How often the clock of deadlines ticks: a call may overrun its deadline by
/// this much. A hundred wake-ups a second are not to be seen in any load figure.
const TICK: Duration = Duration::from_millis(10);

/// Stack for the host and one policy call; a policy of ordinary depth needs a
/// small part of it, and threads have at least four times as much.
const STACK_BYTES: usize = 512 << 10;

/// Memory that a slot keeps for its next call instead of giving it back to the
/// system. More than a call of the built-in policy touches, so that in steady
/// state no call changes the memory map, which all threads share.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What each call may use up.
    pub limits: Limits,
    /// Calls that may run at the same time; one more fails as [`Busy`]. Each
    /// takes address space, not memory.
    ///
    /// [`Busy`]: crate::Failure::Busy
    pub concurrent_calls: u32,
    /// A folder for compiled code, so that the next process need not compile
    /// again. The caller sees to it that only the owner may enter it.
    pub code_cache: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            // Far more than there are processors; a call never waits.
            concurrent_calls: 64,
            code_cache: None,
        }
    }
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the policy engine cannot be set up: {0}")]
pub struct EngineError(String);

/// The machine that policies run on. A clone is the same machine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: wasmtime::Engine,
    pub(crate) linker: Arc<Linker<Account>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) deadline_ticks: u64,
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
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let config = config(&settings).map_err(failed)?;
        let inner = wasmtime::Engine::new(&config).map_err(failed)?;
        keep_time(inner.weak())?;
        let ticks = settings
            .limits
            .deadline
            .as_millis()
            .div_ceil(TICK.as_millis());
        Ok(Engine {
            linker: Arc::new(Linker::new(&inner)),
            inner,
            limits: Arc::new(settings.limits),
            // The tick under way counts for nothing.
            deadline_ticks: u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1),
        })
    }

    /// Looks a component over and makes a policy of it: its size, its imports
    /// (none), its exports (the contract), and one trial call under the limits.
    ///
    /// Compiling takes some 40 ms for the built-in policy and is bounded only by
    /// the size of the component.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which of these it failed.
    pub fn admit(&self, component: &[u8]) -> Result<Policy, Rejected> {
        Policy::admit(self, component)
    }

    /// What each call may use up.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn config(settings: &Settings) -> wasmtime::Result<Config> {
    let limits = &settings.limits;
    let calls = settings.concurrent_calls;
    let instances = u32::try_from(limits.instances)?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(instances))
        .total_memories(calls.saturating_mul(2))
        .total_tables(calls.saturating_mul(instances))
        .max_core_instances_per_component(instances)
        .max_memories_per_component(instances)
        .max_tables_per_component(instances)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(calls)
        .pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
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
        .map_err(|error| EngineError(format!("the clock's thread did not start: {error}")))
}
