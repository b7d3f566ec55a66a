//! Paths in messages.

use std::ffi::OsStr;
use std::path::Path;

use entail::quoted;

/// The longest extension of a file name. Keys contain points too, followed by more.
const MAX_EXTENSION_BYTES: usize = 8;

/// Returns a path for a message. Shortens what does not look like a path: it may be a key
/// that was pasted instead of one.
pub fn display_path(path: &Path) -> String {
    let text = path.display().to_string();
    let has_directory = path
        .parent()
        .is_some_and(|directory| directory != Path::new("") && directory.is_dir());
    let extension = path.extension().map_or(0, OsStr::len);
    let looks_like_a_path = has_directory || (1..=MAX_EXTENSION_BYTES).contains(&extension);
    if looks_like_a_path {
        text
    } else {
        quoted(&text)
    }
}
