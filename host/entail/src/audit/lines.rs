//! Reading files line by line.
//!
//! # Security
//!
//! At most [`MAX_LINE_BYTES`] and a buffer of a file are in memory at a time. A longer line
//! is skipped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;

/// The longest line that can be a record. The facts of a chain of full scopes fit; a
/// longer record is not written.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes read at a time: some hundred records.
const BUFFER_BYTES: usize = 128 * 1024;

/// Bytes read at a time when a whole file is read backwards. The kernel reads ahead only
/// forwards, so the blocks are large.
const BLOCK_BYTES: usize = 1024 * 1024;

/// The first block from the end of a file: enough for the last lines, in one read.
const LAST_BLOCK_BYTES: usize = 16 * 1024;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A line, without its newline.
    Complete,
    /// A line longer than the limit, which was skipped.
    TooLong,
    /// The bytes after the last newline, if any. The line may still be completed.
    Incomplete,
}

/// Reads a file line by line. After [`LineKind::Incomplete`] it continues with what was
/// written since.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    /// The offset of the next line.
    offset: u64,
    /// How many bytes of a line that is too long were skipped.
    skipped: u64,
}

impl Lines<FileReader> {
    /// Starts at `offset`.
    pub(crate) fn at(file: File, offset: u64) -> Self {
        Lines::new(FileReader { file, offset }, offset)
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.reader.get_ref().file
    }

    /// Like [`Lines::next`], but an incomplete line will be read again from its start.
    pub(crate) fn next_complete(&mut self, line: &mut Vec<u8>) -> std::io::Result<LineKind> {
        let kind = self.next(line)?;
        if kind == LineKind::Incomplete && !line.is_empty() {
            self.reader.consume(self.reader.buffer().len());
            self.reader.get_mut().offset = self.offset;
        }
        Ok(kind)
    }
}

impl<R: Read> Lines<R> {
    /// Reads from `reader`, whose first byte is at `offset`.
    pub(crate) fn new(reader: R, offset: u64) -> Self {
        Lines {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            offset,
            skipped: 0,
        }
    }

    /// The offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether part of a line that is too long was skipped.
    pub(crate) fn is_within_long_line(&self) -> bool {
        self.skipped > 0
    }

    /// Reads the next line into `line`, which is empty if the line is too long.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<LineKind> {
        loop {
            line.clear();
            // One more for the newline.
            let limit = u64::try_from(MAX_LINE_BYTES + 1).unwrap_or(u64::MAX);
            let mut limited = self.reader.by_ref().take(limit);
            let read = limited.read_until(b'\n', line)?;
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            let has_newline = line.pop_if(|byte| *byte == b'\n').is_some();
            let is_long = self.skipped > 0;
            if has_newline {
                self.offset += self.skipped + read;
                self.skipped = 0;
                if is_long {
                    line.clear();
                    return Ok(LineKind::TooLong);
                }
                return Ok(LineKind::Complete);
            }
            if read < limit && !is_long {
                return Ok(LineKind::Incomplete);
            }
            self.skipped += read;
            if read < limit {
                line.clear();
                return Ok(LineKind::Incomplete);
            }
        }
    }
}

/// Reads a file without moving the file's own offset, which its clones share.
pub(crate) struct FileReader {
    file: File,
    offset: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// Reads a range of a file without moving the file's own offset.
pub(crate) struct FileRange<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl<'a> FileRange<'a> {
    pub(crate) fn new(file: &'a File, offset: u64, end: u64) -> Self {
        FileRange { file, offset, end }
    }
}

impl Read for FileRange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// The newlines of a file, from its end to its start.
pub(crate) struct Newlines<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// The offset of the block.
    start: u64,
    /// The size of the next block.
    block_bytes: usize,
}

impl<'a> Newlines<'a> {
    /// The newlines before `end`.
    pub(crate) fn before(file: &'a File, end: u64) -> Self {
        Newlines {
            file,
            block: Vec::new(),
            start: end,
            block_bytes: LAST_BLOCK_BYTES,
        }
    }

    /// The offset of the previous newline; `None` if there is none at or after `from`.
    pub(crate) fn previous(&mut self, from: u64) -> std::io::Result<Option<u64>> {
        loop {
            if let Some(found) = memchr::memrchr(b'\n', &self.block) {
                self.block.truncate(found);
                let offset = self.start + u64::try_from(found).unwrap_or(0);
                return Ok((offset >= from).then_some(offset));
            }
            if self.start <= from {
                return Ok(None);
            }
            let size = self.start.min(self.block_bytes as u64);
            let start = self.start - size;
            self.block.resize(usize::try_from(size).unwrap_or(0), 0);
            self.file.read_exact_at(&mut self.block, start)?;
            self.start = start;
            self.block_bytes = BLOCK_BYTES;
        }
    }
}

/// The last complete line before `end`, and the offset after it. The line is `None` if
/// there is none, or it is longer than the limit.
pub(crate) fn last_line(file: &File, end: u64) -> std::io::Result<(Option<Vec<u8>>, u64)> {
    // An incomplete line, the last line, and the newline before it.
    let reach = u64::try_from(2 * MAX_LINE_BYTES + 2).unwrap_or(u64::MAX);
    let from = end.saturating_sub(reach);
    let mut newlines = Newlines::before(file, end);
    let Some(last) = newlines.previous(from)? else {
        return Ok((None, end));
    };
    let begin = match newlines.previous(from)? {
        Some(before) => before + 1,
        None if from == 0 => 0,
        None => return Ok((None, last + 1)),
    };
    let length = usize::try_from(last - begin).unwrap_or(usize::MAX);
    if length > MAX_LINE_BYTES {
        return Ok((None, last + 1));
    }
    let mut line = vec![0; length];
    file.read_exact_at(&mut line, begin)?;
    Ok((Some(line), last + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn kinds(bytes: &[u8]) -> Vec<(LineKind, usize)> {
        let mut lines = Lines::new(bytes, 0);
        let mut line = Vec::new();
        let mut found = Vec::new();
        loop {
            let kind = lines.next(&mut line).unwrap();
            found.push((kind, line.len()));
            if kind == LineKind::Incomplete {
                return found;
            }
        }
    }

    #[test]
    fn a_line_of_the_maximum_length_is_read_and_a_longer_one_is_skipped() {
        use LineKind::{Complete, Incomplete, TooLong};
        assert_eq!(kinds(b""), [(Incomplete, 0)]);
        assert_eq!(
            kinds(b"a\n\nbc"),
            [(Complete, 1), (Complete, 0), (Incomplete, 2)]
        );
        let mut longest = vec![b'x'; MAX_LINE_BYTES];
        longest.extend_from_slice(b"\na\n");
        assert_eq!(
            kinds(&longest),
            [(Complete, MAX_LINE_BYTES), (Complete, 1), (Incomplete, 0)]
        );
        // One byte more, and several times as much: no part of it becomes a line.
        for longer in [MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES + 7] {
            let mut longer = vec![b'x'; longer];
            assert_eq!(kinds(&longer), [(Incomplete, 0)]);
            longer.extend_from_slice(b"\na\n");
            assert_eq!(
                kinds(&longer),
                [(TooLong, 0), (Complete, 1), (Incomplete, 0)]
            );
        }
    }

    #[test]
    fn an_incomplete_line_is_read_again_after_it_was_completed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut lines = Lines::at(File::open(&path).unwrap(), 0);
        let mut line = Vec::new();
        assert_eq!(lines.next_complete(&mut line).unwrap(), LineKind::Complete);
        for _ in 0..2 {
            assert_eq!(
                lines.next_complete(&mut line).unwrap(),
                LineKind::Incomplete
            );
            assert_eq!(lines.offset(), 4);
        }
        let mut more = File::options().append(true).open(&path).unwrap();
        more.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines.next_complete(&mut line).unwrap(), LineKind::Complete);
        assert_eq!(line, b"two");
        assert_eq!(lines.next_complete(&mut line).unwrap(), LineKind::Complete);
        assert_eq!(line, b"three");
        assert_eq!(lines.offset(), 14);
    }

    #[test]
    fn newlines_are_found_backwards_across_blocks() {
        let mut bytes = vec![b'x'; 3 * BLOCK_BYTES];
        let last_block = 3 * BLOCK_BYTES - LAST_BLOCK_BYTES;
        let offsets = [
            0,
            5,
            last_block - BLOCK_BYTES - 1,
            last_block - BLOCK_BYTES,
            last_block - 1,
            last_block,
            3 * BLOCK_BYTES - 1,
        ];
        for offset in offsets {
            bytes[offset] = b'\n';
        }
        let file = file(&bytes);
        let mut newlines = Newlines::before(&file, bytes.len() as u64);
        for offset in offsets.iter().rev() {
            assert_eq!(newlines.previous(0).unwrap(), Some(*offset as u64));
        }
        assert_eq!(newlines.previous(0).unwrap(), None);
        assert_eq!(Newlines::before(&file, 5).previous(1).unwrap(), None);
        assert_eq!(Newlines::before(&file, 5).previous(0).unwrap(), Some(0));
    }

    #[test]
    fn the_last_line_is_found_unless_it_is_too_long() {
        let last = |bytes: &[u8]| {
            let file = file(bytes);
            last_line(&file, bytes.len() as u64).unwrap()
        };
        assert_eq!(last(b""), (None, 0));
        assert_eq!(last(b"rest"), (None, 4));
        assert_eq!(last(b"a\n"), (Some(b"a".to_vec()), 2));
        assert_eq!(last(b"a\nbc\nrest"), (Some(b"bc".to_vec()), 5));
        let mut long = vec![b'x'; 2 * MAX_LINE_BYTES + 9];
        let end = long.len() as u64;
        assert_eq!(last(&long), (None, end));
        long.push(b'\n');
        assert_eq!(last(&long), (None, end + 1));
        long.extend_from_slice(b"a\n");
        assert_eq!(last(&long), (Some(b"a".to_vec()), end + 3));
    }
}
