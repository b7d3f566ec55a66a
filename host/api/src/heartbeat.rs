//! Heartbeats.

use serde::{Deserialize, Serialize};

/// `heartbeat send`, `heartbeat require`: whether heartbeats are required, and until when the state
/// of the store counts as the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Heartbeats {
    /// How long a state counts as the newest after a change or a heartbeat; `null` if none are
    /// required.
    pub fresh_for_ms: Option<u64>,
    /// Until when the present state counts as the newest; `null` if no heartbeats are required.
    pub fresh_until_ms: Option<u64>,
}
