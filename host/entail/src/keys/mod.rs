//! Rotating the keys of a home, and changing its recipients.
//!
//! Each operation makes a small change that takes effect immediately, and then renews what was
//! there before: it seals secrets again, or signs documents again, a few scopes per commit.
//! Everything stays readable meanwhile. An interrupted operation continues when it is
//! called again: the epoch of a secret and the signer of a document say what is left to do.
//!
//! # Blocking
//!
//! These operations wait for the disk, and for the lock of the keys, on the calling thread,
//! and yield only between batches. In a service, run them on a separate thread.

mod commit;
mod identity;
pub(crate) mod plan;
mod recipients;
pub(crate) mod renewal;
mod reseal;
mod signer;
