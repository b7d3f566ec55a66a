//! Protects the memory of this process.

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// The caller's settings; a command that is run gets them back.
static CALLERS: OnceLock<Callers> = OnceLock::new();

struct Callers {
    core_limit: Rlimit,
    mask: Mode,
}

/// Every new file, also of a library, is accessible to its owner only.
const MASK: Mode = Mode::from_raw_mode(0o077);

/// Prevents other processes of the user from reading this one's memory, and core dumps.
/// Returns a warning for each measure that the system does not allow.
pub fn harden() -> Vec<&'static str> {
    let mut refused = Vec::new();
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        refused.push("other processes of the same user may read the memory of this one");
    }
    let callers = CALLERS.get_or_init(|| Callers {
        core_limit: getrlimit(Resource::Core),
        mask: umask(MASK),
    });
    umask(MASK);
    let none = Rlimit {
        current: Some(0),
        maximum: callers.core_limit.maximum,
    };
    if setrlimit(Resource::Core, none).is_err() {
        refused.push("a crash may leave a core dump");
    }
    refused
}

/// Runs `start` with the caller's file mode mask and limit on core dumps.
pub fn with_callers_settings<T>(start: impl FnOnce() -> T) -> T {
    if let Some(callers) = CALLERS.get() {
        umask(callers.mask);
        // If this fails, the command runs without core dumps.
        let _ = setrlimit(Resource::Core, callers.core_limit);
    }
    let started = start();
    harden();
    started
}
