//! Builds policies in Rust with cargo.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::error::BuildError;
use super::metadata::ComponentMetadata;
use crate::contract::RUST_TARGET;

/// The profile. It overrides the crate's manifest, because it decides the bytes. Speed before
/// size, but without unrolling: a component is compiled again before it runs.
const PROFILE: [(&str, &str); 7] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// Returns the sources of a crate, relative to `directory`: the directory, those of the
/// crates on this machine that it depends on, and the files of its workspace.
pub(super) fn source_roots(directory: &Path, manifest: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let canonical = |path: &Path| {
        let failed = |error| BuildError::File(path.to_owned(), error);
        path.canonicalize().map_err(failed)
    };
    let here = canonical(directory)?;
    let mut roots = vec![PathBuf::from(".")];
    for found in local_sources(directory, manifest)? {
        let found = canonical(&found)?;
        if !found.starts_with(&here) {
            roots.push(relative_path(&here, &found));
        }
    }
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Returns the relative path from one canonical directory to a canonical path.
fn relative_path(directory: &Path, path: &Path) -> PathBuf {
    let mut up = PathBuf::new();
    for above in directory.ancestors() {
        if let Ok(rest) = path.strip_prefix(above) {
            return up.join(rest);
        }
        up.push("..");
    }
    path.to_owned()
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    packages: Vec<Package>,
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    /// `None` if the crate is on this machine.
    source: Option<String>,
    manifest_path: PathBuf,
    name: String,
    version: String,
    description: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    root: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Returns the directories of the crates on this machine that a crate is built from, and
/// the files of its workspace.
fn local_sources(directory: &Path, manifest: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let Metadata {
        workspace_root,
        packages,
        resolve,
    } = metadata(directory, manifest, &["--filter-platform", RUST_TARGET])?;
    let mut sources: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock"]
        .iter()
        .map(|name| workspace_root.join(name))
        .filter(|file| file.is_file())
        .collect();
    let resolve = resolve.ok_or_else(|| BuildError::CargoMetadata(directory.to_owned()))?;
    let mut wanted: Vec<&str> = resolve.root.iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = wanted.pop() {
        let local = packages
            .iter()
            .find(|found| found.id == id && found.source.is_none());
        // A crate of a registry depends on none on this machine.
        let Some(package) = local.filter(|_| seen.insert(id)) else {
            continue;
        };
        sources.extend(package.manifest_path.parent().map(Path::to_owned));
        let nodes = resolve.nodes.iter().filter(|node| node.id == id);
        let needed = nodes.flat_map(|node| &node.deps).filter(|dependency| {
            let kinds = &dependency.dep_kinds;
            kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
        });
        wanted.extend(needed.map(|dependency| dependency.pkg.as_str()));
    }
    Ok(sources)
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles a crate, and returns the core module and the metadata of its manifest.
pub(super) fn compile(
    directory: &Path,
    manifest: &Path,
) -> Result<(PathBuf, ComponentMetadata), BuildError> {
    let Metadata {
        workspace_root: root,
        packages,
        ..
    } = metadata(directory, manifest, &["--no-deps"])?;
    let output = cargo()
        .args(["build", "--release", "--lib", "--target", RUST_TARGET])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            path_remappings(&root).join("\x1f"),
        )
        .envs(PROFILE)
        .stderr(Stdio::inherit())
        .output()
        .map_err(cargo_not_found)?;
    if !output.status.success() {
        return Err(if is_target_installed() == Some(false) {
            BuildError::TargetNotInstalled
        } else {
            BuildError::Compile(directory.to_owned())
        });
    }
    let manifest = manifest
        .canonicalize()
        .map_err(|error| BuildError::File(manifest.to_owned(), error))?;
    let package = packages
        .into_iter()
        .find(|package| package.manifest_path == manifest);
    let component_metadata = package.map(|package| ComponentMetadata {
        name: Some(package.name),
        version: Some(package.version),
        description: package.description,
        licenses: package.license,
    });
    let module = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.manifest_path.as_ref() == Some(&manifest))
        .flat_map(|message| message.filenames)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .ok_or_else(|| BuildError::NoModule(directory.to_owned()))?;
    Ok((module, component_metadata.unwrap_or_default()))
}

fn metadata(directory: &Path, manifest: &Path, arguments: &[&str]) -> Result<Metadata, BuildError> {
    let unreadable = || BuildError::CargoMetadata(directory.to_owned());
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(cargo_not_found)?;
    if !output.status.success() {
        return Err(unreadable());
    }
    serde_json::from_slice(&output.stdout).map_err(|_| unreadable())
}

/// Returns compiler flags that replace the paths of this machine.
fn path_remappings(workspace_root: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut mapped = vec![(workspace_root.to_owned(), "/policy")];
    if let Some(cargo_home) = cargo_home {
        // The directory of a dependency's sources is named after the registry. The last
        // flag that matches applies.
        let sources = std::fs::read_dir(cargo_home.join("registry/src"));
        let mut sources: Vec<PathBuf> = sources
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        sources.sort();
        mapped.push((cargo_home, "/cargo"));
        mapped.extend(sources.into_iter().map(|from| (from, "/crates")));
    }
    mapped
        .into_iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect()
}

/// Returns whether the standard library for the target is installed; `None` if rustc does
/// not say.
fn is_target_installed() -> Option<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", RUST_TARGET])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(directory.trim_end()).is_dir())
}

fn cargo_not_found(error: std::io::Error) -> BuildError {
    BuildError::ToolNotFound {
        tool: "cargo",
        remedy: "install Rust: https://rustup.rs",
        error,
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
