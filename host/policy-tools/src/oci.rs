//! The documents of OCI image layouts, as far as components need them.
//!
//! The field order of what is written is fixed, so that the same component gives the same
//! bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file that marks a layout.
pub(crate) const LAYOUT_FILE: &str = "oci-layout";

/// The file that lists the manifests of a layout.
pub(crate) const INDEX_FILE: &str = "index.json";

/// The only version of OCI image layouts.
pub(crate) const LAYOUT_VERSION: &str = "1.0.0";

/// The version of the schema of indexes and manifests.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// The media type of an index.
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of a manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of a component's configuration, by the guidance of the CNCF for
/// WebAssembly in registries.
pub(crate) const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// The media type of the layer with the component.
pub(crate) const LAYER_TYPE: &str = "application/wasm";

/// The annotation that holds the tag of a manifest.
pub(crate) const TAG: &str = "org.opencontainers.image.ref.name";

/// `oci-layout`. OCI documents may have members that are unknown here.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    pub(crate) image_layout_version: String,
}

/// `index.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// The manifest of a component.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default)]
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Describes a blob.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The configuration of a component.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) created: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) layer_digests: Vec<String>,
    pub(crate) component: ConfigComponent,
}

/// What a component imports and exports.
#[derive(Serialize)]
pub(crate) struct ConfigComponent {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
    pub(crate) target: Option<String>,
}
