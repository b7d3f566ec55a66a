//! Paths on the command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser as _};

/// Parses a path that is an argument. One that is empty, or begins with a tilde that no
/// shell has expanded, is refused, since it would name a file in the working directory;
/// see [`check`].
pub fn parser() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| check(&path).map(|()| path))
}

/// Refuses a path that no shell has expanded, unless there is such a file.
///
/// # Errors
///
/// Says why, in words that repeat nothing of the path.
pub fn check(path: &Path) -> Result<(), String> {
    let is_tilde = path
        .iter()
        .next()
        .and_then(OsStr::to_str)
        .is_some_and(|first| first.starts_with('~'));
    match is_tilde && path.symlink_metadata().is_err() {
        true => Err(
            "a path that begins with ~ is expanded by the shell only, which did not do it here \
             (as in quotes, or after a = or a comma); write the whole path, or $HOME in its place"
                .to_owned(),
        ),
        false => Ok(()),
    }
}
