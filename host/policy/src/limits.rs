//! What a policy may use up, and the account of it during one call.

use std::fmt;
use std::time::Duration;

use wasmtime::{ResourceLimiter, Result};

/// What one call of a policy may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wall time of one call, instantiation included. The default, 100 ms, is
    /// ten thousand times what the built-in policy takes, and short enough that
    /// a looping one is a nuisance rather than an outage.
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
    /// Bytes of a component. The default, 1 MiB, is fifty times the built-in
    /// policy; compiling is the one step that no deadline covers.
    pub component_bytes: usize,
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
            component_bytes: 1 << 20,
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
}

impl ResourceLimiter for Account {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
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
    ) -> Result<bool> {
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
