//! Reads components, limits and settings: from a file, from the directory of a policy, or
//! from an OCI image layout, which is how registries distribute components.
//!
//! # Security
//!
//! A file is never read beyond its limit, regardless of the size in its metadata. What is
//! found in a directory must be a regular file or a link to one; a file that the caller
//! named may also be a pipe, which is waited for only so long
//! ([`entail::store::InputFile`]). Of a directory, at most 10,000 entries are read, and no
//! subdirectory.

mod error;
mod file;
mod limits;
mod oci_layout;

use std::path::{Path, PathBuf};

use entail::policy::Limits;
use serde_json::{Map, Value};

pub use self::error::SourceError;
pub(crate) use self::file::read_found;
pub use self::file::{component_limit, files_with_extension};
use self::file::{parse, read_json, read_named};
use self::oci_layout::{Selector, read_layout};
use crate::component::Component;
use crate::display::display_path;
use crate::oci::LAYOUT_FILE;
use crate::record::{self, Provenance};

/// The file in the directory of a policy that holds the limits that the policy needs.
const LIMITS_FILE: &str = "limits.json";

/// Reads the component at `path`: a file; a directory with an OCI image layout that has
/// one manifest, or that `DIRECTORY#tag` or `DIRECTORY@sha256:…` selects one of; or a
/// directory with one file `NAME.wasm` and perhaps `limits.json`.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read(path: &Path) -> Result<Component, SourceError> {
    let (place, selector) = split_selector(path);
    if !place.is_dir() {
        let bytes = read_component(&place)?;
        return Ok(Component {
            provenance: check_provenance(&place, &bytes)?,
            bytes,
            limits: None,
            name: display_path(&place),
        });
    }
    if place.join(LAYOUT_FILE).exists() {
        return read_layout(&place, &selector);
    }
    if selector != Selector::Only {
        return Err(SourceError::NotALayout(place.display().to_string()));
    }
    let file = only_component(&place)?;
    let bytes = read_found(&file, component_limit())?;
    Ok(Component {
        provenance: check_provenance(&file, &bytes)?,
        bytes,
        limits: read_directory_limits(&place)?,
        name: display_path(&file),
    })
}

fn check_provenance(file: &Path, bytes: &[u8]) -> Result<Provenance, SourceError> {
    record::check(file, bytes).map_err(|reason| SourceError::Outdated {
        name: display_path(file),
        directory: display_path(file.parent().unwrap_or(file)),
        reason,
    })
}

/// Reads `limits.json` in the directory of a policy; `None` if there is none.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_directory_limits(directory: &Path) -> Result<Option<Limits>, SourceError> {
    let file = directory.join(LIMITS_FILE);
    // A dangling link is not a missing file.
    match file.symlink_metadata() {
        Ok(_) => read_json(&file).map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads a file of limits: a JSON object with a number for each limit that differs from
/// the default.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_limits(file: &Path) -> Result<Limits, SourceError> {
    parse(
        &display_path(file),
        &read_named(file, file::MAX_DOCUMENT_BYTES)?,
    )
}

/// Reads a file of settings: a JSON object.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_settings(file: &Path) -> Result<Map<String, Value>, SourceError> {
    parse(
        &display_path(file),
        &read_named(file, file::MAX_DOCUMENT_BYTES)?,
    )
}

/// Reads the file of a component or of a core module.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_component(file: &Path) -> Result<Vec<u8>, SourceError> {
    read_named(file, component_limit())
}

/// Splits a path and the selector of a manifest after it. What exists is a path as a whole.
fn split_selector(path: &Path) -> (PathBuf, Selector) {
    let whole = || (path.to_owned(), Selector::Only);
    let Some(text) = path.to_str().filter(|_| !path.exists()) else {
        return whole();
    };
    if let Some((place, digest)) = text.rsplit_once("@sha256:") {
        return (place.into(), Selector::Digest(format!("sha256:{digest}")));
    }
    match text.rsplit_once('#') {
        Some((place, tag)) => (place.into(), Selector::Tag(tag.to_owned())),
        None => whole(),
    }
}

fn only_component(directory: &Path) -> Result<PathBuf, SourceError> {
    let mut found = files_with_extension(directory, "wasm")?;
    found.retain(|path| !path.is_dir());
    match found.as_slice() {
        [] => Err(SourceError::NoComponent(directory.display().to_string())),
        [file] => Ok(file.clone()),
        several => Err(SourceError::SeveralComponents {
            directory: directory.display().to_string(),
            names: several
                .iter()
                .filter_map(|file| file.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_component_and_perhaps_limits() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(directory.path()),
            Err(SourceError::NoComponent(_))
        ));
        std::fs::write(directory.path().join("one.wasm"), b"one").unwrap();
        let component = read(directory.path()).unwrap();
        assert_eq!(component.bytes, b"one");
        assert!(component.limits.is_none());
        let limits = directory.path().join(LIMITS_FILE);
        std::fs::write(&limits, r#"{"instances": 99}"#).unwrap();
        let component = read(directory.path()).unwrap();
        assert_eq!(component.limits.unwrap().instances, 99);
        std::fs::write(&limits, r#"{"instance": 99}"#).unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("instance"), "{error}");
        std::fs::write(directory.path().join("two.wasm"), b"two").unwrap();
        assert!(matches!(
            read(directory.path()),
            Err(SourceError::SeveralComponents { .. })
        ));
    }

    #[test]
    fn a_directory_without_a_layout_has_no_tags() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("{}#1.0.0", directory.path().display());
        assert!(matches!(
            read(Path::new(&path)),
            Err(SourceError::NotALayout(_))
        ));
    }
}
