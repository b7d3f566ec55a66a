//! Writes components: to a file, or as an OCI image layout.
//!
//! The same component gives the same layout, byte by byte.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use entail::policy::PolicyDigest;
use serde::Serialize;

use crate::oci::{
    CONFIG_TYPE, Config, ConfigComponent, Descriptor, INDEX_FILE, INDEX_TYPE, Index, LAYER_TYPE,
    LAYOUT_FILE, LAYOUT_VERSION, Layout, MANIFEST_TYPE, Manifest, SCHEMA_VERSION, TAG,
};
use crate::wit::ComponentWit;

/// The time in a configuration. Clients of registries require one; a component has none.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The metadata of a component in a layout.
#[derive(Debug)]
pub struct ExportInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version, which becomes the tag.
    pub version: &'a str,
    /// What it does, in a sentence.
    pub summary: &'a str,
    /// Its interface.
    pub wit: &'a ComponentWit,
}

/// A component cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file exists with other contents.
    #[error("{0} exists and has other contents")]
    Exists(PathBuf),
    /// A layout has other components.
    #[error("{0} is not empty; a layout needs an empty or new directory")]
    NotEmpty(PathBuf),
    /// The system refuses.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl ExportError {
    /// Returns a stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::Exists(_) => "exists",
            ExportError::NotEmpty(_) => "not-empty",
            ExportError::Io(..) => "io",
        }
    }
}

/// Writes a component to a file, unless it is there already.
///
/// # Errors
///
/// Fails if the file exists with other contents, or cannot be written.
pub fn write_file(file: &Path, component: &[u8]) -> Result<(), ExportError> {
    let failed = |error| ExportError::Io(file.to_owned(), error);
    match std::fs::File::create_new(file) {
        Ok(mut created) => io::Write::write_all(&mut created, component).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_same = has_contents(file, component).map_err(failed)?;
            if is_same {
                return Ok(());
            }
            Err(ExportError::Exists(file.to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Returns whether a regular file has these contents.
fn has_contents(file: &Path, contents: &[u8]) -> io::Result<bool> {
    let metadata = std::fs::metadata(file)?;
    let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
    if !metadata.is_file() || metadata.len() != size {
        return Ok(false);
    }
    Ok(std::fs::read(file)? == contents)
}

/// Writes a component as an OCI image layout with one manifest, which has the version as
/// its tag. Returns the digest of the manifest.
///
/// # Errors
///
/// Fails if the directory has another layout or other files, or cannot be written.
pub fn write_layout(
    directory: &Path,
    component: &[u8],
    info: &ExportInfo<'_>,
) -> Result<PolicyDigest, ExportError> {
    let failed = |error| ExportError::Io(directory.to_owned(), error);
    check_vacant(directory)?;
    let blobs = directory.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).map_err(failed)?;
    let layer = write_blob(&blobs, LAYER_TYPE, component)?;
    let config = Config {
        created: CREATED.to_owned(),
        architecture: "wasm".to_owned(),
        // The guidance knows no system for components without one.
        os: "wasip2".to_owned(),
        layer_digests: vec![layer.digest.clone()],
        component: ConfigComponent {
            exports: info.wit.exports.clone(),
            imports: info.wit.imports.clone(),
            target: None,
        },
    };
    let config = write_blob(&blobs, CONFIG_TYPE, &to_json(&config).map_err(failed)?)?;
    let annotations = [
        ("description", info.summary),
        ("title", info.name),
        ("version", info.version),
    ]
    .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()));
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        media_type: MANIFEST_TYPE.to_owned(),
        config,
        layers: vec![layer],
        annotations: annotations.into(),
    };
    let manifest = to_json(&manifest).map_err(failed)?;
    let digest = PolicyDigest::of(&manifest);
    let index = Index {
        schema_version: SCHEMA_VERSION,
        media_type: INDEX_TYPE.to_owned(),
        manifests: vec![Descriptor {
            annotations: [(TAG.to_owned(), info.version.to_owned())].into(),
            ..write_blob(&blobs, MANIFEST_TYPE, &manifest)?
        }],
    };
    let layout = Layout {
        image_layout_version: LAYOUT_VERSION.to_owned(),
    };
    let layout = to_json(&layout).map_err(failed)?;
    write_file(&directory.join(LAYOUT_FILE), &layout)?;
    // The index comes last: it names what is complete.
    let index = to_json(&index).map_err(failed)?;
    write_file(&directory.join(INDEX_FILE), &index)?;
    Ok(digest)
}

/// Refuses a directory with files that are not of a layout.
fn check_vacant(directory: &Path) -> Result<(), ExportError> {
    let failed = |error| ExportError::Io(directory.to_owned(), error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let of_layout = ["blobs", LAYOUT_FILE, INDEX_FILE];
        if !of_layout.iter().any(|known| name == *known) {
            return Err(ExportError::NotEmpty(directory.to_owned()));
        }
    }
    Ok(())
}

fn to_json(document: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(io::Error::other)
}

fn write_blob(blobs: &Path, media_type: &str, bytes: &[u8]) -> Result<Descriptor, ExportError> {
    let digest = PolicyDigest::of(bytes).to_string();
    let digits = digest.strip_prefix("sha256:").unwrap_or(&digest);
    write_file(&blobs.join(digits), bytes)?;
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        annotations: BTreeMap::new(),
        digest,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;
    use crate::source;

    fn export(
        directory: &Path,
        component: &[u8],
        version: &str,
    ) -> Result<PolicyDigest, ExportError> {
        let wit = ComponentWit {
            text: String::new(),
            imports: Vec::new(),
            exports: vec!["entail:policy/resolver@0.2.0".to_owned()],
        };
        let info = ExportInfo {
            name: "mine",
            version,
            summary: "Refuses everything.",
            wit: &wit,
        };
        write_layout(directory, component, &info)
    }

    #[test]
    fn a_layout_is_reproducible_and_readable() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        let digest = export(&one, b"component", "1.0.0").unwrap();
        assert_eq!(export(&two, b"component", "1.0.0").unwrap(), digest);
        // Again in the same place.
        assert_eq!(export(&one, b"component", "1.0.0").unwrap(), digest);
        let read = |selector: &str| {
            let path = format!("{}{selector}", one.display());
            source::read(Path::new(&path)).unwrap().bytes
        };
        assert_eq!(read(""), b"component");
        assert_eq!(read("#1.0.0"), b"component");
        assert_eq!(read(&format!("@{digest}")), b"component");
    }

    #[test]
    fn nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("mine.wasm");
        write_file(&file, b"one").unwrap();
        write_file(&file, b"one").unwrap();
        let error = write_file(&file, b"two").unwrap_err();
        assert_eq!(error.code(), "exists");
        let error = export(place.path(), b"one", "1.0.0").unwrap_err();
        assert_eq!(error.code(), "not-empty");
        let layout = place.path().join("layout");
        export(&layout, b"one", "1.0.0").unwrap();
        let error = export(&layout, b"two", "1.0.0").unwrap_err();
        assert_eq!(error.code(), "exists");
    }
}
