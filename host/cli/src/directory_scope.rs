//! The scope of a directory, which commands use if no scope is given.
//!
//! A file [`FILE_NAME`] (`scope = "acme/evals"`) sets it for its directory and those
//! below, and is meant to be committed. The variable [`VARIABLE`] takes precedence.
//!
//! # Security
//!
//! The scope decides which credentials a command gets, and a file may come with another
//! person's repository. So a file is used only after it was allowed, by its path and content:
//! after a move or a change it has to be allowed again. The records of allowed files are in
//! the home, which is private. The content is read once, so the parsed text is the compared
//! text.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use entail::ScopePath;
use entail::store::{Digest, InputFile, private_directory};
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::session::Session;

/// The file that sets the scope of a directory.
pub const FILE_NAME: &str = ".entail.toml";

/// The variable that sets the scope.
pub const VARIABLE: &str = "ENTAIL_SCOPE";

/// The maximum length of the file: a path of eight segments, and comments.
const MAX_FILE_BYTES: usize = 4096;

/// The directory of the home with one record for each allowed file.
const ALLOWED_DIRECTORY: &str = "allowed-scopes";

/// Returns the scope that the variable sets, else the nearest file; `None` if neither sets
/// one.
///
/// # Errors
///
/// Fails if the variable or the file is not valid, or the file was not allowed.
pub fn in_effect(session: &Session) -> Result<Option<ScopePath>, CliError> {
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
pub fn from_variable() -> Result<Option<ScopePath>, CliError> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let scope = text
        .to_str()
        .ok_or_else(|| CliError::invalid(format!("{VARIABLE} is not UTF-8 text")))?
        .parse()
        .map_err(|error| CliError::invalid(format!("{VARIABLE}: {error}")))?;
    Ok(Some(scope))
}

/// A file that sets the scope of a directory.
pub struct ScopeFile {
    /// The path; its directory is canonical.
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
    pub fn nearest() -> Result<Option<Self>, CliError> {
        Self::nearest_path()?.map(Self::read).transpose()
    }

    /// Finds the nearest file: in the working directory or above.
    ///
    /// # Errors
    ///
    /// Fails if a directory cannot be read.
    pub fn nearest_path() -> Result<Option<PathBuf>, CliError> {
        let directory = match std::env::current_dir().and_then(std::fs::canonicalize) {
            Ok(directory) => directory,
            // The directory was removed, so there is no file in it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::io("the working directory", &error)),
        };
        for directory in directory.ancestors() {
            let path = directory.join(FILE_NAME);
            match path.symlink_metadata() {
                Ok(_) => return Ok(Some(path)),
                // A directory that this user may not search sets no scope.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => return Err(CliError::io(path.display(), &error)),
            }
        }
        Ok(None)
    }

    /// Reads the file `path`, whose directory is canonical.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or is not valid.
    pub fn read(path: PathBuf) -> Result<Self, CliError> {
        let bytes = InputFile::open_regular(&path)
            .and_then(|file| file.read_to_limit(MAX_FILE_BYTES))
            .map_err(|error| CliError::invalid(format!("{}: {error}", path.display())))?;
        let invalid = |problem: String| {
            CliError::invalid(format!("{}: {problem}", path.display())).with_remedies(vec![
                "write it again, in its directory: entail use SCOPE".to_owned(),
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

    /// Writes the file of `directory`, which is canonical. Replaces an existing file.
    ///
    /// # Errors
    ///
    /// Fails if the name is taken by something else, or the file cannot be written.
    pub fn write(directory: &Path, scope: &ScopePath) -> Result<Self, CliError> {
        let path = directory.join(FILE_NAME);
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(CliError::invalid(format!(
                    "{} is not a regular file, so it is not replaced",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::io(path.display(), &error)),
        }
        let content = Content {
            scope: scope.clone(),
        };
        // A path needs no escapes.
        let text = format!(
            "# The scope of this directory: see `entail help use`.\nscope = \"{}\"\n",
            content.scope
        );
        let failed = |error: &std::io::Error| CliError::io(path.display(), error);
        write_whole(directory, &path, text.as_bytes(), SHARED_MODE)
            .map_err(|error| failed(&error))?;
        Self::read(path)
    }

    /// The error of a file that is not allowed.
    fn not_allowed(&self) -> CliError {
        CliError::invalid(format!(
            "{} sets the scope {}, and is not allowed yet, or was changed since it was allowed",
            self.path.display(),
            self.scope
        ))
        .with_remedies(vec![
            "if you trust it: entail use --allow".to_owned(),
            "otherwise give a scope, or set ENTAIL_SCOPE".to_owned(),
        ])
    }
}

/// The allowed files, each with its content.
pub struct AllowedFiles {
    directory: PathBuf,
}

/// The record of an allowed file. The name of the record is the digest of the file's path.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// The path, for a person who reads the record.
    file: String,
    content: Digest,
}

impl AllowedFiles {
    /// The records of the home.
    ///
    /// # Errors
    ///
    /// Fails if there is no home, or other users can access it.
    pub fn of(session: &Session) -> Result<Self, CliError> {
        Ok(AllowedFiles {
            directory: session.home()?.directory().join(ALLOWED_DIRECTORY),
        })
    }

    /// Whether the file is allowed with this content. A record that cannot be read allows
    /// nothing.
    pub fn contains(&self, file: &ScopeFile) -> bool {
        InputFile::open_regular_no_link(&self.record(&file.path))
            .and_then(|record| record.read_to_limit(MAX_RECORD_BYTES))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Allowed>(&bytes).ok())
            .is_some_and(|allowed| allowed.content == file.content)
    }

    /// Allows the file with this content, instead of an earlier content.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be written.
    pub fn allow(&self, file: &ScopeFile) -> Result<(), CliError> {
        let failed = |error: &std::io::Error| CliError::io(self.directory.display(), error);
        private_directory(&self.directory).map_err(|error| failed(&error))?;
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

    /// Stops allowing the file. Returns whether it was allowed, with any content.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be removed.
    pub fn revoke(&self, path: &Path) -> Result<bool, CliError> {
        match std::fs::remove_file(self.record(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(CliError::io(self.directory.display(), &error)),
        }
    }

    fn record(&self, path: &Path) -> PathBuf {
        let name = Digest::of(path.as_os_str().as_bytes());
        self.directory.join(name.to_string())
    }
}

/// The maximum length of a record: a path of 4,096 bytes, each escaped with six in JSON.
const MAX_RECORD_BYTES: usize = 32 * 1024;

/// The mode of a record, for its owner only.
const PRIVATE_MODE: u32 = 0o600;

/// The mode of a file of a repository, before the caller's mask.
const SHARED_MODE: u32 = 0o666;

/// Writes a file atomically: a reader sees the old content, or all of `bytes`.
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
        crate::hardening::with_callers_settings(create)
    }?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
