//! The limits of a policy, and the resources that a call uses.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

/// The limits of a call of a policy, and of its admission.
///
/// In JSON a duration is a number of milliseconds (`deadline_ms`). A missing field has its
/// default; an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time of one call, including instantiation. The default, 100 ms, is ten thousand
    /// times what the built-in policy takes, and short enough that a policy that loops
    /// causes no outage.
    #[serde(rename = "deadline_ms", with = "milliseconds")]
    pub deadline: Duration,
    /// Bytes of linear memory, summed over all memories of the component. The
    /// default, 16 MiB, is four times the built-in policy's.
    pub memory_bytes: usize,
    /// Elements of tables, summed over all tables. The default, 10,000, suits
    /// programs with thousands of indirectly called functions.
    pub table_elements: usize,
    /// Core instances within the component. The default, 16, leaves room for
    /// adapters around a single program.
    pub instances: usize,
    /// Credentials in the facts of one call. The default, 2,000, is more than a
    /// full chain of scopes holds for one provider.
    pub credentials: usize,
    /// Bytes of a result. The default, 1 MiB, has room for a trail of several thousand
    /// findings.
    pub result_bytes: usize,
    /// Bytes of a component. The default, 4 MiB, has room for a rules engine
    /// written in a compiled language.
    pub component_bytes: usize,
    /// Bytes of memory for compiling it in a child process. The default, 1 GiB, is several
    /// times what a component of 4 MiB takes.
    pub compile_memory_bytes: u64,
    /// Processor time for compiling it in a child process. The default, 30 s, is ten times
    /// what a component of 4 MiB takes.
    #[serde(rename = "compile_time_ms", with = "milliseconds")]
    pub compile_time: Duration,
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u64::try_from(time.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline: Duration::from_millis(100),
            memory_bytes: 16 << 20,
            table_elements: 10_000,
            instances: 16,
            credentials: 2_000,
            result_bytes: 1 << 20,
            component_bytes: 4 << 20,
            compile_memory_bytes: 1 << 30,
            compile_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The highest limits of a policy: several times what a policy in a dynamic language
    /// needs, which includes its interpreter.
    pub const CEILING: Limits = Limits {
        deadline: Duration::from_secs(10),
        memory_bytes: 512 << 20,
        table_elements: 1_000_000,
        instances: 1_000,
        credentials: 10_000,
        result_bytes: 16 << 20,
        component_bytes: 64 << 20,
        compile_memory_bytes: 8 << 30,
        compile_time: Duration::from_mins(10),
    };

    /// The lowest limits of a policy: with less, no component could be compiled or called.
    pub const FLOOR: Limits = Limits {
        deadline: Duration::from_millis(1),
        memory_bytes: 0,
        table_elements: 0,
        instances: 1,
        credentials: 1,
        result_bytes: 1,
        component_bytes: 1,
        compile_memory_bytes: 1,
        compile_time: Duration::from_millis(1),
    };

    /// Checks that no limit is above that of `other`.
    ///
    /// # Errors
    ///
    /// The name of the first limit that is above, as in JSON.
    pub fn check_within(&self, other: &Limits) -> Result<(), &'static str> {
        let above = [
            ("deadline_ms", self.deadline > other.deadline),
            ("memory_bytes", self.memory_bytes > other.memory_bytes),
            ("table_elements", self.table_elements > other.table_elements),
            ("instances", self.instances > other.instances),
            ("credentials", self.credentials > other.credentials),
            ("result_bytes", self.result_bytes > other.result_bytes),
            (
                "component_bytes",
                self.component_bytes > other.component_bytes,
            ),
            (
                "compile_memory_bytes",
                self.compile_memory_bytes > other.compile_memory_bytes,
            ),
            ("compile_time_ms", self.compile_time > other.compile_time),
        ];
        match above.into_iter().find(|(_, above)| *above) {
            Some((name, _)) => Err(name),
            None => Ok(()),
        }
    }
}

/// A limit that a call exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exceeded {
    /// It ran longer than this many milliseconds.
    DeadlineMs(u128),
    /// It requested more than this many bytes of memory.
    MemoryBytes(usize),
    /// It requested more than this many table elements.
    TableElements(usize),
    /// Its calls nested too deeply.
    Stack,
    /// It returned more than this many bytes.
    ResultBytes(usize),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::DeadlineMs(limit) => write!(f, "ran longer than {limit} ms"),
            Exceeded::MemoryBytes(limit) => {
                write!(f, "requested more than {limit} bytes of memory")
            }
            Exceeded::TableElements(limit) => {
                write!(f, "requested more than {limit} table elements")
            }
            Exceeded::Stack => write!(f, "nested its calls too deeply"),
            Exceeded::ResultBytes(limit) => write!(f, "returned more than {limit} bytes"),
        }
    }
}

impl std::error::Error for Exceeded {}

/// The resources that a call uses: sums over all memories and tables. Wasmtime's own limiter
/// counts each of them alone.
pub(crate) struct ResourceUsage {
    memory_limit: usize,
    memory_used: usize,
    table_limit: usize,
    table_used: usize,
    instances: usize,
}

impl ResourceUsage {
    pub(crate) fn new(limits: &Limits) -> Self {
        ResourceUsage {
            memory_limit: limits.memory_bytes,
            memory_used: 0,
            table_limit: limits.table_elements,
            table_used: 0,
            instances: limits.instances,
        }
    }

    /// Bytes of memory in use. It never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_used
    }

    /// Elements of tables in use.
    pub(crate) fn table_elements(&self) -> usize {
        self.table_used
    }
}

impl ResourceLimiter for ResourceUsage {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .memory_used
            .saturating_add(desired.saturating_sub(current));
        if used > self.memory_limit {
            return Err(Exceeded::MemoryBytes(self.memory_limit).into());
        }
        self.memory_used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .table_used
            .saturating_add(desired.saturating_sub(current));
        if used > self.table_limit {
            return Err(Exceeded::TableElements(self.table_limit).into());
        }
        self.table_used = used;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
