//! Runs the tools of JavaScript and Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use entail::store::InputFile;

use super::error::BuildError;
use crate::contract::CONTRACT;
use crate::source::component_limit;

/// Where a tool reads the contract, and where it writes the component.
pub(super) struct ToolFiles {
    pub(super) contract: PathBuf,
    pub(super) component: PathBuf,
}

impl ToolFiles {
    /// Uses the contract of the project if it has a copy, else the newest one.
    pub(super) fn new(project: &Path, scratch: &Path) -> Result<Self, BuildError> {
        let own = project.join("wit");
        let contract = if own.is_dir() {
            std::path::absolute(&own).map_err(|error| BuildError::File(own, error))?
        } else {
            let copy = scratch.join("policy.wit");
            std::fs::write(&copy, CONTRACT)
                .map_err(|error| BuildError::File(copy.clone(), error))?;
            copy
        };
        Ok(ToolFiles {
            contract,
            component: scratch.join("policy.wasm"),
        })
    }

    /// Reads the component that the tool wrote.
    pub(super) fn read_component(self) -> Result<Vec<u8>, BuildError> {
        InputFile::open_regular(&self.component)
            .and_then(|opened| opened.read_to_limit(component_limit()))
            .map_err(|error| BuildError::File(self.component, error.into()))
    }
}

/// Returns the absolute path of a file of the project. Tools run in the project's
/// directory, where a relative path would mean something else.
pub(super) fn in_project(directory: &Path, path: impl AsRef<Path>) -> Result<PathBuf, BuildError> {
    let path = directory.join(path);
    std::path::absolute(&path).map_err(|error| BuildError::File(path, error))
}

/// Runs a program in `directory`. Its standard output is discarded; its standard error is
/// inherited.
pub(super) fn run(
    tool: &'static str,
    remedy: &'static str,
    mut command: Command,
    directory: &Path,
) -> Result<(), BuildError> {
    let status = command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| BuildError::ToolNotFound {
            tool,
            remedy,
            error,
        })?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::ToolFailed {
        tool,
        directory: directory.to_owned(),
    })
}
