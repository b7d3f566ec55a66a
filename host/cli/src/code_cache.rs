//! Where the compiled code of components that are tried is kept, so that building, testing,
//! checking and installing one compiles it once.

use std::path::{Path, PathBuf};

use entail::policy::CodeCache;
use entail::store::{check_parent, check_private, private_directory};
use tempfile::TempDir;

use crate::failure::Failure;
use crate::session::Session;
use crate::temporary;

/// A cache of compiled code; one in a temporary directory goes with it.
pub struct Cache {
    pub cache: CodeCache,
    _directory: Option<TempDir>,
}

/// The cache of the home if there is one, so that a policy that is tried and then put in
/// service is not compiled again. Without a home, one in the user's cache directory; where
/// that is not safe, one that goes when the program ends.
///
/// # Errors
///
/// When there is no place for code at all.
pub fn code_cache(session: &Session) -> Result<Cache, Failure> {
    if let Ok(home) = session.home() {
        return Ok(Cache {
            cache: home.code_cache(),
            _directory: None,
        });
    }
    if let Some(folder) = user_folder() {
        return Ok(Cache {
            cache: cache_in(&folder),
            _directory: None,
        });
    }
    // Only its owner may enter it.
    let directory = temporary::directory()
        .map_err(|error| Failure::io("a directory for compiled code", &error))?;
    Ok(Cache {
        cache: cache_in(directory.path()),
        _directory: Some(directory),
    })
}

fn cache_in(folder: &Path) -> CodeCache {
    CodeCache::new(folder.join("code"), folder.join("code.key"))
}

/// `entail` in the user's cache directory, as the XDG Base Directory Specification has it;
/// `None` if others could put code there.
fn user_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    let folder = cache.join("entail");
    private_directory(&folder).ok()?;
    check_parent(&folder).ok()?;
    check_private(&folder).ok()?;
    Some(folder)
}
