//! Why a component, its limits or its settings cannot be read.

use entail::policy::PolicyDigest;
use entail::store::InputError;

use super::limits::MAX_ENTRIES;
use crate::oci::LAYOUT_VERSION;
use crate::record::Outdated;

/// Why a component, its limits or its settings cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Reading a file failed.
    #[error("{name}: {error}")]
    Unreadable {
        /// The file.
        name: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// A file is too long.
    #[error("{name} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        name: String,
        /// The most bytes it may have.
        limit: usize,
    },
    /// A pipe, a device, or a link instead of a regular file.
    #[error("{name}: {error}")]
    NotAFile {
        /// The file.
        name: String,
        /// What it is.
        error: InputError,
    },
    /// A directory has too many entries.
    #[error("{0} has more than {MAX_ENTRIES} entries")]
    TooManyEntries(String),
    /// A directory has no component.
    #[error("{0} has no component: neither a file NAME.wasm nor an OCI image layout is in it")]
    NoComponent(String),
    /// A directory has several components.
    #[error("{directory} has several components: {}", .names.join(", "))]
    SeveralComponents {
        /// The directory.
        directory: String,
        /// Their files.
        names: Vec<String>,
    },
    /// A tag or digest was given for a directory that is not a layout.
    #[error("{0} is not an OCI image layout: it has no file oci-layout")]
    NotALayout(String),
    /// A document does not parse.
    #[error("{name}: {error}")]
    Malformed {
        /// The file.
        name: String,
        /// The parser's error.
        error: serde_json::Error,
    },
    /// A layout has an unknown version.
    #[error("{name} is a layout of version {found}, and only {LAYOUT_VERSION} is known")]
    LayoutVersion {
        /// The file.
        name: String,
        /// Its version.
        found: String,
    },
    /// A layout does not have the selected manifest.
    #[error("{layout} has no {wanted}; it has {}", join_or_none(.found))]
    NoManifest {
        /// The layout.
        layout: String,
        /// What was selected.
        wanted: String,
        /// The selectors of the manifests it has.
        found: Vec<String>,
    },
    /// A layout has several manifests, and none was selected.
    #[error("{layout} has several manifests: {}", join_or_none(.found))]
    SeveralManifests {
        /// The layout.
        layout: String,
        /// Their selectors.
        found: Vec<String>,
    },
    /// A digest is malformed.
    #[error("{name}: {digest:?} is not a digest of the form sha256: and 64 hexadecimal digits")]
    Digest {
        /// The document that contains it.
        name: String,
        /// The text.
        digest: String,
    },
    /// A component was not built from the sources beside it.
    #[error("{name} was not built from the current sources: {reason}")]
    Outdated {
        /// The component.
        name: String,
        /// The directory of its sources.
        directory: String,
        /// What differs.
        reason: Outdated,
    },
    /// A descriptor has the media type of something else.
    #[error("{name}: the {part} has the type {found:?}, and a component's has {expected:?}")]
    MediaType {
        /// The document that contains it.
        name: String,
        /// The part of the image.
        part: &'static str,
        /// Its type.
        found: String,
        /// The type that a component has.
        expected: &'static str,
    },
    /// A manifest does not have exactly one layer.
    #[error("{name}: there are {found} layers, and a component has one")]
    Layers {
        /// The manifest.
        name: String,
        /// How many layers it has.
        found: usize,
    },
    /// The size of a blob differs from its descriptor.
    #[error("{name} has {found} bytes, but its descriptor says {expected}")]
    Size {
        /// The blob.
        name: String,
        /// Its size.
        found: u64,
        /// The size in its descriptor.
        expected: u64,
    },
    /// A blob does not hash to its digest.
    #[error("{name} has been changed: it hashes to {found}")]
    Changed {
        /// The blob.
        name: String,
        /// Its digest.
        found: PolicyDigest,
    },
}

impl SourceError {
    /// Returns a stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Unreadable { .. } => "io",
            SourceError::TooLarge { .. } => "too-large",
            SourceError::NotAFile { .. } => "not-a-file",
            SourceError::TooManyEntries(_) => "too-many-entries",
            SourceError::NoComponent(_) => "no-component",
            SourceError::SeveralComponents { .. } => "several-components",
            SourceError::NotALayout(_) => "not-a-layout",
            SourceError::Malformed { .. } => "malformed",
            SourceError::LayoutVersion { .. } => "layout-version",
            SourceError::NoManifest { .. } => "no-manifest",
            SourceError::SeveralManifests { .. } => "several-manifests",
            SourceError::Digest { .. } => "invalid-digest",
            SourceError::Outdated { .. } => "stale",
            SourceError::MediaType { .. } => "media-type",
            SourceError::Layers { .. } => "layers",
            SourceError::Size { .. } => "size",
            SourceError::Changed { .. } => "changed",
        }
    }
}

fn join_or_none(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
