//! What commands print with `--json`, as plain serializable structs. The text that commands
//! print is a rendering of the same structs.
//!
//! Nothing here depends on other parts of the program: only on serde, for JSON that has no
//! fixed form on serde_json, and on the standard library.

pub mod access;
pub mod policy;
pub mod policy_check;
pub mod policy_comparison;
pub mod policy_project;
pub mod policy_test;
