//! The documents that this library keeps in the store: scopes, policies and the schedule
//! of retired secrets.

mod encode;
pub(crate) mod policy;
pub(crate) mod retirements;
pub(crate) mod scope;
pub(crate) mod store;

pub(crate) use encode::encode;
