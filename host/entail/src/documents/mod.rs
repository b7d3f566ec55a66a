//! The documents that this library keeps in the store: scopes, policies, the schedule
//! of retired secrets, and the principals of the journal.

mod authors;
mod encode;
pub(crate) mod policy;
pub(crate) mod principal;
pub(crate) mod retirements;
pub(crate) mod scope;
pub(crate) mod store;

pub(crate) use encode::encode;
