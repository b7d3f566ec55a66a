//! The WebAssembly engine in one of three configurations, which differ in how the memory
//! of a call is allocated.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Result,
};

use crate::limits::{Account, Limits};

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

/// How much a compact memory can grow without being moved: enough for small policies.
const COMPACT_GROWTH_BYTES: u64 = 1 << 20;

/// The largest memory image that is built at compile time even if most of it is empty:
/// larger than the gaps between the data of ordinary programs.
const SPARSE_BYTES: u64 = 2 << 20;

/// How the memory of a call is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// From a pool with a slot for each call. The fastest; it reserves some gigabytes of
    /// address space for each slot.
    Pooled,
    /// By the system, for each call, bounded by the limits of the call only. Each memory
    /// reserves some gigabytes of address space.
    OnDemand,
    /// By the system, for each call, without reserving address space. Every access is
    /// checked, which makes calls slower. For processes with limited address space.
    Compact,
}

impl Allocation {
    /// Whether the address space of this process is limited, as by `ulimit -v`. Such a limit
    /// is meant to limit memory, so address space is then not reserved ahead.
    pub(crate) fn is_address_space_limited() -> bool {
        getrlimit(Resource::As).current.is_some()
    }
}

/// A running engine. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) linker: Arc<Linker<Account>>,
    pub(crate) allocation: Allocation,
}

impl Machine {
    /// Sets up an engine, and starts the thread of its clock. A pool has slots for `calls`
    /// concurrent calls within `limits`.
    pub(crate) fn new(allocation: Allocation, limits: &Limits, calls: u32) -> Result<Self> {
        let mut config = config(allocation);
        if allocation == Allocation::Pooled {
            let pool = pool(limits, calls)?;
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        let engine = wasmtime::Engine::new(&config)?;
        keep_time(engine.weak())?;
        Ok(Machine {
            linker: Arc::new(Linker::new(&engine)),
            engine,
            allocation,
        })
    }
}

/// An engine that only compiles.
pub(crate) fn compiler(allocation: Allocation) -> Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(allocation))
}

/// How many ticks of the clock a call has.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_millis().div_ceil(TICK.as_millis());
    // The tick under way counts for nothing.
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

/// Everything that compiled code depends on, which does not include the pool.
fn config(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // Between the parts of a component that were joined, data goes from one memory
        // to another.
        .wasm_multi_memory(true)
        .wasm_tail_call(false)
        .memory_guaranteed_dense_image_size(SPARSE_BYTES)
        // A trap is reported by its cause; frames of foreign code help nobody.
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

/// Moves the engine's epoch on from a thread of its own: a timer of an async
/// runtime could be starved by the very call it should interrupt.
fn keep_time(engine: EngineWeak) -> Result<()> {
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
