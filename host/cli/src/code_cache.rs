//! The cache of compiled components, so that building, testing, checking and installing a
//! component compiles it once.

use std::path::{Path, PathBuf};

use entail::policy::CodeCache;
use entail::store::{check_parent, check_private, private_directory};
use tempfile::TempDir;

use crate::error::CliError;
use crate::session::Session;
use crate::temporary;

/// A cache of compiled code. A cache in a temporary directory is removed with this value.
pub struct Cache {
    pub cache: CodeCache,
    _directory: Option<TempDir>,
}

/// Returns the cache of the home if there is one, so that a policy that is tried and then
/// activated is not compiled again. Without a home, the cache is in the user's cache
/// directory; if that is not safe, in a temporary directory.
///
/// # Errors
///
/// Fails if there is no safe directory.
pub fn code_cache(session: &Session) -> Result<Cache, CliError> {
    if let Ok(home) = session.home() {
        return Ok(Cache {
            cache: home.code_cache(),
            _directory: None,
        });
    }
    if let Some(directory) = user_directory() {
        return Ok(Cache {
            cache: cache_in(&directory),
            _directory: None,
        });
    }
    // Only its owner can enter it.
    let directory = temporary::directory()
        .map_err(|error| CliError::io("a directory for compiled code", &error))?;
    Ok(Cache {
        cache: cache_in(directory.path()),
        _directory: Some(directory),
    })
}

fn cache_in(directory: &Path) -> CodeCache {
    CodeCache::new(directory.join("code"), directory.join("code.key"))
}

/// `entail` in the user's cache directory, by the XDG Base Directory Specification; `None` if
/// other users could write code there.
fn user_directory() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    let directory = cache.join("entail");
    private_directory(&directory).ok()?;
    check_parent(&directory).ok()?;
    check_private(&directory).ok()?;
    Some(directory)
}
