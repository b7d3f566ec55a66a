//! What a policy may use up, and the account of it during one call.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

/// What one call of a policy, and making it ready, may use up.
///
/// As JSON a duration is a number of milliseconds, `deadline_ms`; a field that is
/// left out has its default, an unknown one is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time of one call, instantiation included. The default, 100 ms, is
    /// ten thousand times what the built-in policy takes, and short enough that
    /// a looping one is a nuisance rather than an outage.
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
    /// Bytes taken over from a result. The default, 1 MiB, holds a trail of
    /// several thousand findings.
    pub result_bytes: usize,
    /// Bytes of a component. The default, 4 MiB, has room for a rules engine
    /// written in a compiled language.
    pub component_bytes: usize,
    /// Bytes of memory for compiling it, in a process of its own. The default,
    /// 1 GiB, is several times what a component of 4 MiB takes.
    pub compile_memory_bytes: u64,
    /// Processor time for compiling it, in a process of its own. The default,
    /// 30 s, is ten times what a component of 4 MiB takes.
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
    /// The most that a policy can be given: what one of a dynamic language needs,
    /// which brings its interpreter along, several times over.
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

    /// The least that a policy can be given: with less, nothing could be compiled, or
    /// called.
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

    /// Whether nothing in here is more than in `other`; else the name of what is.
    ///
    /// # Errors
    ///
    /// The name of the first limit that is above, as in JSON.
    pub fn within(&self, other: &Limits) -> Result<(), &'static str> {
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

/// A limit that a call went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exceeded {
    /// It ran longer than so many milliseconds.
    DeadlineMs(u128),
    /// It asked for more than so many bytes of memory.
    MemoryBytes(usize),
    /// It asked for more than so many table elements.
    TableElements(usize),
    /// Its calls nested too deeply.
    Stack,
    /// It returned more than so many bytes.
    ResultBytes(usize),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::DeadlineMs(limit) => write!(f, "ran longer than {limit} ms"),
            Exceeded::MemoryBytes(limit) => {
                write!(f, "asked for more than {limit} bytes of memory")
            }
            Exceeded::TableElements(limit) => {
                write!(f, "asked for more than {limit} table elements")
            }
            Exceeded::Stack => write!(f, "nested its calls too deeply"),
            Exceeded::ResultBytes(limit) => write!(f, "returned more than {limit} bytes"),
        }
    }
}

impl std::error::Error for Exceeded {}

/// The account of one call: sums over all memories and tables, where the
/// engine's own limiter would count each one alone.
pub(crate) struct Account {
    memory_limit: usize,
    memory_used: usize,
    table_limit: usize,
    table_used: usize,
    instances: usize,
}

impl Account {
    pub(crate) fn new(limits: &Limits) -> Self {
        Account {
            memory_limit: limits.memory_bytes,
            memory_used: 0,
            table_limit: limits.table_elements,
            table_used: 0,
            instances: limits.instances,
        }
    }

    /// Bytes of memory in use. It never shrinks.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory_used
    }

    /// Elements of tables in use.
    pub(crate) fn table_used(&self) -> usize {
        self.table_used
    }
}

impl ResourceLimiter for Account {
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
