//! Composes a layer with a policy.
//!
//! A layer imports what a policy exports, and exports it too. Composed with the policy
//! below, it is one component without imports, admitted like any other.
//!
//! # Security
//!
//! Composing parses both components without limits of time and memory. An engine with a
//! sandbox therefore does it in a child process.

use entail_text::sanitized;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, CompilerDisabled, sanitize};
use crate::limits::Limits;
use crate::sandbox::{Job, JobError, JobLimits, Sandbox};

/// The most bytes that composing adds to two components.
const AROUND_BYTES: usize = 1 << 20;

/// Composes two components in a child process.
pub(crate) const COMPOSE: Job = Job {
    name: "compose",
    run: |input| {
        let (layer, below) = unpack(input).ok_or("two components are expected")?;
        compose(layer, below).map_err(|error| json(&error))
    },
};

/// Why a layer cannot be composed with a policy.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// One of the two is not a component.
    #[error("the {part} is not a valid component: {}", sanitized(.reason))]
    Invalid {
        /// The invalid one: `layer` or `policy below`.
        part: String,
        /// The reason.
        reason: String,
    },
    /// The layer imports nothing that the policy exports.
    #[error(
        "the layer imports nothing that the policy below exports with the same types; a layer imports entail:policy/resolver of the version that the policy below was built against"
    )]
    NoMatchingImport,
    /// One of the two imports what the other does not export. A policy imports nothing.
    #[error("the {part} imports {}, which nothing exports", sanitized(.imports.join(", ")))]
    Imports {
        /// The one with the import: `layer` or `policy below`.
        part: String,
        /// What it imports.
        imports: Vec<String>,
    },
    /// They cannot be linked.
    #[error("the layer and the policy below are incompatible: {}", sanitized(.0))]
    Incompatible(String),
    /// The child process failed.
    #[error("the layer and the policy below cannot be composed: {0}")]
    #[serde(skip)]
    ChildProcess(JobError),
    /// The engine has no compiler, so foreign components cannot be composed.
    #[error(transparent)]
    #[serde(skip)]
    CompilerDisabled(#[from] CompilerDisabled),
    /// The program was built without the feature `compose`.
    #[error(
        "this build cannot compose a layer with a policy: it lacks the feature compose of entail-policy"
    )]
    FeatureDisabled,
    /// It was not attempted.
    #[error("the layer and the policy below were not composed: {0}")]
    #[serde(skip)]
    NotAttempted(#[from] CallError),
}

#[cfg(feature = "compose")]
pub(crate) use encode::compose;

/// Returns an error: this build has no feature `compose`.
#[cfg(not(feature = "compose"))]
pub(crate) fn compose(_: &[u8], _: &[u8]) -> Result<Vec<u8>, ComposeError> {
    Err(ComposeError::FeatureDisabled)
}

/// The encoding of a composition: one component that contains both, instantiates the policy
/// below, instantiates the layer with what the policy below exports, and exports what the
/// layer exports.
#[cfg(feature = "compose")]
mod encode {
    use wasm_encoder::{ComponentBuilder, ComponentExportKind};
    use wasmparser::component_types::{ComponentEntityType, ComponentType};
    use wasmparser::names::{ComponentName, ComponentNameKind};
    use wasmparser::types::TypesRef;
    use wasmparser::{Validator, WasmFeatures};

    use super::ComposeError;
    use crate::error::sanitize;

    /// The indices of the two components, in the order in which they are contained.
    const BELOW: u32 = 0;
    const LAYER: u32 = 1;

    /// An import of the layer, and the export of the policy below that it is given.
    struct Plug<'a> {
        import: &'a str,
        export: &'a str,
        kind: ComponentExportKind,
    }

    /// Composes a layer with the policy below it, in this process and without limits.
    pub(crate) fn compose(layer: &[u8], below: &[u8]) -> Result<Vec<u8>, ComposeError> {
        // The types of two components can only be compared within one validation.
        let both = validator()
            .validate_all(&contain(layer, below).finish())
            .map_err(|error| find_invalid(layer, below, &error))?;
        let types = both.as_ref();
        // Both are contained, so both have a type.
        #[allow(clippy::indexing_slicing)]
        let type_of = |component| &types[types.component_at(component)];
        let (layer_type, below_type) = (type_of(LAYER), type_of(BELOW));
        let plugs = plugs(layer_type, below_type, types)?;
        let composed = connect(contain(layer, below), &plugs, layer_type);
        match validator().validate_all(&composed) {
            Ok(_) => Ok(composed),
            Err(error) => Err(incompatible(&error)),
        }
    }

    fn validator() -> Validator {
        Validator::new_with_features(WasmFeatures::default())
    }

    fn contain(layer: &[u8], below: &[u8]) -> ComponentBuilder {
        let mut builder = ComponentBuilder::default();
        builder.component_raw(None, below);
        builder.component_raw(None, layer);
        builder
    }

    /// Names the component that is invalid.
    fn find_invalid(layer: &[u8], below: &[u8], error: &dyn std::fmt::Display) -> ComposeError {
        for (part, bytes) in [("layer", layer), ("policy below", below)] {
            let reason = match validator().validate_all(bytes) {
                Ok(_) if wasmparser::Parser::is_component(bytes) => continue,
                Ok(_) => "it is a core module".to_owned(),
                Err(error) => error.to_string(),
            };
            return ComposeError::Invalid {
                part: part.to_owned(),
                reason: sanitize(&reason),
            };
        }
        incompatible(error)
    }

    fn incompatible(error: &dyn std::fmt::Display) -> ComposeError {
        ComposeError::Incompatible(sanitize(&error.to_string()))
    }

    fn imports(part: &str, names: &[&String]) -> ComposeError {
        ComposeError::Imports {
            part: part.to_owned(),
            imports: names.iter().map(|name| sanitize(name)).collect(),
        }
    }

    /// Finds an export of the policy below for each import of the layer.
    fn plugs<'a>(
        layer: &'a ComponentType,
        below: &'a ComponentType,
        types: TypesRef<'_>,
    ) -> Result<Vec<Plug<'a>>, ComposeError> {
        let mut plugs = Vec::new();
        let mut missing = Vec::new();
        if !below.imports.is_empty() {
            let names: Vec<&String> = below.imports.keys().collect();
            return Err(imports("policy below", &names));
        }
        for (import, wanted) in &layer.imports {
            let found = below
                .exports
                .get_key_value(import)
                .or_else(|| {
                    let mut exports = below.exports.iter();
                    exports.find(|(export, _)| is_compatible(export, import))
                })
                .filter(|(_, offered)| {
                    ComponentEntityType::is_subtype_of(&offered.ty, types, &wanted.ty, types)
                });
            match found {
                Some((export, offered)) => plugs.push(Plug {
                    import,
                    export,
                    kind: kind(&offered.ty),
                }),
                None => missing.push(import),
            }
        }
        match (plugs.is_empty(), missing.is_empty()) {
            (true, _) => Err(ComposeError::NoMatchingImport),
            (false, true) => Ok(plugs),
            (false, false) => Err(imports("layer", &missing)),
        }
    }

    /// Whether two names are of the same interface, in versions that are compatible by the
    /// rules of semantic versioning.
    fn is_compatible(one: &str, other: &str) -> bool {
        match (compatible_range(one), compatible_range(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }

    /// The name of an interface without its version, and the parts of the version that
    /// compatible ones have in common. `None` if a version is only compatible with itself.
    fn compatible_range(name: &str) -> Option<(String, u64, u64)> {
        let (interface, _) = name.split_once('@')?;
        let parsed = ComponentName::new(name, 0).ok()?;
        let ComponentNameKind::Interface(parsed) = parsed.kind() else {
            return None;
        };
        let version = parsed.version(None).ok()??;
        if !version.pre.is_empty() {
            return None;
        }
        let minor = match (version.major, version.minor) {
            (0, 0) => return None,
            (0, minor) => minor,
            _ => 0,
        };
        Some((interface.to_owned(), version.major, minor))
    }

    fn connect(mut both: ComponentBuilder, plugs: &[Plug<'_>], layer: &ComponentType) -> Vec<u8> {
        let no_arguments: [(&str, ComponentExportKind, u32); 0] = [];
        let below = both.instantiate(None, BELOW, no_arguments);
        let arguments: Vec<_> = plugs
            .iter()
            .map(|plug| {
                let export = both.alias_export(below, plug.export, plug.kind);
                (plug.import, plug.kind, export)
            })
            .collect();
        let layer_instance = both.instantiate(None, LAYER, arguments);
        for (name, item) in &layer.exports {
            let kind = kind(&item.ty);
            let export = both.alias_export(layer_instance, name, kind);
            both.export(name, kind, export, None);
        }
        both.finish()
    }

    fn kind(ty: &ComponentEntityType) -> ComponentExportKind {
        match ty {
            ComponentEntityType::Module(_) => ComponentExportKind::Module,
            ComponentEntityType::Func(_) => ComponentExportKind::Func,
            ComponentEntityType::Value(_) => ComponentExportKind::Value,
            ComponentEntityType::Type { .. } => ComponentExportKind::Type,
            ComponentEntityType::Instance(_) => ComponentExportKind::Instance,
            ComponentEntityType::Component(_) => ComponentExportKind::Component,
        }
    }
}

/// Composes a layer with the policy below it, in a child process.
pub(crate) fn compose_in(
    sandbox: &Sandbox,
    layer: &[u8],
    below: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, ComposeError> {
    let most = (layer.len() + below.len()).saturating_mul(2) + AROUND_BYTES;
    let bounds = JobLimits::of(limits, most);
    let done = sandbox.run(COMPOSE, &pack(layer, below), &bounds);
    done.map_err(|error| match error {
        JobError::Refused(reason) => serde_json::from_str(&reason)
            .unwrap_or_else(|_| ComposeError::Incompatible(sanitize(&reason))),
        other => ComposeError::ChildProcess(other),
    })
}

/// The length of the first component, then both components.
fn pack(layer: &[u8], below: &[u8]) -> Vec<u8> {
    // No length is greater.
    let length = u64::try_from(layer.len()).unwrap_or(u64::MAX);
    [length.to_le_bytes().as_slice(), layer, below].concat()
}

fn unpack(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, both) = input.split_first_chunk()?;
    both.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn json(error: &ComposeError) -> String {
    // Serializing strings does not fail.
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}

#[cfg(all(test, feature = "compose"))]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use super::*;

    /// A component that exports a function of this type in an instance of this name.
    fn policy(name: &str, result: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
                (core module $m (func (export "f") (result i32) i32.const 7))
                (core instance $m (instantiate $m))
                (func $f (result {result}) (canon lift (core func $m "f")))
                (instance $i (export "decide" (func $f)))
                (export "{name}" (instance $i)))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// A component that imports instances of these names, and exports the first.
    fn layer(imports: &[&str]) -> Vec<u8> {
        let import = |name: &&str| {
            format!(r#"(import "{name}" (instance (export "decide" (func (result u32)))))"#)
        };
        let imported = imports.iter().map(import).collect::<Vec<_>>().join(" ");
        let text = format!(r#"(component {imported} (export "e:p/layered@1.0.0" (instance 0)))"#);
        wat::parse_str(text).unwrap()
    }

    fn error(layer: &[u8], below: &[u8]) -> ComposeError {
        compose(layer, below).unwrap_err()
    }

    #[test]
    fn a_composed_layer_exports_what_the_layer_does_and_imports_nothing() {
        let below = policy("e:p/resolver@0.2.0", "u32");
        let composed = compose(&layer(&["e:p/resolver@0.2.0"]), &below).unwrap();
        assert_eq!(
            composed,
            compose(&layer(&["e:p/resolver@0.2.0"]), &below).unwrap()
        );
        let types = wasmparser::Validator::new()
            .validate_all(&composed)
            .unwrap();
        let types = types.as_ref();
        assert!(
            types
                .component_item_for_export("e:p/layered@1.0.0")
                .is_some()
        );
        for name in ["e:p/resolver@0.2.0", "e:p/layered@1.0.0"] {
            assert!(types.component_item_for_import(name).is_none());
        }
    }

    #[test]
    fn compatible_versions_of_an_interface_match() {
        for (import, export, fits) in [
            ("e:p/resolver@0.2.0", "e:p/resolver@0.2.1", true),
            ("e:p/resolver@1.3.0", "e:p/resolver@1.2.9", true),
            ("e:p/resolver@0.2.0", "e:p/resolver@0.3.0", false),
            ("e:p/resolver@0.0.1", "e:p/resolver@0.0.2", false),
            ("e:p/resolver@0.2.0", "e:p/about@0.2.0", false),
        ] {
            let composed = compose(&layer(&[import]), &policy(export, "u32"));
            assert_eq!(composed.is_ok(), fits, "{import} of {export}");
        }
    }

    #[test]
    fn an_export_of_another_type_does_not_match() {
        let error = error(
            &layer(&["e:p/resolver@0.2.0"]),
            &policy("e:p/resolver@0.2.0", "s32"),
        );
        assert!(matches!(error, ComposeError::NoMatchingImport), "{error}");
    }

    #[test]
    fn an_import_that_nothing_exports_is_named() {
        let name = "e:p/resolver@0.2.0";
        let below = policy(name, "u32");
        let two = layer(&[name, "wasi:clocks/wall-clock@0.2.0"]);
        match error(&two, &below) {
            ComposeError::Imports { part, imports } => {
                assert_eq!(part, "layer");
                assert_eq!(imports, ["wasi:clocks/wall-clock@0.2.0"]);
            }
            other => panic!("{other}"),
        }
        match error(&layer(&[name]), &layer(&[name])) {
            ComposeError::Imports { part, .. } => assert_eq!(part, "policy below"),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_invalid_component_is_named() {
        let name = "e:p/resolver@0.2.0";
        let module = wat::parse_str("(module)").unwrap();
        let (layer, below) = (layer(&[name]), policy(name, "u32"));
        for (layer, below, invalid) in [
            (&b"noise"[..], below.as_slice(), "layer"),
            (&layer, b"noise", "policy below"),
            (&module, &below, "layer"),
            (&layer, &module, "policy below"),
        ] {
            match error(layer, below) {
                ComposeError::Invalid { part, .. } => assert_eq!(part, invalid),
                other => panic!("{other}"),
            }
        }
    }
}
