//! Recovery keys: identities that are kept apart from the store, whole or as shares.
//!
//! A file with a recovery key, or with a share of one, has a [receipt](receipt::Receipt): which
//! store it belongs to, and what is known of that store.
//!
//! # Security
//!
//! A whole key and its shares never exist together on disk: a key that is split is only in memory.
//! Fewer shares than the threshold contain nothing of the key (Shamir's secret sharing). They
//! name its recipient, which is public.

pub(crate) mod create;
pub(crate) mod error;
pub(crate) mod find;
pub(crate) mod given;
pub(crate) mod receipt;
pub(crate) mod share;
#[cfg(test)]
mod tests;
