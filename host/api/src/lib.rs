//! The types of the `entail` program's JSON output (`--json`), which an HTTP API and its
//! clients share.
//!
//! They are plain data and depend only on serde, so a client needs no other crate of Entail.
//! Times are in milliseconds since 1970-01-01T00:00:00Z and have names that end in `_ms`.
//! Fields are added, never renamed or removed, within a major version.
//!
//! The feature `schema` derives JSON Schemas. `schema.json` beside this crate's manifest is
//! generated with it; a test keeps it up to date.

pub mod access;
pub mod audit;
pub mod backup;
pub mod bundle;
pub mod credential;
pub mod decision;
pub mod directory_scope;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod explain;
pub mod heartbeat;
pub mod import;
pub mod keys;
pub mod policy;
pub mod policy_check;
pub mod policy_comparison;
pub mod policy_project;
pub mod policy_test;
pub mod principal;
pub mod project;
pub mod provider;
pub mod resolve;
#[cfg(feature = "schema")]
mod schema;
pub mod status;
pub mod verify;

#[cfg(feature = "schema")]
pub use schema::schema;
