//! Temporary directories.
//!
//! # Security
//!
//! Code is compiled into such a directory and run from there, so no other user may be able to
//! replace it: it is not created below a directory that other users can redirect.

use std::path::{Path, PathBuf};

use entail::store::check_parent;
use tempfile::TempDir;

/// The place for temporary files if `TMPDIR` names no safe place.
const DEFAULT: &str = "/tmp";

/// The places for temporary files, the user's choice first.
pub fn places() -> Vec<PathBuf> {
    let chosen = std::env::temp_dir();
    if chosen == Path::new(DEFAULT) {
        vec![chosen]
    } else {
        vec![chosen, PathBuf::from(DEFAULT)]
    }
}

/// Creates a directory that only the owner can enter, in the first of [`places`] that is
/// safe. It is removed when it is dropped.
///
/// # Errors
///
/// Fails if none of them is safe, or the directory cannot be created.
pub fn directory() -> std::io::Result<TempDir> {
    let mut skipped = Vec::new();
    for place in places() {
        match check_parent(&place) {
            // Its mode is 0700.
            Ok(()) => return tempfile::tempdir_in(&place),
            Err(error) => skipped.push(error.to_string()),
        }
    }
    Err(std::io::Error::other(format!(
        "there is no safe place for temporary files ({}); set TMPDIR to a private directory (mode 0700)",
        skipped.join("; ")
    )))
}
