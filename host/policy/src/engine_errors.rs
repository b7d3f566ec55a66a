//! Classifies errors of wasmtime, its compiler and the Rust runtime.
//!
//! Some of these errors have no public type and can only be distinguished by their text. All
//! such texts are in this file, and its tests pin them: an update of wasmtime or of Rust
//! that changes one fails a test.

use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::error::{CallError, sanitize};
use crate::limits::{Exceeded, Limits};

/// A result exceeded its allowed size ([`Limits::result_bytes`]).
const RESULT_TOO_LARGE: &str = "fuel allocated for hostcalls";

/// The system forbids executable memory.
const EXECUTION_FORBIDDEN: &str = "unable to make memory executable";

/// A memory mapping failed for lack of memory (ENOMEM), as `std::io::Error` shows it.
const NO_MEMORY: &str = "os error 12";

/// An allocation failed, as the Rust runtime reports it before it aborts.
const ALLOCATION_FAILED: &str = "memory allocation";

/// Classifies the error of a call that ran under `limits`.
pub(crate) fn call_error(error: wasmtime::Error, limits: &Limits) -> CallError {
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return CallError::Exceeded(*exceeded);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Busy;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            CallError::Exceeded(Exceeded::DeadlineMs(limits.deadline.as_millis()))
        }
        Some(Trap::StackOverflow) => CallError::Exceeded(Exceeded::Stack),
        Some(trap) => CallError::Trapped(trap_name(*trap)),
        None if error.root_cause().to_string().contains(RESULT_TOO_LARGE) => {
            CallError::Exceeded(Exceeded::ResultBytes(limits.result_bytes))
        }
        None => CallError::Malformed(sanitize(&format!("{error:#}"))),
    }
}

/// Whether code failed to load because the system forbids executable memory.
pub(crate) fn is_execution_forbidden(error: &wasmtime::Error) -> bool {
    format!("{error:#}").contains(EXECUTION_FORBIDDEN)
}

/// Whether a reason that the compile worker returned means that it ran out of memory.
pub(crate) fn is_out_of_memory(reason: &str) -> bool {
    reason.contains(NO_MEMORY)
}

/// Whether the standard error of an aborted process reports a failed allocation.
pub(crate) fn is_allocation_failure(stderr: &str) -> bool {
    stderr.contains(ALLOCATION_FAILED)
}

fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::MemoryOutOfBounds => "access outside of its memory",
        Trap::TableOutOfBounds => "access outside of a table",
        Trap::IndirectCallToNull | Trap::BadSignature => "bad indirect call",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "bad conversion to an integer",
        Trap::UnreachableCodeReached => "unreachable code reached",
        _ => "a rule of WebAssembly was broken",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use wasmtime::component::{Component, Linker};
    use wasmtime::{Engine, Store};

    use super::*;

    /// Returns the error of a component that returns a string of 1,000 bytes to a host that
    /// accepts 10.
    fn oversized_result() -> wasmtime::Error {
        let component = r#"(component
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 0) "\08\00\00\00\e8\03\00\00")
                (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func (export "run") (result string)
                (canon lift (core func $i "run") (memory $i "memory"))))"#;
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str(component).unwrap()).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_hostcall_fuel(10);
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &component)
            .unwrap();
        let run = instance
            .get_typed_func::<(), (String,)>(&mut store, "run")
            .unwrap();
        run.call(&mut store, ()).unwrap_err()
    }

    #[test]
    fn an_oversized_result_is_recognized() {
        let limits = Limits::default();
        let error = call_error(oversized_result(), &limits);
        let expected = Exceeded::ResultBytes(limits.result_bytes);
        assert!(
            matches!(&error, CallError::Exceeded(exceeded) if *exceeded == expected),
            "{error}"
        );
    }

    /// The system forbids executable memory in a test of the `entail` program
    /// (`tests/end-to-end/processes.rs`), since that cannot be undone in a process.
    #[test]
    fn forbidden_execution_is_recognized_among_the_causes() {
        let error = wasmtime::format_err!("mprotect failed")
            .context("unable to make memory executable")
            .context("failed to load code");
        assert!(is_execution_forbidden(&error));
        assert!(!is_execution_forbidden(&wasmtime::format_err!("mprotect")));
    }

    #[test]
    fn a_failed_mapping_is_recognized() {
        let enomem = rustix::io::Errno::NOMEM.raw_os_error();
        let error = std::io::Error::from_raw_os_error(enomem);
        assert!(is_out_of_memory(&format!("mmap failed: {error}")));
        assert!(!is_out_of_memory("invalid component"));
    }

    /// Set for the process that aborts.
    const ABORT: &str = "ENTAIL_TEST_ALLOCATION_FAILURE";

    #[test]
    fn a_failed_allocation_is_recognized() {
        if std::env::var_os(ABORT).is_some() {
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 1 << 20]>());
        }
        let aborted = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("engine_errors::tests::a_failed_allocation_is_recognized")
            .env(ABORT, "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&aborted.stderr);
        assert_eq!(aborted.status.signal(), Some(6), "{stderr}");
        assert!(is_allocation_failure(&stderr), "{stderr}");
        assert!(!is_allocation_failure("out of stack"));
    }
}
