//! The journal: a chain of signed checkpoints, one per change.

pub(crate) mod checkpoint;
pub(crate) mod delegation;
pub(crate) mod entry;
pub(crate) mod head;
pub(crate) mod heartbeat;
pub(crate) mod history;
pub(crate) mod log_head;
pub(crate) mod position;
pub(crate) mod search;
#[cfg(test)]
mod tests;
