//! Where a component comes from: a file, the folder of a policy that was built, or
//! an OCI image layout, which is how registries hand components on.
//!
//! # Security
//!
//! No more is read of a file than its limit allows, whatever its metadata says. What is
//! found in a directory must be a regular file, or a link to one; a file that was named
//! may also be a pipe, which is waited for only so long ([`InputFile`]). Of a directory,
//! no more than [`MAX_ENTRIES`] entries are looked at, and none of those below.

mod oci_layout;

use std::path::{Path, PathBuf};

use clap::Args;
use entail::policy::{Engine, Limits, PolicyDigest};
use entail::store::{InputError, InputFile};
use entail_text::strict;
use serde::de::DeserializeOwned;

use self::oci_layout::{LAYOUT_VERSION, Wanted, read_layout};
use crate::build_record::{self, Built, Stale};
use crate::failure::{Failure, shown};

/// The file in the folder of a policy that says what the policy needs.
const LIMITS_FILE: &str = "limits.json";

/// The longest file of limits, index, manifest or configuration: they are lists of
/// a few names and numbers.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The most values in a file of settings, limits or a layout. Small ones take up hundreds
/// of times their text; as many take up some ten megabytes.
const MAX_VALUES: usize = 10_000;

/// The most entries of a directory that are looked at: no directory of a policy or of
/// vectors has as many, and a listing takes memory for each.
const MAX_ENTRIES: usize = 10_000;

/// A component as it was found.
#[derive(Debug)]
pub struct Component {
    /// What was found, unlooked at.
    pub bytes: Vec<u8>,
    /// What its author says that it needs.
    pub limits: Option<Limits>,
    /// Where it was found, to be shown.
    pub name: String,
    /// Whether it is of the sources beside it.
    pub built: Built,
}

/// A component on the command line.
#[derive(Args)]
pub struct SourceArgs {
    /// A component; the directory of a built policy; or an OCI image layout:
    /// DIR, DIR#TAG or DIR@sha256:…
    #[arg(value_name = "FILE|DIRECTORY", default_value = ".", value_parser = crate::paths::parser())]
    pub component: PathBuf,
    /// Its limits, as JSON [default: limits.json in the directory]
    #[arg(long, value_name = "FILE", value_parser = crate::paths::parser())]
    pub limits: Option<PathBuf>,
}

impl SourceArgs {
    /// Reads the component and its limits.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub fn read(&self) -> Result<Component, SourceError> {
        let mut component = read(&self.component)?;
        if let Some(file) = &self.limits {
            component.limits = Some(read_limits(file)?);
        }
        Ok(component)
    }
}

/// The same, perhaps over another one.
#[derive(Args)]
pub struct ComponentArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// The policy below, if it is a layer: a component as well, or the built-in one
    #[arg(long, value_name = "FILE|DIRECTORY|built-in", value_parser = crate::paths::parser())]
    pub over: Option<PathBuf>,
}

impl ComponentArgs {
    /// Reads the component and its limits, and composes it with the one below as `engine`
    /// does.
    ///
    /// # Errors
    ///
    /// What is wrong with which file; that the two do not go together.
    pub fn read(&self, engine: &Engine) -> Result<Component, Failure> {
        let mut component = self.source.read()?;
        let Some(over) = &self.over else {
            return Ok(component);
        };
        let below = match over.as_os_str() == entail::BUILT_IN {
            true => entail::DEFAULT_POLICY.to_vec(),
            false => read(over)?.bytes,
        };
        component.bytes = engine.compose(&component.bytes, &below).map_err(|error| {
            let message = format!("{} over {}: {error}", component.name, over.display());
            Failure::new(12, "policy-failed", message)
        })?;
        Ok(component)
    }
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file could not be read.
    #[error("{name}: {error}")]
    Unreadable {
        /// The file.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file is longer than it may be.
    #[error("{name} has more than {limit} bytes, and no more are read")]
    TooLarge {
        /// The file.
        name: String,
        /// How many it may have.
        limit: usize,
    },
    /// A pipe, a device, or a link where there should be a regular file.
    #[error("{name}: {error}")]
    NotAFile {
        /// The file.
        name: String,
        /// What it is.
        error: InputError,
    },
    /// A directory has more entries than are looked at.
    #[error("{0} has more than {MAX_ENTRIES} entries, and no more are looked at")]
    TooManyEntries(String),
    /// A folder without a component.
    #[error("{0} has no component: neither a file NAME.wasm nor an OCI image layout is in it")]
    NoComponent(String),
    /// A folder with several.
    #[error("{folder} has several components: {}", .names.join(", "))]
    SeveralComponents {
        /// The folder.
        folder: String,
        /// Their files.
        names: Vec<String>,
    },
    /// A tag or digest was named, but there is no layout.
    #[error("{0} is not an OCI image layout: it has no file oci-layout")]
    NotALayout(String),
    /// A document that is not what it should be.
    #[error("{name}: {error}")]
    Malformed {
        /// The file.
        name: String,
        /// What the parser said.
        error: serde_json::Error,
    },
    /// A layout of a later version.
    #[error("{name} is a layout of version {found}, and only {LAYOUT_VERSION} is known")]
    LayoutVersion {
        /// The file.
        name: String,
        /// Its version.
        found: String,
    },
    /// No manifest, or none that was asked for.
    #[error("{layout} has no {wanted}; it has {}", listed(.found))]
    NoManifest {
        /// The layout.
        layout: String,
        /// What was asked for.
        wanted: String,
        /// The manifests that it has.
        found: Vec<String>,
    },
    /// Several, of which one must be named.
    #[error("{layout} has several manifests: {}", listed(.found))]
    SeveralManifests {
        /// The layout.
        layout: String,
        /// Which.
        found: Vec<String>,
    },
    /// A digest that is none.
    #[error("{name}: {digest:?} is not a digest of the form sha256: and 64 hexadecimal digits")]
    Digest {
        /// Where it stands.
        name: String,
        /// What stands there.
        digest: String,
    },
    /// A component that is not of the sources beside it.
    #[error("{name} is not what its sources give: {stale}")]
    Stale {
        /// The component.
        name: String,
        /// The folder of its sources.
        folder: String,
        /// What differs.
        stale: Stale,
    },
    /// Something else than a component.
    #[error("{name}: the {part} has the type {found:?}, and a component's has {expected:?}")]
    MediaType {
        /// Where it stands.
        name: String,
        /// Of what.
        part: &'static str,
        /// The type it has.
        found: String,
        /// The type it should have.
        expected: &'static str,
    },
    /// Layers that are not one.
    #[error("{name}: there are {found} layers, and a component is one")]
    Layers {
        /// The manifest.
        name: String,
        /// How many.
        found: usize,
    },
    /// A blob of another size than is written of it.
    #[error("{name} has {found} bytes, but its descriptor says {expected}")]
    Size {
        /// The blob.
        name: String,
        /// What it has.
        found: u64,
        /// What it should have.
        expected: u64,
    },
    /// A blob that is not what it is called.
    #[error("{name} has been changed: it hashes to {found}")]
    Changed {
        /// The blob.
        name: String,
        /// Its real digest.
        found: PolicyDigest,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        let remedies = match error {
            SourceError::Unreadable { .. } => return Failure::new(1, "io", message),
            SourceError::NoComponent(folder) | SourceError::Stale { folder, .. } => {
                vec![format!("entail policy build {folder}")]
            }
            SourceError::SeveralComponents { folder, names } => names
                .first()
                .map(|name| {
                    format!(
                        "name one of them: {}",
                        Path::new(&folder).join(name).display()
                    )
                })
                .into_iter()
                .collect(),
            SourceError::NoManifest { layout, found, .. }
            | SourceError::SeveralManifests { layout, found } => found
                .first()
                .map(|manifest| format!("name one of them: {layout}{manifest}"))
                .into_iter()
                .collect(),
            SourceError::Size { .. } | SourceError::Changed { .. } => {
                vec!["fetch it again from where it came".to_owned()]
            }
            _ => Vec::new(),
        };
        Failure::invalid(message).with_remedies(remedies)
    }
}

/// Reads the component at `path`: a file; a folder that holds an OCI image layout
/// with one manifest, or with the one that `FOLDER#tag` or `FOLDER@sha256:…`
/// names; or a folder with one file `NAME.wasm` in it, and perhaps `limits.json`.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read(path: &Path) -> Result<Component, SourceError> {
    let (place, wanted) = chosen(path);
    if !place.is_dir() {
        let bytes = read_component(&place)?;
        return Ok(Component {
            built: is_built(&place, &bytes)?,
            bytes,
            limits: None,
            name: shown(&place),
        });
    }
    if place.join("oci-layout").exists() {
        return read_layout(&place, &wanted);
    }
    if wanted != Wanted::TheOnlyOne {
        return Err(SourceError::NotALayout(place.display().to_string()));
    }
    let file = only_component(&place)?;
    let bytes = read_found(&file, component_limit())?;
    Ok(Component {
        built: is_built(&file, &bytes)?,
        bytes,
        limits: limits_in(&place)?,
        name: shown(&file),
    })
}

fn is_built(file: &Path, bytes: &[u8]) -> Result<Built, SourceError> {
    build_record::check(file, bytes).map_err(|stale| SourceError::Stale {
        name: shown(file),
        folder: shown(file.parent().unwrap_or(file)),
        stale,
    })
}

/// Reads what the folder of a policy says that the policy needs, if it says anything.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn limits_in(folder: &Path) -> Result<Option<Limits>, SourceError> {
    let file = folder.join(LIMITS_FILE);
    // A link that leads to nothing is no missing file.
    match file.symlink_metadata() {
        Ok(_) => read_json(&file).map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads a file of limits: a JSON object with a number for each limit that is not
/// to be the usual one.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_limits(file: &Path) -> Result<Limits, SourceError> {
    parse(&shown(file), &read_given(file, MAX_DOCUMENT_BYTES)?)
}

/// Reads a file of settings: a JSON object.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_settings(
    file: &Path,
) -> Result<serde_json::Map<String, serde_json::Value>, SourceError> {
    parse(&shown(file), &read_given(file, MAX_DOCUMENT_BYTES)?)
}

/// Reads the file of a component, or of a module, that was named.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_component(file: &Path) -> Result<Vec<u8>, SourceError> {
    read_given(file, component_limit())
}

/// The most bytes that any policy may have, with limits of its own.
pub fn component_limit() -> usize {
    Limits::CEILING.component_bytes
}

/// A path, and what of it names a manifest. A path that is there is a path.
fn chosen(path: &Path) -> (PathBuf, Wanted) {
    let whole = || (path.to_owned(), Wanted::TheOnlyOne);
    let Some(text) = path.to_str().filter(|_| !path.exists()) else {
        return whole();
    };
    if let Some((place, digest)) = text.rsplit_once("@sha256:") {
        return (place.into(), Wanted::Digest(format!("sha256:{digest}")));
    }
    match text.rsplit_once('#') {
        Some((place, tag)) => (place.into(), Wanted::Tag(tag.to_owned())),
        None => whole(),
    }
}

fn only_component(folder: &Path) -> Result<PathBuf, SourceError> {
    let mut found = files_named(folder, "wasm")?;
    found.retain(|path| !path.is_dir());
    match found.as_slice() {
        [] => Err(SourceError::NoComponent(folder.display().to_string())),
        [file] => Ok(file.clone()),
        several => Err(SourceError::SeveralComponents {
            folder: folder.display().to_string(),
            names: several
                .iter()
                .filter_map(|file| file.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
        }),
    }
}

/// The entries of a directory whose names have an extension, in order.
///
/// # Errors
///
/// [`SourceError::Unreadable`], [`SourceError::TooManyEntries`].
pub fn files_named(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error| SourceError::Unreadable {
        name: folder.display().to_string(),
        error,
    };
    let mut found = Vec::new();
    for (count, entry) in std::fs::read_dir(folder).map_err(unreadable)?.enumerate() {
        if count == MAX_ENTRIES {
            return Err(SourceError::TooManyEntries(folder.display().to_string()));
        }
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file that was named, which may be a pipe.
fn read_given(file: &Path, limit: usize) -> Result<Vec<u8>, SourceError> {
    read_opened(file, InputFile::open_given(file), limit)
}

/// Reads a file that was found in a directory, which must be a regular one.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_found(file: &Path, limit: usize) -> Result<Vec<u8>, SourceError> {
    read_opened(file, InputFile::open_regular(file), limit)
}

fn read_opened(
    file: &Path,
    opened: Result<InputFile, InputError>,
    limit: usize,
) -> Result<Vec<u8>, SourceError> {
    let name = || shown(file);
    opened
        .and_then(|opened| opened.read_to_limit(limit))
        .map_err(|error| match error {
            InputError::TooLarge { limit } => SourceError::TooLarge {
                name: name(),
                limit,
            },
            InputError::NotRegular { .. } | InputError::NotReadable { .. } => {
                SourceError::NotAFile {
                    name: name(),
                    error,
                }
            }
            error => SourceError::Unreadable {
                name: name(),
                error: error.into(),
            },
        })
}

/// Reads a document that was found in a directory.
fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, SourceError> {
    parse(&shown(file), &read_found(file, MAX_DOCUMENT_BYTES)?)
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SourceError> {
    strict::from_slice_within(bytes, MAX_VALUES).map_err(|error| SourceError::Malformed {
        name: name.to_owned(),
        error,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // a test may
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_component_and_perhaps_limits() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(SourceError::NoComponent(_))
        ));
        std::fs::write(folder.path().join("one.wasm"), b"one").unwrap();
        let component = read(folder.path()).unwrap();
        assert_eq!(component.bytes, b"one");
        assert!(component.limits.is_none());
        std::fs::write(folder.path().join(LIMITS_FILE), r#"{"instances": 99}"#).unwrap();
        assert_eq!(read(folder.path()).unwrap().limits.unwrap().instances, 99);
        std::fs::write(folder.path().join(LIMITS_FILE), r#"{"instance": 99}"#).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("instance"), "{error}");
        std::fs::write(folder.path().join("two.wasm"), b"two").unwrap();
        assert!(matches!(
            read(folder.path()),
            Err(SourceError::SeveralComponents { .. })
        ));
    }

    #[test]
    fn a_folder_without_a_layout_has_no_tags() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("{}#1.0.0", folder.path().display());
        assert!(matches!(
            read(Path::new(&path)),
            Err(SourceError::NotALayout(_))
        ));
    }
}
