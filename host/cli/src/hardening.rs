//! What this process does so that its memory stays its own.

use std::sync::OnceLock;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// The limit that the caller set on core dumps; a command that is run gets it back.
static CALLERS_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Sees to it that no other process of the user reads this one's memory, and that it
/// leaves no core behind. What the system does not allow comes back, in words.
pub fn harden() -> Vec<&'static str> {
    let mut refused = Vec::new();
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        refused.push("other processes of the same user may read the memory of this one");
    }
    let limit = CALLERS_LIMIT.get_or_init(|| getrlimit(Resource::Core));
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Core, none).is_err() {
        refused.push("a crash may leave a core behind");
    }
    refused
}

/// Runs `start` under the limit on core dumps that the caller set, for what it starts.
pub fn with_callers_limit<T>(start: impl FnOnce() -> T) -> T {
    if let Some(limit) = CALLERS_LIMIT.get() {
        // The command does without; it is no worse off for that.
        let _ = setrlimit(Resource::Core, limit.clone());
    }
    let started = start();
    harden();
    started
}
