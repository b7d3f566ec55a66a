//! Paths on the command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser as _};

/// A parser that refuses an empty path, and one that begins with a tilde that no shell has
/// expanded: it would name a file in the working directory. See [`check`].
pub fn parser() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| check(&path).map(|()| path))
}

/// Refuses a path that no shell has expanded, unless there is such a file.
///
/// # Errors
///
/// Returns the reason, in words that repeat nothing of the path.
pub fn check(path: &Path) -> Result<(), String> {
    let is_tilde = path
        .iter()
        .next()
        .and_then(OsStr::to_str)
        .is_some_and(|first| first.starts_with('~'));
    if is_tilde && path.symlink_metadata().is_err() {
        return Err(
            "only a shell expands a path that begins with ~, and it did not do so here (because \
             of quotes, or after a = or a comma); write the whole path, or use $HOME"
                .to_owned(),
        );
    }
    Ok(())
}
