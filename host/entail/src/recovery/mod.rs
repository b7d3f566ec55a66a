//! Verifying, maintaining, backing up and restoring a home.

mod background;
mod backup;
mod import;
pub(crate) mod last_verified;
pub(crate) mod maintenance;
pub(crate) mod restore;
pub(crate) mod verify;

pub use background::BackgroundVerification;
pub use import::Trust;
