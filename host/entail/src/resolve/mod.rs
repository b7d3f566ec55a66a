//! The steps from a request to a lease.

pub(crate) mod environment;
pub(crate) mod facts;
pub(crate) mod headers;
pub mod host_attributes;
pub(crate) mod lease;
pub(crate) mod secret_cache;
