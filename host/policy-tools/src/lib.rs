//! Tools for authors of policies: create a project, build a component, read one from a
//! file or an OCI image layout, explain what is wrong with it, run its test vectors.
//!
//! Nothing here prints, reads a command line or ends the process. Functions return
//! values, and errors with a stable code. What to do about an error is a typed
//! [`diagnosis::Remedy`] or the error's own fields; the caller words it.
//!
//! # Security
//!
//! Components are foreign code. All code outside the engine that parses one is a job of
//! the limited child process ([`JOBS`]); a program that uses this crate passes them to
//! [`entail::policy::run_compile_worker_with`] at its start.

pub mod build;
pub mod component;
pub mod contract;
pub mod contract_diff;
pub mod diagnosis;
pub mod display;
pub mod export;
mod oci;
pub mod record;
pub mod source;
pub mod template;
pub mod test_engine;
pub mod vectors;
pub mod wit;

use entail::policy::Job;

/// The jobs that this crate runs in the limited child process.
pub const JOBS: [Job; 4] = [
    build::ADD_METADATA,
    build::COMPONENTIZE,
    contract_diff::CONTRACT_DIFFERENCES,
    wit::READ_WIT,
];
