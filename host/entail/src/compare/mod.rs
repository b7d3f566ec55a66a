//! Comparing decisions: of two policies, or before and after a change.

pub(crate) mod access;
mod comparison;
pub(crate) mod decision;
mod parallel;
mod preview;
mod recorded_requests;
pub(crate) mod replay;
mod requests;
mod state;
mod usage;
