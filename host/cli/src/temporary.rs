//! Directories for what is needed for a while.
//!
//! # Security
//!
//! Code is compiled into such a directory and run from there, so nobody else may put
//! another in its place: one in a directory that others can lead elsewhere is not made.

use std::path::{Path, PathBuf};

use entail::store::check_parent;
use tempfile::TempDir;

/// Where temporary files are when `TMPDIR` names no safe place.
const USUAL: &str = "/tmp";

/// The directories for temporary files, the one of the user's choice first.
pub fn places() -> Vec<PathBuf> {
    let chosen = std::env::temp_dir();
    match chosen == Path::new(USUAL) {
        true => vec![chosen],
        false => vec![chosen, PathBuf::from(USUAL)],
    }
}

/// Makes a directory that only the owner can enter, in the first of [`places`] that is
/// safe. It goes when it is dropped.
///
/// # Errors
///
/// When none of them is, or the system does not let it be made.
pub fn directory() -> std::io::Result<TempDir> {
    let mut passed_over = Vec::new();
    for place in places() {
        match check_parent(&place) {
            // Its mode is 0700.
            Ok(()) => return tempfile::tempdir_in(&place),
            Err(error) => passed_over.push(error.to_string()),
        }
    }
    Err(std::io::Error::other(format!(
        "there is no safe place for temporary files ({}); set TMPDIR to a directory of your own with mode 0700",
        passed_over.join("; ")
    )))
}
