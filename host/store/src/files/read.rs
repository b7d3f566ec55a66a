//! Reads files that only their owner can change.

use std::path::Path;

use super::path_check::{check_ancestors, check_link, check_private_metadata, failed};
use crate::input_file::InputFile;
use crate::keys::error::KeyError;
use crate::secret::Secret;

/// Reads a regular file that only the owner can use; `None` if it does not exist. A
/// dangling link is an error.
pub(crate) fn read_private(file: &Path, limit: usize) -> Result<Option<Secret>, KeyError> {
    let is_link = match file.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(file, error)),
        Ok(found) => found.is_symlink(),
    };
    if is_link {
        check_ancestors(file)?;
    }
    let mut opened = match InputFile::open_regular(file).map_err(std::io::Error::from) {
        Ok(opened) => opened,
        // It was renamed concurrently.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_link => return Ok(None),
        Err(error) => return Err(failed(file, error)),
    };
    // The metadata of the opened file, not of the file that has its name now.
    let metadata = opened.metadata().map_err(|error| failed(file, error))?;
    check_private_metadata(file, &metadata, "600")?;
    Secret::read(&mut opened, limit)
        .map_err(|error| failed(file, error))?
        .ok_or(KeyError::Malformed {
            file: file.to_owned(),
            expected: "a key file",
        })
        .map(Some)
}

/// Reads a regular file that others may read, but not write ([`check_link`]).
pub(crate) fn read_trusted(file: &Path, limit: usize) -> Result<Vec<u8>, KeyError> {
    check_link(file)?;
    InputFile::open_regular(file)
        .and_then(|opened| opened.read_to_limit(limit))
        .map_err(|error| failed(file, error))
}
