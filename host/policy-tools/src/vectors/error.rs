//! Why vectors cannot be read.

use super::limits::MAX_TOTAL_BYTES;
use crate::source::SourceError;

/// Why vectors cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// There is no directory of vectors beside a component.
    #[error("there is no directory vectors beside {0}")]
    NoDirectory(String),
    /// A directory has no vectors.
    #[error("{0} has no vectors: no file in it ends in .json")]
    NoVectors(String),
    /// A file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The files are too long together.
    #[error("{0}: the vectors of a run have at most {MAX_TOTAL_BYTES} bytes together")]
    TooLarge(String),
    /// A file is not a list of vectors.
    #[error("{name}: not a list of vectors: {error}")]
    NotAList {
        /// The file.
        name: String,
        /// The parser's error.
        error: serde_json::Error,
    },
    /// A vector is invalid.
    #[error("{file}, {vector}: {reason}")]
    Invalid {
        /// The file.
        file: String,
        /// The name of the vector, or its number.
        vector: String,
        /// The rule that it breaks.
        reason: String,
    },
}

impl VectorError {
    /// Returns a stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            VectorError::NoDirectory(_) => "no-vectors-directory",
            VectorError::NoVectors(_) => "no-vectors",
            VectorError::Source(error) => error.code(),
            VectorError::TooLarge(_) => "too-large",
            VectorError::NotAList { .. } => "malformed",
            VectorError::Invalid { .. } => "invalid-vector",
        }
    }
}
