//! The lines of a file, one at a time.
//!
//! # Security
//!
//! Whatever a file holds, no more of it is in memory than [`MAX_LINE_BYTES`] and a
//! buffer: a line that is longer is skipped whole, at the speed of reading it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// The longest line that is a record. The facts of a chain of full scopes fit; a record
/// that would be longer is not written.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Bytes read at a time: some hundred records.
const BUFFER_BYTES: usize = 128 * 1024;

/// Bytes looked at backwards at a time; the system reads ahead only forwards, so these are
/// many.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A line, without its newline.
    Whole,
    /// A line that is longer than any of ours, and was skipped.
    TooLong,
    /// What comes after the last newline; nothing if the file ends with one. More may
    /// be written to it.
    Rest,
}

/// Reads a file line by line. After [`LineKind::Rest`] it goes on with what was written
/// meanwhile.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    /// Where the next line begins.
    offset: u64,
    /// What has been read of a line that is too long.
    skipped: u64,
}

impl Lines<File> {
    /// Begins at `offset`.
    pub(crate) fn at(mut file: File, offset: u64) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Lines::new(file, offset))
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        self.reader.get_ref()
    }

    /// The next line, as [`Lines::next`] reads it; what is not whole will be read again.
    pub(crate) fn next_whole(&mut self, line: &mut Vec<u8>) -> std::io::Result<LineKind> {
        let kind = self.next(line)?;
        if kind == LineKind::Rest && !line.is_empty() {
            self.reader.seek(SeekFrom::Start(self.offset))?;
        }
        Ok(kind)
    }
}

impl<R: Read> Lines<R> {
    /// Reads on; the first byte is at `offset`.
    pub(crate) fn new(reader: R, offset: u64) -> Self {
        Lines {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            offset,
            skipped: 0,
        }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a line that is too long has been read in part.
    pub(crate) fn is_within_a_long_line(&self) -> bool {
        self.skipped > 0
    }

    /// Reads the next line into `line`, which is empty if it is too long.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<LineKind> {
        loop {
            line.clear();
            // With its newline.
            let limit = u64::try_from(MAX_LINE_BYTES + 1).unwrap_or(u64::MAX);
            let mut limited = self.reader.by_ref().take(limit);
            let read = limited.read_until(b'\n', line)?;
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            let ends = line.pop_if(|byte| *byte == b'\n').is_some();
            let is_long = self.skipped > 0;
            match ends {
                true => {
                    self.offset += self.skipped + read;
                    self.skipped = 0;
                    if is_long {
                        line.clear();
                        return Ok(LineKind::TooLong);
                    }
                    return Ok(LineKind::Whole);
                }
                false if read == limit || is_long => {
                    self.skipped += read;
                    if read < limit {
                        line.clear();
                        return Ok(LineKind::Rest);
                    }
                }
                false => return Ok(LineKind::Rest),
            }
        }
    }
}

/// Reads a part of a file without moving where others read or write it.
pub(crate) struct Part<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl<'a> Part<'a> {
    pub(crate) fn new(file: &'a File, offset: u64, end: u64) -> Self {
        Part { file, offset, end }
    }
}

impl Read for Part<'_> {
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

/// The newlines of a file, from its end to its beginning.
pub(crate) struct Newlines<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// Where the block begins.
    start: u64,
}

impl<'a> Newlines<'a> {
    /// Those before `end`.
    pub(crate) fn before(file: &'a File, end: u64) -> Self {
        Newlines {
            file,
            block: Vec::new(),
            start: end,
        }
    }

    /// Where the last newline is of those that are left, if it is at or after `from`.
    pub(crate) fn previous(&mut self, from: u64) -> std::io::Result<Option<u64>> {
        loop {
            if let Some(found) = memchr::memrchr(b'\n', &self.block) {
                self.block.truncate(found);
                let place = self.start + u64::try_from(found).unwrap_or(0);
                return Ok((place >= from).then_some(place));
            }
            if self.start <= from {
                return Ok(None);
            }
            let size = self.start.min(BLOCK_BYTES as u64);
            let start = self.start - size;
            self.block.resize(usize::try_from(size).unwrap_or(0), 0);
            self.file.read_exact_at(&mut self.block, start)?;
            self.start = start;
        }
    }
}

/// The last whole line before `end`, and where what comes after it begins; `None` for
/// the line if there is none, or it is longer than any of ours.
pub(crate) fn last_line(file: &File, end: u64) -> std::io::Result<(Option<Vec<u8>>, u64)> {
    // What comes after the last newline, the last line, and the newline before.
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
            if kind == LineKind::Rest {
                return found;
            }
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_a_longer_one_is_skipped_whole() {
        use LineKind::{Rest, TooLong, Whole};
        assert_eq!(kinds(b""), [(Rest, 0)]);
        assert_eq!(kinds(b"a\n\nbc"), [(Whole, 1), (Whole, 0), (Rest, 2)]);
        let mut longest = vec![b'x'; MAX_LINE_BYTES];
        longest.extend_from_slice(b"\na\n");
        assert_eq!(
            kinds(&longest),
            [(Whole, MAX_LINE_BYTES), (Whole, 1), (Rest, 0)]
        );
        // One byte more, and several times as much: none of it is taken for a line.
        for longer in [MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES + 7] {
            let mut longer = vec![b'x'; longer];
            assert_eq!(kinds(&longer), [(Rest, 0)]);
            longer.extend_from_slice(b"\na\n");
            assert_eq!(kinds(&longer), [(TooLong, 0), (Whole, 1), (Rest, 0)]);
        }
    }

    #[test]
    fn what_was_not_finished_is_read_again_once_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut lines = Lines::at(File::open(&path).unwrap(), 0).unwrap();
        let mut line = Vec::new();
        assert_eq!(lines.next_whole(&mut line).unwrap(), LineKind::Whole);
        for _ in 0..2 {
            assert_eq!(lines.next_whole(&mut line).unwrap(), LineKind::Rest);
            assert_eq!(lines.offset(), 4);
        }
        let mut more = File::options().append(true).open(&path).unwrap();
        more.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines.next_whole(&mut line).unwrap(), LineKind::Whole);
        assert_eq!(line, b"two");
        assert_eq!(lines.next_whole(&mut line).unwrap(), LineKind::Whole);
        assert_eq!(line, b"three");
        assert_eq!(lines.offset(), 14);
    }

    #[test]
    fn newlines_are_found_backwards_across_blocks() {
        let mut bytes = vec![b'x'; 3 * BLOCK_BYTES];
        let places = [0, 5, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES - 1];
        for place in places {
            bytes[place] = b'\n';
        }
        let file = file(&bytes);
        let mut newlines = Newlines::before(&file, bytes.len() as u64);
        for place in places.iter().rev() {
            assert_eq!(newlines.previous(0).unwrap(), Some(*place as u64));
        }
        assert_eq!(newlines.previous(0).unwrap(), None);
        assert_eq!(Newlines::before(&file, 5).previous(1).unwrap(), None);
        assert_eq!(Newlines::before(&file, 5).previous(0).unwrap(), Some(0));
    }

    #[test]
    fn the_last_line_is_found_and_one_that_is_too_long_is_none() {
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
