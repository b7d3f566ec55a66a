//! The type that holds secret bytes.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::input_file::InputFile;
use crate::locked::Locked;

/// Secret bytes in memory that is locked, excluded from core dumps, and overwritten when
/// the last clone is dropped. Clones share the memory.
///
/// The type does not implement `Debug`, `Display` or `Serialize`, so the bytes cannot end
/// up in a log or an error by accident.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // on purpose
pub struct Secret {
    memory: Arc<Locked>,
    range: Range<usize>,
}

impl Secret {
    /// Allocates `length` bytes and lets `fill` write them. `fill` returns how many of them are
    /// part of the secret.
    ///
    /// # Errors
    ///
    /// The error of `fill`, or if no memory can be allocated.
    pub(crate) fn filled(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<Self> {
        let mut memory = Locked::new(length)?;
        let filled = fill(memory.as_mut_slice())?.min(length);
        Ok(Secret {
            memory: Arc::new(memory),
            range: 0..filled,
        })
    }

    /// Copies `bytes`. The caller remains responsible for the original.
    ///
    /// # Panics
    ///
    /// If no memory can be allocated.
    pub fn new(bytes: &[u8]) -> Self {
        Self::joined(&[bytes])
    }

    /// Concatenates several parts without further copies.
    ///
    /// # Panics
    ///
    /// As [`Secret::new`].
    pub fn joined(parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum();
        let joined = Self::filled(length, |memory| {
            let mut rest = memory;
            for part in parts {
                let (place, after) = rest
                    .split_at_mut_checked(part.len())
                    .ok_or(std::io::ErrorKind::InvalidInput)?;
                place.copy_from_slice(part);
                rest = after;
            }
            Ok(length)
        });
        match joined {
            Ok(secret) => secret,
            Err(_) => std::alloc::handle_alloc_error(std::alloc::Layout::new::<u8>()),
        }
    }

    /// A part of the secret, in the same memory; `None` if it is out of range.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        self.expose().get(range.clone())?;
        let start = self.range.start;
        Some(Secret {
            memory: Arc::clone(&self.memory),
            range: start + range.start..start + range.end,
        })
    }

    /// Returns the bytes. The caller is responsible for where they go.
    pub fn expose(&self) -> &[u8] {
        self.memory
            .as_slice()
            .get(self.range.clone())
            .unwrap_or_default()
    }

    /// Returns the bytes as text, if they are UTF-8. The caller is responsible for where it
    /// goes.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the secret is empty.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Reads all of `source` into a secret of at most `limit` bytes, leaving no copy in a
    /// reallocated buffer. `None` if there are more bytes.
    ///
    /// # Errors
    ///
    /// If `source` cannot be read.
    pub fn read(source: &mut dyn std::io::Read, limit: usize) -> std::io::Result<Option<Self>> {
        let secret = Self::filled(limit + 1, |memory| read_all(source, memory))?;
        Ok((secret.len() <= limit).then_some(secret))
    }

    /// Reads a file of at most `limit` bytes that a user named, which may be a pipe
    /// ([`InputFile::open_given`]). `None` if there are more bytes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or not in time.
    pub fn read_file(file: &Path, limit: usize) -> std::io::Result<Option<Self>> {
        Self::read(&mut InputFile::open_given(file)?, limit)
    }

    /// Reads a regular file of at most `limit` bytes ([`InputFile::open_regular`]). `None` if
    /// there are more bytes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not a regular file.
    pub fn read_regular_file(file: &Path, limit: usize) -> std::io::Result<Option<Self>> {
        Self::read(&mut InputFile::open_regular(file)?, limit)
    }
}

/// Reads until the end or until `memory` is full. Returns the number of bytes.
pub(crate) fn read_all(
    source: &mut dyn std::io::Read,
    memory: &mut [u8],
) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = memory.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text.as_bytes())
    }
}

/// Overwrites the original text.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::from(zeroize::Zeroizing::new(text).as_str())
    }
}
