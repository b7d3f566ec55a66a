//! Comparing decisions: of two policies, or before and after a change.

pub(crate) mod access;
pub(crate) mod decision;
pub(crate) mod recorded_requests;
pub(crate) mod replay;
pub(crate) mod usage;
