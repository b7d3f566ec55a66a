//! OCI image layouts, which is how registries distribute components.
//!
//! # Security
//!
//! A layout is as foreign as the component in it. Every blob is found by its digest, which
//! is parsed and cannot lead out of the layout; it must be a regular file and no link, have
//! the size in its descriptor, and hash to its digest. No more of a blob is read
//! than its kind may have.

use std::path::Path;

use entail::policy::PolicyDigest;
use entail::store::InputFile;

use super::error::SourceError;
use super::file::{MAX_DOCUMENT_BYTES, component_limit, parse, read_json, read_opened};
use crate::component::Component;
use crate::display::display_path;
use crate::oci::{
    CONFIG_TYPE, Descriptor, INDEX_FILE, Index, LAYER_TYPE, LAYOUT_FILE, LAYOUT_VERSION, Layout,
    MANIFEST_TYPE, Manifest, TAG,
};
use crate::record::Provenance;

/// Which manifest of a layout.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Selector {
    /// The only one.
    Only,
    Tag(String),
    Digest(String),
}

/// Returns what selects a manifest on a path: `#1.0.0`, or `@` and its digest.
fn selector_of(descriptor: &Descriptor) -> String {
    match descriptor.annotations.get(TAG) {
        Some(tag) => format!("#{tag}"),
        None => format!("@{}", descriptor.digest),
    }
}

fn expect_type(
    descriptor: &Descriptor,
    name: &str,
    part: &'static str,
    expected: &'static str,
) -> Result<(), SourceError> {
    if descriptor.media_type == expected {
        return Ok(());
    }
    Err(SourceError::MediaType {
        name: name.to_owned(),
        part,
        found: descriptor.media_type.clone(),
        expected,
    })
}

/// Reads the component of the selected manifest.
pub(super) fn read_layout(layout: &Path, selector: &Selector) -> Result<Component, SourceError> {
    let marker = layout.join(LAYOUT_FILE);
    let version = read_json::<Layout>(&marker)?.image_layout_version;
    if version != LAYOUT_VERSION {
        return Err(SourceError::LayoutVersion {
            name: display_path(&marker),
            found: version,
        });
    }
    let index_file = layout.join(INDEX_FILE);
    let index: Index = read_json(&index_file)?;
    let chosen = manifest(layout, &index, selector)?;
    expect_type(
        chosen,
        &display_path(&index_file),
        "manifest",
        MANIFEST_TYPE,
    )?;
    let (name, bytes) = blob(
        layout,
        &display_path(&index_file),
        chosen,
        MAX_DOCUMENT_BYTES,
    )?;
    let manifest: Manifest = parse(&name, &bytes)?;
    expect_type(&manifest.config, &name, "configuration", CONFIG_TYPE)?;
    let (config, bytes) = blob(layout, &name, &manifest.config, MAX_DOCUMENT_BYTES)?;
    // Nothing in it is needed; but it must be JSON.
    parse::<serde::de::IgnoredAny>(&config, &bytes)?;
    let [layer] = manifest.layers.as_slice() else {
        return Err(SourceError::Layers {
            name,
            found: manifest.layers.len(),
        });
    };
    expect_type(layer, &name, "layer", LAYER_TYPE)?;
    let (_, bytes) = blob(layout, &name, layer, component_limit())?;
    Ok(Component {
        provenance: Provenance::NoSources,
        bytes,
        limits: None,
        name: format!("{}{}", layout.display(), selector_of(chosen)),
    })
}

fn manifest<'a>(
    layout: &Path,
    index: &'a Index,
    selector: &Selector,
) -> Result<&'a Descriptor, SourceError> {
    let is_selected = |descriptor: &&Descriptor| match selector {
        Selector::Only => true,
        Selector::Tag(tag) => descriptor.annotations.get(TAG) == Some(tag),
        Selector::Digest(digest) => descriptor.digest == *digest,
    };
    let suitable: Vec<&Descriptor> = index.manifests.iter().filter(is_selected).collect();
    let named =
        |manifests: &mut dyn Iterator<Item = &Descriptor>| manifests.map(selector_of).collect();
    match suitable.as_slice() {
        [one] => Ok(*one),
        [] => Err(SourceError::NoManifest {
            layout: layout.display().to_string(),
            wanted: match selector {
                Selector::Only => "manifest".to_owned(),
                Selector::Tag(tag) => format!("manifest with the tag {tag:?}"),
                Selector::Digest(digest) => format!("manifest {digest}"),
            },
            found: named(&mut index.manifests.iter()),
        }),
        several => Err(SourceError::SeveralManifests {
            layout: layout.display().to_string(),
            found: named(&mut several.iter().copied()),
        }),
    }
}

/// Reads a blob, and checks it against its descriptor in `parent`.
fn blob(
    layout: &Path,
    parent: &str,
    descriptor: &Descriptor,
    limit: usize,
) -> Result<(String, Vec<u8>), SourceError> {
    let no_digest = || SourceError::Digest {
        name: parent.to_owned(),
        digest: descriptor.digest.clone(),
    };
    let digest: PolicyDigest = descriptor.digest.parse().map_err(|_| no_digest())?;
    // Formatted from the parsed digest, so the path contains only digits.
    let name = digest.to_string();
    let digits = name.strip_prefix("sha256:").ok_or_else(no_digest)?;
    let file = layout.join("blobs").join("sha256").join(digits);
    let name = file.display().to_string();
    if usize::try_from(descriptor.size).map_or(true, |size| size > limit) {
        return Err(SourceError::TooLarge { name, limit });
    }
    let bytes = read_opened(&file, InputFile::open_regular_no_link(&file), limit)?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size != descriptor.size {
        return Err(SourceError::Size {
            name,
            found: size,
            expected: descriptor.size,
        });
    }
    let found = PolicyDigest::of(&bytes);
    if found != digest {
        return Err(SourceError::Changed { name, found });
    }
    Ok((name, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // allowed in tests
mod tests {
    use std::path::PathBuf;

    use super::super::read;
    use super::*;
    use serde_json::{Value, json};

    /// A layout in a temporary directory.
    struct TestLayout {
        directory: tempfile::TempDir,
        manifests: Vec<Value>,
    }

    impl TestLayout {
        fn new() -> Self {
            let layout = TestLayout {
                directory: tempfile::tempdir().unwrap(),
                manifests: Vec::new(),
            };
            std::fs::create_dir_all(layout.path().join("blobs/sha256")).unwrap();
            std::fs::write(
                layout.path().join("oci-layout"),
                r#"{"imageLayoutVersion": "1.0.0"}"#,
            )
            .unwrap();
            layout
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
            let digest = PolicyDigest::of(bytes).to_string();
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
            let digest = PolicyDigest::of(component).to_string();
            let digits = digest.strip_prefix("sha256:").unwrap().to_owned();
            self.path().join("blobs/sha256").join(digits)
        }
    }

    #[test]
    fn a_layout_with_one_manifest_needs_no_name() {
        assert_eq!(
            TestLayout::new().with("1.0.0", b"one").read("").unwrap(),
            b"one"
        );
    }

    #[test]
    fn one_of_several_is_chosen_by_tag_or_digest() {
        let layout = TestLayout::new()
            .with("1.0.0", b"one")
            .with("2.0.0", b"two");
        assert!(matches!(
            layout.read(""),
            Err(SourceError::SeveralManifests { found, .. }) if found == ["#1.0.0", "#2.0.0"]
        ));
        assert_eq!(layout.read("#2.0.0").unwrap(), b"two");
        let digest = layout.manifests.first().unwrap()["digest"]
            .as_str()
            .unwrap();
        assert_eq!(layout.read(&format!("@{digest}")).unwrap(), b"one");
        assert!(matches!(
            layout.read("#3.0.0"),
            Err(SourceError::NoManifest { .. })
        ));
    }

    #[test]
    fn a_changed_blob_is_detected() {
        let layout = TestLayout::new().with("1.0.0", b"one");
        std::fs::write(layout.component_file(b"one"), b"ill").unwrap();
        assert!(matches!(layout.read(""), Err(SourceError::Changed { .. })));
        std::fs::write(layout.component_file(b"one"), b"longer").unwrap();
        assert!(matches!(
            layout.read(""),
            Err(SourceError::Size {
                found: 6,
                expected: 3,
                ..
            })
        ));
        std::fs::remove_file(layout.component_file(b"one")).unwrap();
        assert!(matches!(
            layout.read(""),
            Err(SourceError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_malformed_digest_does_not_lead_out_of_the_layout() {
        for digest in [
            "sha256:../../oci-layout",
            "sha256:",
            "sha512:00",
            "../../index.json",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ] {
            let mut layout = TestLayout::new().with("1.0.0", b"one");
            for manifest in &mut layout.manifests {
                manifest["digest"] = json!(digest);
            }
            layout.write_index();
            assert!(
                matches!(layout.read(""), Err(SourceError::Digest { .. })),
                "{digest}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_blob_that_is_a_link_is_refused() {
        let layout = TestLayout::new().with("1.0.0", b"one");
        let elsewhere = layout.path().join("elsewhere");
        std::fs::write(&elsewhere, b"one").unwrap();
        std::fs::remove_file(layout.component_file(b"one")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, layout.component_file(b"one")).unwrap();
        assert!(matches!(layout.read(""), Err(SourceError::NotAFile { .. })));
    }

    #[test]
    fn a_size_is_bounded_before_anything_is_read() {
        let mut layout = TestLayout::new().with("1.0.0", b"one");
        for manifest in &mut layout.manifests {
            manifest["size"] = json!(MAX_DOCUMENT_BYTES + 1);
        }
        layout.write_index();
        assert!(matches!(layout.read(""), Err(SourceError::TooLarge { .. })));
    }

    #[test]
    fn other_images_are_not_components() {
        let mut layout = TestLayout::new();
        let config = layout.blob("application/vnd.oci.image.config.v1+json", b"{}");
        let layer = layout.blob("application/vnd.oci.image.layer.v1.tar", b"tar");
        layout.add("1", &json!({"config": config, "layers": [layer]}));
        assert!(matches!(
            layout.read(""),
            Err(SourceError::MediaType {
                part: "configuration",
                ..
            })
        ));
        let mut layout = TestLayout::new();
        let config = layout.blob(CONFIG_TYPE, b"{}");
        layout.add("1", &json!({"config": config, "layers": [layer]}));
        assert!(matches!(
            layout.read(""),
            Err(SourceError::MediaType { part: "layer", .. })
        ));
        let mut layout = TestLayout::new();
        let config = layout.blob(CONFIG_TYPE, b"{}");
        layout.add("1", &json!({"config": config, "layers": []}));
        assert!(matches!(
            layout.read(""),
            Err(SourceError::Layers { found: 0, .. })
        ));
    }
}
