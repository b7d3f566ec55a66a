//! Builds policies in JavaScript with jco, which runs them on QuickJS.

use std::path::Path;
use std::process::Command;

use entail::store::InputFile;
use entail_text::strict;
use serde::Deserialize;

use super::error::BuildError;
use super::metadata::ComponentMetadata;
use super::tool::{ToolFiles, in_project, run};
use crate::contract::WORLD;

/// The manifest of a JavaScript package.
pub(super) const MANIFEST: &str = "package.json";

/// The longest manifest; people write them by hand.
const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The program that makes a component of JavaScript, in the directory of a package.
const JCO: &str = "node_modules/.bin/jco";

#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    license: Option<String>,
    main: Option<String>,
}

pub(super) fn build(
    directory: &Path,
    scratch: &Path,
) -> Result<(Vec<u8>, ComponentMetadata), BuildError> {
    let path = directory.join(MANIFEST);
    let failed = |error| BuildError::File(path.clone(), error);
    let text = InputFile::open_regular(&path)
        .and_then(|opened| opened.read_to_limit(MAX_MANIFEST_BYTES))
        .map_err(|error| failed(error.into()))?;
    let manifest: Manifest = strict::from_slice(&text).map_err(|error| failed(error.into()))?;
    let main = manifest
        .main
        .ok_or_else(|| BuildError::NoMain(path.clone()))?;
    install_tools(directory)?;
    let files = ToolFiles::new(directory, scratch)?;
    let mut jco = Command::new(in_project(directory, JCO)?);
    jco.arg("componentize")
        // jco resolves a relative path against another directory.
        .arg(in_project(directory, main)?)
        .arg("--cwd")
        .arg(in_project(directory, "")?)
        .arg("--wit")
        .arg(&files.contract)
        .args(["--world-name", WORLD])
        .args(["--backend", "qjs", "--backend-qjs-stub-wasi"])
        .arg("--backend-qjs-disable-async")
        .arg("--out")
        .arg(&files.component);
    run("jco", "install Node.js, which runs it", jco, directory)?;
    let metadata = ComponentMetadata {
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        licenses: manifest.license,
    };
    Ok((files.read_component()?, metadata))
}

fn install_tools(directory: &Path) -> Result<(), BuildError> {
    if directory.join(JCO).exists() {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    // With a lock file everybody builds with the same versions.
    let has_lock = directory.join("package-lock.json").is_file();
    npm.arg(if has_lock { "ci" } else { "install" });
    npm.args(["--no-audit", "--no-fund", "--loglevel", "error"]);
    run("npm", "install Node.js, which has npm", npm, directory)
}
