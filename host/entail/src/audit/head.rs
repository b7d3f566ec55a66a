//! The end of the log in a few bytes.

use entail_store::Digest;
use serde::{Deserialize, Serialize};

use super::heads::Position;

/// The end of a decision log at some time. It covers every line before it, of all processes:
/// what it covers cannot be changed, removed or reordered without another digest. It says
/// nothing about later lines. [`verify_log`] checks that a log contains it.
///
/// [`verify_log`]: crate::verify_log
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The number that the file has, or will have once it is full.
    pub file: u64,
    /// Bytes before the end in that file.
    pub bytes: u64,
    /// Lines before the end in all files, since the heads of the log began.
    pub lines: u64,
    /// A digest over those lines: that of no lines is all zero; with each line, it becomes
    /// the SHA-256 of the digest before and the SHA-256 of the line without its newline.
    pub digest: Digest,
}

impl LogHead {
    pub(super) fn at(position: &Position) -> Self {
        LogHead {
            file: position.file,
            bytes: position.bytes,
            lines: position.lines,
            digest: position.digest,
        }
    }
}
