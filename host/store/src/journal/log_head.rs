//! The end of a decision log, as a checkpoint contains it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::random_id::RandomId;

/// The end of a decision log at some time. It covers every line before it, of all processes: what
/// it covers cannot be changed, removed or reordered without another digest. It says nothing about
/// later lines.
///
/// A checkpoint contains that of the machine that made the change, so whoever can write the files
/// of that machine alone cannot rewrite its log unnoticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The log: each machine has its own.
    pub log: RandomId,
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
