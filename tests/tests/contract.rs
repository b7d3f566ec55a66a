//! Requirements on the contract in `wit/`, and on the built-in policy as a component.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wit_component::DecodedWasm;
use wit_parser::{Docs, Resolve, TypeDefKind, WorldId, WorldItem, WorldKey};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn contract() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(project().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    (resolve, world)
}

fn names<'a>(resolve: &Resolve, items: impl Iterator<Item = &'a WorldKey>) -> Vec<String> {
    let mut names: Vec<String> = items.map(|key| resolve.name_world_key(key)).collect();
    names.sort();
    names
}

#[test]
fn the_world_imports_nothing() {
    let (resolve, world) = contract();
    let world = &resolve.worlds[world];
    assert!(world.imports.is_empty());
    assert_eq!(
        names(&resolve, world.exports.keys()),
        [
            "entail:policy/about@0.2.0",
            "entail:policy/resolver@0.2.0",
            "entail:policy/settings@0.2.0"
        ]
    );
}

/// A layer imports only what the policy below it exports.
#[test]
fn a_layer_imports_what_a_policy_exports() {
    let (resolve, world) = contract();
    let package = resolve.worlds[world].package.unwrap();
    let layer = resolve.select_world(&[package], Some("layer")).unwrap();
    let imports = names(&resolve, resolve.worlds[layer].imports.keys());
    let exports = names(&resolve, resolve.worlds[world].exports.keys());
    assert_eq!(
        names(&resolve, resolve.worlds[layer].exports.keys()),
        exports
    );
    assert!(imports.iter().all(|name| exports.contains(name)));
}

/// Components that were built against a released version must work forever, so its text does
/// not change. The checksums are those of the release.
#[test]
fn a_released_version_never_changes() {
    let directory = project().join("wit/released");
    let sums = std::fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
    let mut listed = Vec::new();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        let text = std::fs::read(directory.join(file)).unwrap();
        let actual = Sha256::digest(&text)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
        assert_eq!(actual, sum, "{file} was changed");
        listed.push(file.split_once('/').unwrap().0.to_owned());
    }
    let mut directories: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    directories.sort();
    assert_eq!(directories, listed, "a version is not in SHA256SUMS");
    // The current contract is either newer, or equal to a released version.
    let current = std::fs::read_to_string(project().join("wit/policy.wit")).unwrap();
    let version = current
        .lines()
        .find_map(|line| {
            line.strip_prefix("package entail:policy@")?
                .strip_suffix(';')
        })
        .unwrap();
    if listed.iter().any(|released| released == version) {
        let released = directory.join(version).join("policy.wit");
        assert_eq!(std::fs::read_to_string(released).unwrap(), current);
    }
}

#[test]
fn the_built_in_policy_imports_nothing_and_exports_the_contract() {
    let component = std::fs::read(project().join("guest/default/default-policy.wasm")).unwrap();
    let DecodedWasm::Component(built, built_world) = wit_component::decode(&component).unwrap()
    else {
        panic!("a WIT package, not a component");
    };
    let built_world = &built.worlds[built_world];
    assert!(built_world.imports.is_empty(), "{:?}", built_world.imports);
    let (resolve, world) = contract();
    assert_eq!(
        names(&built, built_world.exports.keys()),
        names(&resolve, resolve.worlds[world].exports.keys())
    );
}

#[test]
fn every_item_is_documented() {
    let (resolve, world) = contract();
    let mut undocumented = Vec::new();
    let mut check = |what: String, docs: &Docs| {
        if docs
            .contents
            .as_ref()
            .is_none_or(|text| text.trim().is_empty())
        {
            undocumented.push(what);
        }
    };
    let world = &resolve.worlds[world];
    check(format!("world {}", world.name), &world.docs);
    for item in world.exports.values() {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        let name = interface.name.clone().unwrap();
        check(format!("interface {name}"), &interface.docs);
        for (function, item) in &interface.functions {
            check(format!("{name}.{function}"), &item.docs);
        }
        for (type_name, id) in &interface.types {
            let item = &resolve.types[*id];
            check(format!("{name}.{type_name}"), &item.docs);
            for (part, docs) in parts(&item.kind) {
                check(format!("{name}.{type_name}.{part}"), docs);
            }
        }
    }
    assert_eq!(undocumented, Vec::<String>::new());
}

/// The fields or cases of a type.
fn parts(kind: &TypeDefKind) -> Vec<(&str, &Docs)> {
    match kind {
        TypeDefKind::Record(record) => record
            .fields
            .iter()
            .map(|field| (field.name.as_str(), &field.docs))
            .collect(),
        TypeDefKind::Variant(variant) => variant
            .cases
            .iter()
            .map(|case| (case.name.as_str(), &case.docs))
            .collect(),
        TypeDefKind::Enum(cases) => cases
            .cases
            .iter()
            .map(|case| (case.name.as_str(), &case.docs))
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_error_type_has_a_variant_for_other_errors() {
    let (resolve, _) = contract();
    for (_, item) in resolve
        .types
        .iter()
        .filter(|(_, item)| item.name.as_deref() == Some("error"))
    {
        let TypeDefKind::Variant(variant) = &item.kind else {
            panic!("error is not a variant")
        };
        assert_eq!(variant.cases.last().unwrap().name, "other");
    }
}
