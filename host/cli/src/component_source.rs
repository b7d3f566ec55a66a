//! Where a component comes from: a file, the folder of a policy that was built, or
//! an OCI image layout, which is how registries hand components on.
//!
//! # Security
//!
//! A layout is as foreign as the component in it. Every blob is looked for by its
//! digest, which is parsed and cannot lead out of the layout; it must be an
//! ordinary file, have the size that is written of it, and hash to its digest.
//! Sizes are bounded before anything is read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use entail::policy::{Digest, Limits, compose};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, shown};

/// The file in the folder of a policy that says what the policy needs.
const LIMITS_FILE: &str = "limits.json";

/// What stands for the policy that the program carries.
const BUILT_IN: &str = "built-in";

/// The longest file of limits, index, manifest or configuration: they are lists of
/// a few names and numbers.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// The one version of layouts that there is.
const LAYOUT_VERSION: &str = "1.0.0";

/// What the manifest of a component is.
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the configuration of a component is, by the guidance of the CNCF for
/// WebAssembly in registries.
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// What the layer with the component is.
const LAYER_TYPE: &str = "application/wasm";

/// The annotation by which a manifest has a tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// A component as it was found.
#[derive(Debug)]
pub struct Component {
    /// What was found, unlooked at.
    pub bytes: Vec<u8>,
    /// What its author says that it needs.
    pub limits: Option<Limits>,
    /// Where it was found, to be shown.
    pub name: String,
}

/// A component on the command line.
#[derive(Args)]
pub struct ComponentArgs {
    /// A component; the folder of a policy that was built; or an OCI image layout:
    /// DIR, DIR#TAG or DIR@sha256:…
    #[arg(value_name = "FILE|DIRECTORY", default_value = ".")]
    pub component: PathBuf,
    /// What it may use up, as JSON [default: limits.json of the folder]
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// The policy below, if it is a layer: a component as well, or the built-in one
    #[arg(long, value_name = "FILE|DIRECTORY|built-in")]
    pub over: Option<PathBuf>,
}

impl ComponentArgs {
    /// Reads the component and its limits, and composes it with the one below.
    ///
    /// # Errors
    ///
    /// What is wrong with which file; that the two do not go together.
    pub fn read(&self) -> Result<Component, Failure> {
        let mut component = read(&self.component)?;
        if let Some(file) = &self.limits {
            component.limits = Some(read_limits(file)?);
        }
        let Some(over) = &self.over else {
            return Ok(component);
        };
        let below = match over.as_os_str() == BUILT_IN {
            true => entail::DEFAULT_POLICY.to_vec(),
            false => read(over)?.bytes,
        };
        component.bytes = compose(&component.bytes, &below).map_err(|error| {
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
    #[error("{name} has {bytes} bytes, and {limit} are read at most")]
    TooLarge {
        /// The file.
        name: String,
        /// How many it has.
        bytes: u64,
        /// How many it may have.
        limit: u64,
    },
    /// A pipe, a device, or a link where there should be an ordinary file.
    #[error("{0} is not an ordinary file")]
    NotAFile(String),
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
        found: Digest,
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
            SourceError::NoComponent(folder) => vec![format!("entail policy build {folder}")],
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

/// Which manifest of a layout.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    TheOnlyOne,
    Tag(String),
    Digest(String),
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
        return Ok(Component {
            bytes: read_file(&place, component_limit())?,
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
    Ok(Component {
        bytes: read_file(&file, component_limit())?,
        limits: limits_in(&place)?,
        name: shown(&file),
    })
}

/// Reads what the folder of a policy says that the policy needs, if it says anything.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn limits_in(folder: &Path) -> Result<Option<Limits>, SourceError> {
    let file = folder.join(LIMITS_FILE);
    match file.exists() {
        true => read_limits(&file).map(Some),
        false => Ok(None),
    }
}

/// Reads a file of limits: a JSON object with a number for each limit that is not
/// to be the usual one.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_limits(file: &Path) -> Result<Limits, SourceError> {
    read_json(file)
}

/// Reads a file of settings: a JSON object.
///
/// # Errors
///
/// [`SourceError`] names the file and the rule.
pub fn read_settings(
    file: &Path,
) -> Result<serde_json::Map<String, serde_json::Value>, SourceError> {
    read_json(file)
}

/// The most bytes that any policy may have, with limits of its own.
fn component_limit() -> u64 {
    u64::try_from(Limits::CEILING.component_bytes).unwrap_or(u64::MAX)
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
    let unreadable = |error| SourceError::Unreadable {
        name: folder.display().to_string(),
        error,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && path.is_file()
        {
            found.push(path);
        }
    }
    found.sort();
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

fn read_file(file: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let unreadable = |error| SourceError::Unreadable {
        name: shown(file),
        error,
    };
    let too_large = |bytes| SourceError::TooLarge {
        name: shown(file),
        bytes,
        limit,
    };
    // Opening a pipe would wait for somebody to write.
    let found = std::fs::metadata(file).map_err(unreadable)?;
    if !found.is_file() {
        return Err(SourceError::NotAFile(shown(file)));
    }
    if found.len() > limit {
        return Err(too_large(found.len()));
    }
    let mut bytes = Vec::new();
    let read = File::open(file)
        .map_err(unreadable)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    // It may have grown meanwhile.
    match u64::try_from(read) {
        Ok(read) if read <= limit => Ok(bytes),
        _ => Err(too_large(limit.saturating_add(1))),
    }
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, SourceError> {
    parse(&shown(file), &read_file(file, MAX_DOCUMENT_BYTES)?)
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| SourceError::Malformed {
        name: name.to_owned(),
        error,
    })
}

/// `oci-layout`. The documents of OCI may have members that are not known here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

/// `index.json`.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// What is written of a blob.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Descriptor {
    /// How one asks for it: `#1.0.0`, or by its digest.
    fn selector(&self) -> String {
        match self.annotations.get(TAG) {
            Some(tag) => format!("#{tag}"),
            None => format!("@{}", self.digest),
        }
    }

    fn expect(
        &self,
        name: &str,
        part: &'static str,
        expected: &'static str,
    ) -> Result<(), SourceError> {
        match self.media_type == expected {
            true => Ok(()),
            false => Err(SourceError::MediaType {
                name: name.to_owned(),
                part,
                found: self.media_type.clone(),
                expected,
            }),
        }
    }
}

fn read_layout(layout: &Path, wanted: &Wanted) -> Result<Component, SourceError> {
    let marker = layout.join("oci-layout");
    let version = read_json::<Layout>(&marker)?.image_layout_version;
    if version != LAYOUT_VERSION {
        return Err(SourceError::LayoutVersion {
            name: shown(&marker),
            found: version,
        });
    }
    let index_file = layout.join("index.json");
    let index: Index = read_json(&index_file)?;
    let chosen = manifest(layout, &index, wanted)?;
    chosen.expect(&shown(&index_file), "manifest", MANIFEST_TYPE)?;
    let (name, bytes) = blob(layout, &shown(&index_file), chosen, MAX_DOCUMENT_BYTES)?;
    let manifest: Manifest = parse(&name, &bytes)?;
    manifest
        .config
        .expect(&name, "configuration", CONFIG_TYPE)?;
    let (config, bytes) = blob(layout, &name, &manifest.config, MAX_DOCUMENT_BYTES)?;
    // Nothing in it is needed; that it is JSON is part of being sound.
    parse::<serde::de::IgnoredAny>(&config, &bytes)?;
    let [layer] = manifest.layers.as_slice() else {
        return Err(SourceError::Layers {
            name,
            found: manifest.layers.len(),
        });
    };
    layer.expect(&name, "layer", LAYER_TYPE)?;
    let (_, bytes) = blob(layout, &name, layer, component_limit())?;
    Ok(Component {
        bytes,
        limits: None,
        name: format!("{}{}", layout.display(), chosen.selector()),
    })
}

fn manifest<'a>(
    layout: &Path,
    index: &'a Index,
    wanted: &Wanted,
) -> Result<&'a Descriptor, SourceError> {
    let suits = |descriptor: &&Descriptor| match wanted {
        Wanted::TheOnlyOne => true,
        Wanted::Tag(tag) => descriptor.annotations.get(TAG) == Some(tag),
        Wanted::Digest(digest) => descriptor.digest == *digest,
    };
    let suitable: Vec<&Descriptor> = index.manifests.iter().filter(suits).collect();
    let named = |manifests: &mut dyn Iterator<Item = &Descriptor>| {
        manifests.map(Descriptor::selector).collect()
    };
    match suitable.as_slice() {
        [one] => Ok(*one),
        [] => Err(SourceError::NoManifest {
            layout: layout.display().to_string(),
            wanted: match wanted {
                Wanted::TheOnlyOne => "manifest".to_owned(),
                Wanted::Tag(tag) => format!("manifest with the tag {tag:?}"),
                Wanted::Digest(digest) => format!("manifest {digest}"),
            },
            found: named(&mut index.manifests.iter()),
        }),
        several => Err(SourceError::SeveralManifests {
            layout: layout.display().to_string(),
            found: named(&mut several.iter().copied()),
        }),
    }
}

/// Reads a blob, and holds it against what `parent` says of it.
fn blob(
    layout: &Path,
    parent: &str,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<(String, Vec<u8>), SourceError> {
    let no_digest = || SourceError::Digest {
        name: parent.to_owned(),
        digest: descriptor.digest.clone(),
    };
    let digest: Digest = descriptor.digest.parse().map_err(|_| no_digest())?;
    let mut name = String::new();
    // Printed anew: what leads to the file is only ever digits.
    let _ = write!(name, "{digest}");
    let digits = name.strip_prefix("sha256:").ok_or_else(no_digest)?;
    let file = layout.join("blobs").join("sha256").join(digits);
    let name = file.display().to_string();
    if descriptor.size > limit {
        return Err(SourceError::TooLarge {
            name,
            bytes: descriptor.size,
            limit,
        });
    }
    let link = std::fs::symlink_metadata(&file).is_ok_and(|found| found.is_symlink());
    if link {
        return Err(SourceError::NotAFile(name));
    }
    let bytes = read_file(&file, limit)?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size != descriptor.size {
        return Err(SourceError::Size {
            name,
            found: size,
            expected: descriptor.size,
        });
    }
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(SourceError::Changed { name, found });
    }
    Ok((name, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // a test may
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A layout in a folder of its own.
    struct Made {
        folder: tempfile::TempDir,
        manifests: Vec<Value>,
    }

    impl Made {
        fn new() -> Self {
            let made = Made {
                folder: tempfile::tempdir().unwrap(),
                manifests: Vec::new(),
            };
            std::fs::create_dir_all(made.path().join("blobs/sha256")).unwrap();
            std::fs::write(
                made.path().join("oci-layout"),
                r#"{"imageLayoutVersion": "1.0.0"}"#,
            )
            .unwrap();
            made
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
            let digest = Digest::of(bytes).to_string();
            let digits = digest.strip_prefix("sha256:").unwrap();
            std::fs::write(self.path().join("blobs/sha256").join(digits), bytes).unwrap();
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        }

        fn with(mut self, tag: &str, component: &[u8]) -> Self {
            let config = self.blob(CONFIG_TYPE, b"{}");
            let layer = self.blob(LAYER_TYPE, component);
            self.add(
                tag,
                &json!({"schemaVersion": 2, "config": config, "layers": [layer]}),
            );
            self
        }

        fn add(&mut self, tag: &str, manifest: &Value) {
            let mut manifest = self.blob(MANIFEST_TYPE, manifest.to_string().as_bytes());
            manifest["annotations"] = json!({TAG: tag});
            self.manifests.push(manifest);
            self.write_index();
        }

        fn write_index(&self) {
            let index = json!({"schemaVersion": 2, "manifests": self.manifests});
            std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
        }

        fn read(&self, selector: &str) -> Result<Vec<u8>, SourceError> {
            let path = format!("{}{selector}", self.path().display());
            read(Path::new(&path)).map(|component| component.bytes)
        }

        fn component_file(&self, component: &[u8]) -> PathBuf {
            let digest = Digest::of(component).to_string();
            let digits = digest.strip_prefix("sha256:").unwrap().to_owned();
            self.path().join("blobs/sha256").join(digits)
        }
    }

    #[test]
    fn a_layout_with_one_manifest_needs_no_name() {
        assert_eq!(Made::new().with("1.0.0", b"one").read("").unwrap(), b"one");
    }

    #[test]
    fn one_of_several_is_chosen_by_tag_or_digest() {
        let made = Made::new().with("1.0.0", b"one").with("2.0.0", b"two");
        assert!(matches!(
            made.read(""),
            Err(SourceError::SeveralManifests { found, .. }) if found == ["#1.0.0", "#2.0.0"]
        ));
        assert_eq!(made.read("#2.0.0").unwrap(), b"two");
        let digest = made.manifests.first().unwrap()["digest"].as_str().unwrap();
        assert_eq!(made.read(&format!("@{digest}")).unwrap(), b"one");
        assert!(matches!(
            made.read("#3.0.0"),
            Err(SourceError::NoManifest { .. })
        ));
    }

    #[test]
    fn a_changed_blob_is_found_out() {
        let made = Made::new().with("1.0.0", b"one");
        std::fs::write(made.component_file(b"one"), b"ill").unwrap();
        assert!(matches!(made.read(""), Err(SourceError::Changed { .. })));
        std::fs::write(made.component_file(b"one"), b"longer").unwrap();
        assert!(matches!(
            made.read(""),
            Err(SourceError::Size {
                found: 6,
                expected: 3,
                ..
            })
        ));
        std::fs::remove_file(made.component_file(b"one")).unwrap();
        assert!(matches!(made.read(""), Err(SourceError::Unreadable { .. })));
    }

    #[test]
    fn no_digest_leads_out_of_the_layout() {
        for digest in [
            "sha256:../../oci-layout",
            "sha256:",
            "sha512:00",
            "../../index.json",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ] {
            let mut made = Made::new().with("1.0.0", b"one");
            for manifest in &mut made.manifests {
                manifest["digest"] = json!(digest);
            }
            made.write_index();
            assert!(
                matches!(made.read(""), Err(SourceError::Digest { .. })),
                "{digest}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_blob_is_no_link() {
        let made = Made::new().with("1.0.0", b"one");
        let elsewhere = made.path().join("elsewhere");
        std::fs::write(&elsewhere, b"one").unwrap();
        std::fs::remove_file(made.component_file(b"one")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, made.component_file(b"one")).unwrap();
        assert!(matches!(made.read(""), Err(SourceError::NotAFile(_))));
    }

    #[test]
    fn a_size_is_bounded_before_anything_is_read() {
        let mut made = Made::new().with("1.0.0", b"one");
        for manifest in &mut made.manifests {
            manifest["size"] = json!(MAX_DOCUMENT_BYTES + 1);
        }
        made.write_index();
        assert!(matches!(made.read(""), Err(SourceError::TooLarge { .. })));
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let mut made = Made::new();
        let config = made.blob("application/vnd.oci.image.config.v1+json", b"{}");
        let layer = made.blob("application/vnd.oci.image.layer.v1.tar", b"tar");
        made.add("1", &json!({"config": config, "layers": [layer]}));
        assert!(matches!(
            made.read(""),
            Err(SourceError::MediaType {
                part: "configuration",
                ..
            })
        ));
        let mut made = Made::new();
        let config = made.blob(CONFIG_TYPE, b"{}");
        made.add("1", &json!({"config": config, "layers": [layer]}));
        assert!(matches!(
            made.read(""),
            Err(SourceError::MediaType { part: "layer", .. })
        ));
        let mut made = Made::new();
        let config = made.blob(CONFIG_TYPE, b"{}");
        made.add("1", &json!({"config": config, "layers": []}));
        assert!(matches!(
            made.read(""),
            Err(SourceError::Layers { found: 0, .. })
        ));
    }

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
