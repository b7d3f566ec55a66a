//! Builds policies in Python with componentize-py, which runs them on CPython.

use std::path::Path;
use std::process::Command;

use super::error::BuildError;
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

pub(super) fn build(directory: &Path, scratch: &Path) -> Result<Vec<u8>, BuildError> {
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
    files.read_component()
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
