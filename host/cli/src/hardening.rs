//! What this process does so that its memory stays its own.

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// What the caller set; a command that is run gets it back.
static CALLERS: OnceLock<Callers> = OnceLock::new();

struct Callers {
    core_limit: Rlimit,
    mask: Mode,
}

/// Whatever is made by whatever library is the owner's alone.
const MASK: Mode = Mode::from_raw_mode(0o077);

/// Sees to it that no other process of the user reads this one's memory, and that it
/// leaves no core behind. What the system does not allow comes back, in words.
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
        refused.push("a crash may leave a core behind");
    }
    refused
}

/// Runs `start` with the mask and the limit on core dumps that the caller set, for what
/// it starts.
pub fn as_the_caller_had_it<T>(start: impl FnOnce() -> T) -> T {
    if let Some(callers) = CALLERS.get() {
        umask(callers.mask);
        // The command does without; it is no worse off for that.
        let _ = setrlimit(Resource::Core, callers.core_limit);
    }
    let started = start();
    harden();
    started
}
