//! The limits of the vectors of a run.

/// The most bytes of all vectors of a run, some twenty thousand vectors: all are read before
/// the first runs.
pub(super) const MAX_TOTAL_BYTES: usize = 8 << 20;
