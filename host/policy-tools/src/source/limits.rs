//! The limits of reading a source.

/// The most entries of a directory that are read: no directory of a policy or of vectors
/// has as many, and a listing takes memory for each.
pub(super) const MAX_ENTRIES: usize = 10_000;
