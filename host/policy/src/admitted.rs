//! A component that was admitted, ready to be instantiated.

use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::contract::{Contract, Exports};
use crate::digest::PolicyDigest;
use crate::engine::Engine;
use crate::engine_errors::call_error;
use crate::error::CallError;
use crate::limits::{Limits, ResourceUsage};
use crate::settings::Schema;
use crate::wasmtime_engine::{WasmtimeEngine, ticks};

/// How a policy describes itself. The text is foreign, and nothing relies on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// A short name, such as `default`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence on what it does.
    pub summary: String,
}

/// What it took to admit a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Costs {
    /// The time of the whole admission. Compiling takes most of it, unless the code was in
    /// the cache.
    pub admission: Duration,
    /// Whether the component was compiled; otherwise its code was in the cache.
    pub compiled: bool,
    /// The time of the trial call, in a fresh instance.
    pub trial_call: Duration,
    /// Bytes of linear memory of the instance after the trial call.
    pub memory_bytes: usize,
    /// Elements of tables after the trial call.
    pub table_elements: usize,
}

/// A component that was admitted, ready to be instantiated.
pub(crate) struct Admitted {
    pub(crate) engine: Engine,
    pub(crate) wasmtime: WasmtimeEngine,
    pub(crate) limits: Limits,
    pub(crate) digest: PolicyDigest,
    pub(crate) description: Description,
    pub(crate) contract: Contract,
    pub(crate) schema: Option<Schema>,
    pub(crate) costs: Costs,
    pub(crate) exports: Exports,
    pub(crate) instance: InstancePre<ResourceUsage>,
    /// Whether the component is part of the program, so that it needs no sandbox.
    pub(crate) is_trusted: bool,
}

impl Admitted {
    /// Returns a store with the policy's limits. The deadline for an instantiation starts.
    pub(crate) fn store(&self) -> Store<ResourceUsage> {
        new_store(&self.wasmtime, &self.limits)
    }

    /// Starts the deadline of the next call. Without it a call traps immediately.
    pub(crate) fn start_deadline(&self, store: &mut Store<ResourceUsage>) {
        store.set_epoch_deadline(ticks(self.limits.deadline));
    }

    /// Classifies the error of a call.
    pub(crate) fn call_error(&self, error: wasmtime::Error) -> CallError {
        call_error(error, &self.limits)
    }
}

/// Returns a store with these limits. The deadline for an instantiation starts.
pub(crate) fn new_store(engine: &WasmtimeEngine, limits: &Limits) -> Store<ResourceUsage> {
    let mut store = Store::new(&engine.engine, ResourceUsage::new(limits));
    store.limiter(|usage| usage);
    store.set_hostcall_fuel(limits.result_bytes);
    store.set_epoch_deadline(ticks(limits.deadline));
    store
}
