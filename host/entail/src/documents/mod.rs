//! The documents that the store keeps for this library: scopes, active policies and the
//! schedule of retired secrets.

pub(crate) mod policy;
pub(crate) mod retirements;
pub(crate) mod scope;
