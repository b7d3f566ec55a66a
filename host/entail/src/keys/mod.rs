//! Rotating the keys of a home and changing its recipients.

pub(crate) mod dry_run;
pub(crate) mod rotation;
