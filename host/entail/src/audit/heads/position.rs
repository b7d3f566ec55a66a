//! A position in the log, and a digest over everything before it.

use std::fs::File;

use entail_store::Digest;

use crate::audit::lines::{FileRange, LineKind, Lines};

/// A position between two lines of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Position {
    /// The number that the file has, or will have once it is full.
    pub(in crate::audit) file: u64,
    /// Bytes before it in that file.
    pub(in crate::audit) bytes: u64,
    /// Lines before it in all files since the heads began.
    pub(in crate::audit) lines: u64,
    /// A digest over those lines.
    pub(in crate::audit) digest: Digest,
    /// The digest of the last of them.
    pub(in crate::audit) last: Option<Digest>,
}

impl Position {
    /// The start of the first file of a log.
    pub(super) fn start() -> Self {
        Position {
            file: 1,
            bytes: 0,
            lines: 0,
            digest: Digest::from([0; 32]),
            last: None,
        }
    }

    /// Advances past a line, given its digest and its length with the newline.
    pub(in crate::audit) fn advance(&mut self, line: Digest, bytes: u64) {
        let mut both = [0; 64];
        let (before, after) = both.split_at_mut(32);
        before.copy_from_slice(self.digest.as_bytes());
        after.copy_from_slice(line.as_bytes());
        self.digest = Digest::of(&both);
        self.last = Some(line);
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Advances past the complete lines of `file` before `end`. A line longer than the
    /// limit counts as an empty one.
    pub(in crate::audit) fn advance_to(&mut self, file: &File, end: u64) -> std::io::Result<()> {
        let mut lines = Lines::new(FileRange::new(file, self.bytes, end), self.bytes);
        let mut line = Vec::new();
        loop {
            let before = lines.offset();
            match lines.next(&mut line)? {
                LineKind::Incomplete => return Ok(()),
                LineKind::Complete | LineKind::TooLong => {
                    self.advance(Digest::of(&line), lines.offset() - before);
                }
            }
        }
    }

    /// The start of the next file.
    pub(in crate::audit) fn next_file(self) -> Self {
        Position {
            file: self.file + 1,
            bytes: 0,
            ..self
        }
    }

    /// Whether the same lines precede both positions.
    pub(in crate::audit) fn has_same_lines(&self, other: &Position) -> bool {
        (self.lines, self.digest) == (other.lines, other.digest)
    }
}
