//! Verifying, maintaining, backing up and restoring a home.

mod backup;
mod handle;
mod import;
pub(crate) mod last_verified;
pub(crate) mod maintenance;
pub(crate) mod restore;
pub(crate) mod verify;

pub use handle::Maintenance;
pub use import::{RestoreRequest, Trust};
