//! Verifying, maintaining, backing up and restoring a home.

pub(crate) mod authority;
mod backup;
mod handle;
mod import;
pub(crate) mod last_verified;
pub(crate) mod maintenance;
pub(crate) mod restore;
mod trust;
pub(crate) mod verify;

pub use handle::Maintenance;
pub use import::RestoreRequest;
pub use trust::Trust;
