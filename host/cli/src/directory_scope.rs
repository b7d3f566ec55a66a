//! The scope of a directory: what commands use when no scope is given.
//!
//! A file [`FILE_NAME`] (`scope = "acme/evals"`) sets it for its directory and those
//! below, and is meant to be committed. The variable [`VARIABLE`] takes precedence.
//!
//! # Security
//!
//! Which scope is asked decides which credentials a command gets, and a file may come with
//! somebody else's repository. So a file counts only once it was allowed by its path and
//! content: one that is moved or changed has to be allowed again. What is allowed is kept
//! in the home, which is private. The content is read once; what is parsed is what was
//! compared.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use entail::ScopePath;
use entail::store::{Digest, InputFile, private_folder};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::session::Session;

/// The file that sets the scope of a directory.
pub const FILE_NAME: &str = ".entail.toml";

/// The variable that sets the scope.
pub const VARIABLE: &str = "ENTAIL_SCOPE";

/// A path of eight segments, and room for comments.
const MAX_FILE_BYTES: usize = 4096;

/// The directory of the home with one file for each path that was allowed.
const ALLOWED_DIRECTORY: &str = "allowed-scopes";

/// Returns the scope of the variable, else the one of the nearest file; `None` if there is
/// neither.
///
/// # Errors
///
/// Fails if the variable or the file is not valid, or the file was not allowed.
pub fn in_effect(session: &Session) -> Result<Option<ScopePath>, Failure> {
    if let Some(scope) = from_variable()? {
        return Ok(Some(scope));
    }
    let Some(file) = ScopeFile::nearest()? else {
        return Ok(None);
    };
    if !AllowedFiles::of(session)?.contains(&file) {
        return Err(file.not_allowed());
    }
    Ok(Some(file.scope))
}

/// Returns the scope of [`VARIABLE`]; `None` if it is unset or empty.
///
/// # Errors
///
/// Fails if it is not the path of a scope.
pub fn from_variable() -> Result<Option<ScopePath>, Failure> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let scope = text
        .to_str()
        .ok_or_else(|| Failure::invalid(format!("{VARIABLE} is not UTF-8 text")))?
        .parse()
        .map_err(|error| Failure::invalid(format!("{VARIABLE}: {error}")))?;
    Ok(Some(scope))
}

/// A file that sets the scope of a directory.
pub struct ScopeFile {
    /// Absolute and canonical, but for the file's own name.
    pub path: PathBuf,
    pub scope: ScopePath,
    content: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    scope: ScopePath,
}

impl ScopeFile {
    /// Reads the nearest file.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or is not valid.
    pub fn nearest() -> Result<Option<Self>, Failure> {
        Self::nearest_path()?.map(Self::read).transpose()
    }

    /// Finds the nearest file: in the working directory or above.
    ///
    /// # Errors
    ///
    /// Fails if the system does not say what is there.
    pub fn nearest_path() -> Result<Option<PathBuf>, Failure> {
        let directory = match std::env::current_dir().and_then(std::fs::canonicalize) {
            Ok(directory) => directory,
            // It was removed; then there is no file in it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io("the working directory", &error)),
        };
        for directory in directory.ancestors() {
            let path = directory.join(FILE_NAME);
            match path.symlink_metadata() {
                Ok(_) => return Ok(Some(path)),
                // Not searchable: what is in there is not for this user.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => return Err(Failure::io(path.display(), &error)),
            }
        }
        Ok(None)
    }

    /// Reads the file `path`, whose directory is canonical.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or is not valid.
    pub fn read(path: PathBuf) -> Result<Self, Failure> {
        let bytes = InputFile::open_regular(&path)
            .and_then(|file| file.read_to_limit(MAX_FILE_BYTES))
            .map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
        let invalid = |problem: String| {
            Failure::invalid(format!("{}: {problem}", path.display())).with_remedies(vec![
                "write it again, in the directory that it is for: entail use SCOPE".to_owned(),
            ])
        };
        let text =
            std::str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8 text".to_owned()))?;
        let Content { scope } =
            toml::from_str(text).map_err(|error| invalid(error.message().to_owned()))?;
        Ok(ScopeFile {
            content: Digest::of(&bytes),
            path,
            scope,
        })
    }

    /// Writes the file of `directory`, which is canonical, in place of the one that is
    /// there.
    ///
    /// # Errors
    ///
    /// Fails if something else is there by that name, or it cannot be written.
    pub fn write(directory: &Path, scope: &ScopePath) -> Result<Self, Failure> {
        let path = directory.join(FILE_NAME);
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(Failure::invalid(format!(
                    "{} is not a regular file, so it is not replaced",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(path.display(), &error)),
        }
        let content = Content {
            scope: scope.clone(),
        };
        // The form of a path needs no escapes.
        let text = format!(
            "# The scope of this directory: see `entail help use`.\nscope = \"{}\"\n",
            content.scope
        );
        let failed = |error: &std::io::Error| Failure::io(path.display(), error);
        write_whole(directory, &path, text.as_bytes(), SHARED_MODE)
            .map_err(|error| failed(&error))?;
        Self::read(path)
    }

    /// The error of a file that was not allowed.
    fn not_allowed(&self) -> Failure {
        Failure::invalid(format!(
            "{} sets the scope {}, and is not allowed yet, or was changed since",
            self.path.display(),
            self.scope
        ))
        .with_remedies(vec![
            "if you trust it: entail use --allow".to_owned(),
            "else give a scope, or set ENTAIL_SCOPE".to_owned(),
        ])
    }
}

/// The files that were allowed, each with its content.
pub struct AllowedFiles {
    directory: PathBuf,
}

/// What is kept of a file that was allowed. The name of the record is the digest of the
/// file's path.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// Where it is, for a person who looks.
    file: String,
    content: Digest,
}

impl AllowedFiles {
    /// Those of the home.
    ///
    /// # Errors
    ///
    /// Fails if there is no home, or others can use it.
    pub fn of(session: &Session) -> Result<Self, Failure> {
        Ok(AllowedFiles {
            directory: session.home()?.directory().join(ALLOWED_DIRECTORY),
        })
    }

    /// Whether the file was allowed with this content. A record that cannot be read allows
    /// nothing.
    pub fn contains(&self, file: &ScopeFile) -> bool {
        InputFile::open_regular_no_link(&self.record(&file.path))
            .and_then(|record| record.read_to_limit(MAX_RECORD_BYTES))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Allowed>(&bytes).ok())
            .is_some_and(|allowed| allowed.content == file.content)
    }

    /// Allows the file with this content, and no other content of it.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be written.
    pub fn allow(&self, file: &ScopeFile) -> Result<(), Failure> {
        let failed = |error: &std::io::Error| Failure::io(self.directory.display(), error);
        private_folder(&self.directory).map_err(|error| failed(&error))?;
        let record = serde_json::to_vec(&Allowed {
            file: file.path.display().to_string(),
            content: file.content,
        })
        .map_err(|error| failed(&error.into()))?;
        write_whole(
            &self.directory,
            &self.record(&file.path),
            &record,
            PRIVATE_MODE,
        )
        .map_err(|error| failed(&error))
    }

    /// Allows the file no more; returns whether it was allowed, with whatever content.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be removed.
    pub fn revoke(&self, path: &Path) -> Result<bool, Failure> {
        match std::fs::remove_file(self.record(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::io(self.directory.display(), &error)),
        }
    }

    fn record(&self, path: &Path) -> PathBuf {
        let name = Digest::of(path.as_os_str().as_bytes());
        self.directory.join(name.to_string())
    }
}

/// A path of 4,096 bytes, each of which JSON may escape with six.
const MAX_RECORD_BYTES: usize = 32 * 1024;

/// For the owner alone.
const PRIVATE_MODE: u32 = 0o600;

/// As any file of a repository, less the caller's mask.
const SHARED_MODE: u32 = 0o666;

/// Writes a file as a whole: whoever reads it sees what was there before, or all of
/// `bytes`.
fn write_whole(directory: &Path, path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    let create = || {
        tempfile::Builder::new()
            .prefix(".entail-")
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempfile_in(directory)
    };
    let mut file = if mode == PRIVATE_MODE {
        create()
    } else {
        crate::hardening::as_the_caller_had_it(create)
    }?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
