//! Verifying, maintaining and restoring a home.

pub(crate) mod maintenance;
pub(crate) mod restore;
pub(crate) mod verify;
