//! Builds a policy: a component from a Rust crate, a JavaScript package or a Python
//! program, each with the tools of its language.
//!
//! A Rust crate is compiled to a core module, which becomes a component here. The
//! same sources and the same toolchain give the same bytes, wherever the sources lie:
//! the profile is fixed here, and paths of the machine are mapped away. `.ci/run`
//! holds the committed component against a fresh build.
//!
//! JavaScript and Python bring their interpreter along, and a policy has no system
//! that it could ask: all calls of the system are replaced by traps. Their tools are
//! installed in the project's folder if they are not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use entail::policy::{Job, JobLimits, Limits, Sandbox};
use entail::store::InputFile;
use entail_text::strict;
use serde::Deserialize;
use wit_component::ComponentEncoder;

use crate::component_source::component_limit;
use crate::{temporary, wasm_bindgen};

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

/// The contract, for projects that have no copy of their own.
pub const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// The world that a policy exports.
const WORLD: &str = "policy";

/// The program that makes a component of JavaScript, in a package's folder.
const JCO: &str = "node_modules/.bin/jco";

/// The file of a JavaScript package that says what it is.
const PACKAGE: &str = "package.json";

/// The longest of these; people write them by hand.
const MAX_PACKAGE_BYTES: usize = 1 << 20;

/// The file of a Python program that says what it needs.
const REQUIREMENTS: &str = "requirements.txt";

/// The folder of a Python program's own environment, and programs in there.
const ENVIRONMENT: &str = ".venv";
const ENVIRONMENT_PYTHON: &str = ".venv/bin/python";
const COMPONENTIZE_PY: &str = ".venv/bin/componentize-py";

/// The module that a Python policy starts with, and the folder it is in.
const PYTHON_MODULE: &str = "main";
const PYTHON_FOLDER: &str = "src";

/// Why a policy could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program is not there.
    #[error("{tool} could not be started: {error}; {remedy}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// How to get it.
        remedy: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is nothing to build.
    #[error(
        "{0} is no policy: it has neither Cargo.toml (Rust), package.json (JavaScript) nor requirements.txt (Python)"
    )]
    NoProject(PathBuf),
    /// cargo's view of the crate could not be had; cargo has said why.
    #[error("cargo could not read the crate {0}")]
    Metadata(PathBuf),
    /// It does not compile; cargo has said why.
    #[error("the crate {0} does not compile for {TARGET}")]
    Compile(PathBuf),
    /// The standard library for the target is not there.
    #[error("Rust cannot compile for {TARGET} yet; rustup target add {TARGET}")]
    NoTarget,
    /// It compiles to something else.
    #[error(
        "the crate {0} makes no WebAssembly module; its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"
    )]
    NoModule(PathBuf),
    /// A package does not say where it starts.
    #[error("{0} needs a member \"main\", the file that exports resolver, settings and about")]
    NoMain(PathBuf),
    /// A program that was asked to do something failed, and has said why.
    #[error("{tool} failed in {folder}")]
    Failed {
        /// The program.
        tool: &'static str,
        /// Where.
        folder: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{0}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is something else.
    #[error("{0} is no core WebAssembly module in binary form")]
    NotACoreModule(PathBuf),
    /// The module cannot become a component.
    #[error("the module cannot be made a component: {0}")]
    Encode(String),
}

/// What the component of `folder` is built of, as seen from there: the folder itself, and
/// of a Rust crate the crates beside it that it depends on, and the files of its workspace.
pub fn roots(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut roots = vec![PathBuf::from(".")];
    let manifest = folder.join("Cargo.toml");
    if manifest.is_file() {
        let canonical = |path: &Path| {
            let failed = |error| BuildError::File(path.to_owned(), error);
            path.canonicalize().map_err(failed)
        };
        let here = canonical(folder)?;
        for found in local_sources(folder, &manifest)? {
            let found = canonical(&found)?;
            if !found.starts_with(&here) {
                roots.push(seen_from(&here, &found));
            }
        }
        roots.sort();
        roots.dedup();
    }
    Ok(roots)
}

/// The way from one canonical folder to a canonical path.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    let mut up = PathBuf::new();
    for above in folder.ancestors() {
        if let Ok(rest) = path.strip_prefix(above) {
            return up.join(rest);
        }
        up.push("..");
    }
    path.to_owned()
}

/// Builds the policy in `folder` and returns the component. What the tools have to say
/// goes to standard error.
pub fn build(folder: &Path) -> Result<Vec<u8>, BuildError> {
    let manifest = folder.join("Cargo.toml");
    if manifest.is_file() {
        let module = compile(folder, &manifest)?;
        return componentize(&module);
    }
    if folder.join(PACKAGE).is_file() {
        return build_javascript(folder);
    }
    if folder.join(REQUIREMENTS).is_file() {
        return build_python(folder);
    }
    Err(BuildError::NoProject(folder.to_owned()))
}

fn build_javascript(folder: &Path) -> Result<Vec<u8>, BuildError> {
    #[derive(Deserialize)]
    struct Main {
        main: Option<String>,
    }

    let package = folder.join(PACKAGE);
    let file = |error| BuildError::File(package.clone(), error);
    let text = InputFile::open_regular(&package)
        .and_then(|opened| opened.read_to_limit(MAX_PACKAGE_BYTES))
        .map_err(|error| file(error.into()))?;
    let Main { main } = strict::from_slice(&text).map_err(|error| file(error.into()))?;
    let main = main.ok_or_else(|| BuildError::NoMain(package.clone()))?;
    if !folder.join(JCO).exists() {
        let mut npm = Command::new("npm");
        // From the lock file, if there is one, so that everybody builds with the same.
        npm.arg(match folder.join("package-lock.json").is_file() {
            true => "ci",
            false => "install",
        });
        npm.args(["--no-audit", "--no-fund", "--loglevel", "error"]);
        run("npm", "install Node.js, which has npm", npm, folder)?;
    }
    let output = Output::new(folder)?;
    let mut jco = Command::new(in_project(folder, JCO)?);
    jco.arg("componentize")
        // A relative one it looks for elsewhere.
        .arg(in_project(folder, main)?)
        .arg("--cwd")
        .arg(in_project(folder, "")?)
        .arg("--wit")
        .arg(&output.contract)
        .args(["--world-name", WORLD])
        .args(["--backend", "qjs", "--backend-qjs-stub-wasi"])
        .arg("--backend-qjs-disable-async")
        .arg("--out")
        .arg(&output.component);
    run("jco", "install Node.js, which runs it", jco, folder)?;
    output.read()
}

fn build_python(folder: &Path) -> Result<Vec<u8>, BuildError> {
    const REMEDY: &str = "install Python 3.9 or later, with venv and pip";

    if !folder.join(COMPONENTIZE_PY).exists() {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", ENVIRONMENT]);
        run("python3", REMEDY, python, folder)?;
        let mut pip = Command::new(in_project(folder, ENVIRONMENT_PYTHON)?);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--requirement", REQUIREMENTS]);
        run("pip", REMEDY, pip, folder)?;
    }
    let output = Output::new(folder)?;
    let mut componentize = Command::new(in_project(folder, COMPONENTIZE_PY)?);
    componentize
        .env("VIRTUAL_ENV", in_project(folder, ENVIRONMENT)?)
        .arg("--quiet")
        .arg("--wit-path")
        .arg(&output.contract)
        .args(["--world", WORLD, "componentize", "--stub-wasi"])
        .args(["--python-path", PYTHON_FOLDER])
        .arg("--output")
        .arg(&output.component)
        .arg(PYTHON_MODULE);
    run("componentize-py", REMEDY, componentize, folder)?;
    output.read()
}

/// Where a tool finds the contract, and puts the component.
struct Output {
    folder: tempfile::TempDir,
    contract: PathBuf,
    component: PathBuf,
}

impl Output {
    fn new(project: &Path) -> Result<Self, BuildError> {
        let failed = |error| BuildError::File(std::env::temp_dir(), error);
        let folder = temporary::directory().map_err(failed)?;
        let own = project.join("wit");
        let contract = if own.is_dir() {
            std::path::absolute(&own).map_err(|error| BuildError::File(own, error))?
        } else {
            let copy = folder.path().join("policy.wit");
            std::fs::write(&copy, CONTRACT).map_err(failed)?;
            copy
        };
        Ok(Output {
            contract,
            component: folder.path().join("policy.wasm"),
            folder,
        })
    }

    fn read(self) -> Result<Vec<u8>, BuildError> {
        let bytes = InputFile::open_regular(&self.component)
            .and_then(|opened| opened.read_to_limit(component_limit()))
            .map_err(|error| BuildError::File(self.component, error.into()));
        // Only now may it go.
        drop(self.folder);
        bytes
    }
}

/// A file of the project. Tools run in the project's folder, where a relative path
/// would mean something else.
fn in_project(folder: &Path, path: impl AsRef<Path>) -> Result<PathBuf, BuildError> {
    let path = folder.join(path);
    std::path::absolute(&path).map_err(|error| BuildError::File(path, error))
}

/// Runs a program in `folder`; what it complains of goes to standard error.
fn run(
    tool: &'static str,
    remedy: &'static str,
    mut command: Command,
    folder: &Path,
) -> Result<(), BuildError> {
    let status = command
        .current_dir(folder)
        .stdin(Stdio::null())
        // That it has gone well is said here.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| BuildError::Tool {
            tool,
            remedy,
            error,
        })?;
    match status.success() {
        true => Ok(()),
        false => Err(BuildError::Failed {
            tool,
            folder: folder.to_owned(),
        }),
    }
}

/// Makes a component of a core module, in a process of its own: the module may come from
/// anywhere.
pub const COMPONENTIZE: Job = Job {
    name: "componentize",
    run: |module| {
        if let Some(reason) = wasm_bindgen::reason(module) {
            return Err(reason);
        }
        ComponentEncoder::default()
            .validate(true)
            .module(module)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| format!("{error:#}"))
    },
};

/// Makes a component of a core module that carries its world, as wit-bindgen
/// leaves it.
pub fn componentize(module: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes = InputFile::open_given(module)
        .and_then(|opened| opened.read_to_limit(component_limit()))
        .map_err(|error| BuildError::File(module.to_owned(), error.into()))?;
    if !entail::policy::is_core_module(&bytes) {
        return Err(BuildError::NotACoreModule(module.to_owned()));
    }
    let bounds = JobLimits::of(&Limits::default(), Limits::CEILING.component_bytes);
    Sandbox::this_program()
        .run(COMPONENTIZE, &bytes, &bounds)
        .map_err(|error| BuildError::Encode(error.to_string()))
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
    /// None of a crate that lies on this machine.
    source: Option<String>,
    manifest_path: PathBuf,
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

/// The folders of the crates on this machine that a crate is built of, and the files of
/// its workspace.
fn local_sources(folder: &Path, manifest: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let Metadata {
        workspace_root,
        packages,
        resolve,
    } = metadata(folder, manifest, &["--filter-platform", TARGET])?;
    let mut sources: Vec<PathBuf> = ["Cargo.toml", "Cargo.lock"]
        .iter()
        .map(|name| workspace_root.join(name))
        .filter(|file| file.is_file())
        .collect();
    let resolve = resolve.ok_or_else(|| BuildError::Metadata(folder.to_owned()))?;
    let mut wanted: Vec<&str> = resolve.root.iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = wanted.pop() {
        let local = packages
            .iter()
            .find(|found| found.id == id && found.source.is_none());
        // What comes from a registry depends on nothing here.
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

fn compile(folder: &Path, manifest: &Path) -> Result<PathBuf, BuildError> {
    let root = metadata(folder, manifest, &["--no-deps"])?.workspace_root;
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
        .map_err(no_cargo)?;
    if !output.status.success() {
        return Err(match has_target() {
            Some(false) => BuildError::NoTarget,
            _ => BuildError::Compile(folder.to_owned()),
        });
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

fn metadata(folder: &Path, manifest: &Path, besides: &[&str]) -> Result<Metadata, BuildError> {
    let unreadable = || BuildError::Metadata(folder.to_owned());
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .args(besides)
        .stderr(Stdio::inherit())
        .output()
        .map_err(no_cargo)?;
    if !output.status.success() {
        return Err(unreadable());
    }
    serde_json::from_slice(&output.stdout).map_err(|_| unreadable())
}

/// Compiler flags that replace the paths of this machine.
fn mapped_paths(workspace_root: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut mapped = vec![(workspace_root.to_owned(), "/policy")];
    if let Some(cargo_home) = cargo_home {
        // The sources of dependencies lie in a folder that is named for where they were
        // fetched. Of several that fit, the last one counts.
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

/// Whether Rust can compile for the target; none, if it does not say.
fn has_target() -> Option<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(folder.trim_end()).is_dir())
}

fn no_cargo(error: std::io::Error) -> BuildError {
    BuildError::Tool {
        tool: "cargo",
        remedy: "install Rust: https://rustup.rs",
        error,
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
