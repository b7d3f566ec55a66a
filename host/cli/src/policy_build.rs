//! Builds a policy: compiles a Rust crate to a core module and makes a component
//! of it.
//!
//! The same sources and the same toolchain give the same bytes, wherever the
//! sources lie: the profile is fixed here, and paths of the machine are mapped
//! away. `.ci/run` holds the committed component against a fresh build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use wit_component::ComponentEncoder;

/// The target without a system interface: whatever is built for it imports
/// nothing that its author did not declare.
const TARGET: &str = "wasm32-unknown-unknown";

/// What decides the bytes, whatever the crate's own profile says. Speed before
/// size, but not unrolled: a component is compiled, too, before it runs.
const PROFILE: [(&str, &str); 7] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// Why a policy could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// cargo is not there.
    #[error("cargo could not be started")]
    Cargo(#[source] std::io::Error),
    /// There is no crate.
    #[error("{0} is not a Rust crate: it has no Cargo.toml")]
    NoCrate(PathBuf),
    /// cargo's view of the crate could not be had; cargo has said why.
    #[error("cargo could not read the crate {0}")]
    Metadata(PathBuf),
    /// It does not compile; cargo has said why.
    #[error("the crate {0} does not compile for {TARGET}")]
    Compile(PathBuf),
    /// It compiles to something else.
    #[error(
        "the crate {0} makes no WebAssembly module; its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"
    )]
    NoModule(PathBuf),
    /// A file could not be read or written.
    #[error("{0}")]
    File(PathBuf, #[source] std::io::Error),
    /// The module cannot become a component.
    #[error("the module cannot be made a component: {0}")]
    Encode(String),
}

/// Compiles the crate in `folder` and returns the component.
pub fn build(folder: &Path) -> Result<Vec<u8>, BuildError> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(BuildError::NoCrate(folder.to_owned()));
    }
    let module = compile(folder, &manifest)?;
    componentize(&module)
}

/// Makes a component of a core module that carries its world, as wit-bindgen
/// leaves it.
pub fn componentize(module: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes =
        std::fs::read(module).map_err(|error| BuildError::File(module.to_owned(), error))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Encode(format!("{error:#}")))
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn compile(folder: &Path, manifest: &Path) -> Result<PathBuf, BuildError> {
    let root = workspace_root(folder, manifest)?;
    let output = cargo()
        .args(["build", "--release", "--lib", "--target", TARGET])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(manifest)
        .env("CARGO_ENCODED_RUSTFLAGS", mapped_paths(&root).join("\x1f"))
        .envs(PROFILE)
        .stderr(Stdio::inherit())
        .output()
        .map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(BuildError::Compile(folder.to_owned()));
    }
    let manifest = manifest
        .canonicalize()
        .map_err(|error| BuildError::File(manifest.to_owned(), error))?;
    output
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
        .ok_or_else(|| BuildError::NoModule(folder.to_owned()))
}

fn workspace_root(folder: &Path, manifest: &Path) -> Result<PathBuf, BuildError> {
    let unreadable = || BuildError::Metadata(folder.to_owned());
    let output = cargo()
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(unreadable());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|_| unreadable())?;
    Ok(metadata.workspace_root)
}

/// Compiler flags that replace the paths of this machine.
fn mapped_paths(workspace_root: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    [
        (Some(workspace_root.to_owned()), "/policy"),
        (cargo_home, "/cargo"),
    ]
    .into_iter()
    .filter_map(|(from, to)| Some((from?, to)))
    .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
    .collect()
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
