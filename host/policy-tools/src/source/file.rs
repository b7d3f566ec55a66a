//! Reads files within limits.

use std::path::{Path, PathBuf};

use entail::policy::Limits;
use entail::store::{InputError, InputFile};
use entail_text::strict;
use serde::de::DeserializeOwned;

use super::error::SourceError;
use super::limits::MAX_ENTRIES;
use crate::display::display_path;

/// The longest file of limits, settings, index, manifest or configuration: they are lists
/// of a few names and numbers.
pub(super) const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The most values in a file of settings, limits or a layout. Small ones take up hundreds
/// of times their text; as many take up some ten megabytes.
const MAX_VALUES: usize = 10_000;

/// Returns the most bytes that any policy may have, with limits that its author sets.
pub fn component_limit() -> usize {
    Limits::CEILING.component_bytes
}

/// Returns the entries of a directory whose names have an extension, sorted.
///
/// # Errors
///
/// [`SourceError::Unreadable`], [`SourceError::TooManyEntries`].
pub fn files_with_extension(
    directory: &Path,
    extension: &str,
) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error| SourceError::Unreadable {
        name: directory.display().to_string(),
        error,
    };
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).map_err(unreadable)?;
    for (count, entry) in entries.enumerate() {
        if count == MAX_ENTRIES {
            let directory = directory.display().to_string();
            return Err(SourceError::TooManyEntries(directory));
        }
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file that the caller named, which may be a pipe.
pub(super) fn read_named(file: &Path, limit: usize) -> Result<Vec<u8>, SourceError> {
    read_opened(file, InputFile::open_given(file), limit)
}

/// Reads a file that was found in a directory, which must be a regular one.
pub(crate) fn read_found(file: &Path, limit: usize) -> Result<Vec<u8>, SourceError> {
    read_opened(file, InputFile::open_regular(file), limit)
}

pub(super) fn read_opened(
    file: &Path,
    opened: Result<InputFile, InputError>,
    limit: usize,
) -> Result<Vec<u8>, SourceError> {
    let name = || display_path(file);
    opened
        .and_then(|opened| opened.read_to_limit(limit))
        .map_err(|error| match error {
            InputError::TooLarge { limit } => SourceError::TooLarge {
                name: name(),
                limit,
            },
            InputError::NotRegular { .. } | InputError::NotReadable { .. } => {
                SourceError::NotAFile {
                    name: name(),
                    error,
                }
            }
            error => SourceError::Unreadable {
                name: name(),
                error: error.into(),
            },
        })
}

/// Reads a document that was found in a directory.
pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, SourceError> {
    parse(&display_path(file), &read_found(file, MAX_DOCUMENT_BYTES)?)
}

pub(super) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SourceError> {
    strict::from_slice_within(bytes, MAX_VALUES).map_err(|error| SourceError::Malformed {
        name: name.to_owned(),
        error,
    })
}
