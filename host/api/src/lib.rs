//! The values that the program prints with `--json`: plain data that depends on nothing but
//! serde, so that a server and its clients can use the same types. Times are in milliseconds
//! since 1970-01-01T00:00:00Z and have names that end in `_ms`.

pub mod access;
pub mod audit;
pub mod backup;
pub mod credential;
pub mod decision;
pub mod directory_scope;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod explain;
pub mod import;
pub mod keys;
pub mod policy;
pub mod policy_check;
pub mod policy_comparison;
pub mod policy_project;
pub mod policy_test;
pub mod project;
pub mod provider;
pub mod resolve;
pub mod status;
pub mod verify;
