//! Builds policies in Python with componentize-py, which runs them on CPython.

use std::io;
use std::path::Path;
use std::process::Command;

use entail::store::InputFile;
use serde::Deserialize;

use super::error::BuildError;
use super::metadata::ComponentMetadata;
use super::tool::{ToolFiles, in_project, run};
use crate::contract::WORLD;

/// The file that lists the packages of a Python program.
pub(super) const MANIFEST: &str = "requirements.txt";

/// The virtual environment of a Python program, and programs in it.
const ENVIRONMENT: &str = ".venv";
const ENVIRONMENT_PYTHON: &str = ".venv/bin/python";
const COMPONENTIZE_PY: &str = ".venv/bin/componentize-py";

/// The main module of a Python policy, and the directory it is in.
const MAIN_MODULE: &str = "main";
const SOURCE_DIRECTORY: &str = "src";

/// How to install Python.
const REMEDY: &str = "install Python 3.9 or later, with venv and pip";

/// The manifest of a Python project, for its metadata. A policy needs none.
const PROJECT: &str = "pyproject.toml";

/// The longest manifest; people write them by hand.
const MAX_PROJECT_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct PyProject {
    #[serde(default)]
    project: ProjectTable,
}

#[derive(Default, Deserialize)]
struct ProjectTable {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    /// An SPDX expression; tables, the older form, have no place in a component.
    license: Option<toml::Value>,
}

pub(super) fn build(
    directory: &Path,
    scratch: &Path,
) -> Result<(Vec<u8>, ComponentMetadata), BuildError> {
    let metadata = read_metadata(directory)?;
    install_tools(directory)?;
    let files = ToolFiles::new(directory, scratch)?;
    let mut componentize = Command::new(in_project(directory, COMPONENTIZE_PY)?);
    componentize
        .env("VIRTUAL_ENV", in_project(directory, ENVIRONMENT)?)
        .arg("--quiet")
        .arg("--wit-path")
        .arg(&files.contract)
        .args(["--world", WORLD, "componentize", "--stub-wasi"])
        .args(["--python-path", SOURCE_DIRECTORY])
        .arg("--output")
        .arg(&files.component)
        .arg(MAIN_MODULE);
    run("componentize-py", REMEDY, componentize, directory)?;
    Ok((files.read_component()?, metadata))
}

/// Reads `pyproject.toml`, if there is one.
fn read_metadata(directory: &Path) -> Result<ComponentMetadata, BuildError> {
    let path = directory.join(PROJECT);
    if !path.exists() {
        return Ok(ComponentMetadata::default());
    }
    let failed = |error| BuildError::File(path.clone(), error);
    let text = InputFile::open_regular(&path)
        .and_then(|opened| opened.read_to_limit(MAX_PROJECT_BYTES))
        .map_err(|error| failed(error.into()))?;
    let PyProject { project } =
        toml::from_slice(&text).map_err(|error| failed(io::Error::other(error)))?;
    Ok(ComponentMetadata {
        name: project.name,
        version: project.version,
        description: project.description,
        licenses: project
            .license
            .and_then(|license| license.as_str().map(str::to_owned)),
    })
}

fn install_tools(directory: &Path) -> Result<(), BuildError> {
    if directory.join(COMPONENTIZE_PY).exists() {
        return Ok(());
    }
    let mut python = Command::new("python3");
    python.args(["-m", "venv", ENVIRONMENT]);
    run("python3", REMEDY, python, directory)?;
    let mut pip = Command::new(in_project(directory, ENVIRONMENT_PYTHON)?);
    pip.args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .args(["--requirement", MANIFEST]);
    run("pip", REMEDY, pip, directory)
}
