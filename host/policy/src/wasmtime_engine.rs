//! The wasmtime engine in one of three configurations, which differ in how the memory of a
//! call is allocated:
//!
//! - *Pooled* is the fastest: in steady state a call changes no memory mapping, which all
//!   threads of the process share and lock. Measured with the built-in policy: 8 µs for a
//!   call with the pool as tuned here, 42 µs without; 200,000 calls per second on two
//!   threads, 15,000 without. But each slot reserves address space for the largest policy, so
//!   a slot is only as large as the engine's own limits.
//! - *On demand* is for policies with higher limits, such as those that include an
//!   interpreter: slots of that size would reserve address space for every call.
//! - *Compact* is for processes with a limited address space (`ulimit -v`), in which
//!   reservations of gigabytes fail. It needs other code, with a check at each access.
//!
//! Pooled and on demand run the same code, so a component is compiled once for both.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Result,
};

use crate::limits::{Limits, ResourceUsage};

/// The interval of the clock for deadlines: a call may exceed its deadline by this much. A
/// hundred wake-ups per second cause no measurable load.
const TICK: Duration = Duration::from_millis(10);

/// The stack of one policy call. An ordinary policy needs a small part of it, and threads
/// have at least four times as much.
const STACK_BYTES: usize = 512 << 10;

/// Memory that a slot keeps for its next call and does not return to the system. More than
/// a call of the built-in policy touches, so that in steady state no call changes a memory
/// mapping.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// The same for a table: two thousand functions that are called indirectly.
const TABLE_KEEP_RESIDENT_BYTES: usize = 16 << 10;

/// Unused slots that stay reserved for the policy that ran in them. Together with what each
/// slot keeps, this bounds the memory of an idle pool to a few MiB.
const WARM_SLOTS: u32 = 16;

/// The memories of a call, on average at most: those of a layer, of the policy below it, and
/// of the runtimes of their languages.
const MEMORIES: u32 = 4;

/// How far a compact memory can grow without being moved: enough for small policies.
const COMPACT_GROWTH_BYTES: u64 = 1 << 20;

/// The largest memory image that is built at compile time even if most of it is empty:
/// larger than the gaps between the data of ordinary programs.
const SPARSE_BYTES: u64 = 2 << 20;

/// How the memory of a call is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// From a pool with a slot for each call. It reserves some gigabytes of address space
    /// for each slot.
    Pooled,
    /// By the system, for each call. Each memory reserves some gigabytes of address space.
    OnDemand,
    /// By the system, for each call, without reserving address space.
    Compact,
}

impl Allocation {
    /// Whether the address space of this process is limited, as by `ulimit -v`. Such a limit
    /// is meant to limit memory, so address space is then not reserved ahead.
    pub(crate) fn is_address_space_limited() -> bool {
        getrlimit(Resource::As).current.is_some()
    }
}

/// A running wasmtime engine. A clone is the same one.
#[derive(Clone)]
pub(crate) struct WasmtimeEngine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Arc<Linker<ResourceUsage>>,
    pub(crate) allocation: Allocation,
}

impl WasmtimeEngine {
    /// Sets up an engine and starts the thread of its clock. A pool has slots for `calls`
    /// concurrent calls within `limits`.
    pub(crate) fn new(allocation: Allocation, limits: &Limits, calls: u32) -> Result<Self> {
        let mut config = config(allocation);
        if allocation == Allocation::Pooled {
            let pool = pool(limits, calls)?;
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        let engine = wasmtime::Engine::new(&config)?;
        start_clock(engine.weak())?;
        Ok(WasmtimeEngine {
            linker: Arc::new(Linker::new(&engine)),
            engine,
            allocation,
        })
    }
}

/// Returns an engine that only compiles.
pub(crate) fn new_compiler(allocation: Allocation) -> Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(allocation))
}

/// Returns the number of clock ticks of a deadline.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_millis().div_ceil(TICK.as_millis());
    // The current tick has partly passed.
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

/// Returns the configuration that compiled code depends on. The pool is no part of it.
fn config(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // A composed component copies data between the memories of its parts.
        .wasm_multi_memory(true)
        .wasm_tail_call(false)
        .memory_guaranteed_dense_image_size(SPARSE_BYTES)
        // Errors name the cause of a trap, not the frames of foreign code.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    if allocation == Allocation::Compact {
        config
            .memory_reservation(0)
            .memory_reservation_for_growth(COMPACT_GROWTH_BYTES)
            .memory_guard_size(0)
            .guard_before_linear_memory(false);
    }
    config
}

fn pool(limits: &Limits, calls: u32) -> Result<PoolingAllocationConfig> {
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

/// Starts a thread that increments the engine's epoch. A timer of an async runtime could be
/// starved by the call that it should interrupt.
fn start_clock(engine: EngineWeak) -> Result<()> {
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
        .map_err(|error| wasmtime::format_err!("the clock's thread did not start: {error}"))
}
