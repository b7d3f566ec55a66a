//! Why a policy cannot be built.

use std::path::PathBuf;

use crate::contract::RUST_TARGET;

/// Why a policy cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A tool cannot be started.
    #[error("{tool} could not be started: {error}; {remedy}")]
    ToolNotFound {
        /// The program.
        tool: &'static str,
        /// How to install it.
        remedy: &'static str,
        /// The system's error.
        error: std::io::Error,
    },
    /// A tool failed. It has written the reason to standard error.
    #[error("{tool} failed in {directory}")]
    ToolFailed {
        /// The program.
        tool: &'static str,
        /// Where it ran.
        directory: PathBuf,
    },
    /// A directory has no project.
    #[error(
        "{0} is not a policy project: it has no Cargo.toml (Rust), package.json (JavaScript) or requirements.txt (Python)"
    )]
    NoProject(PathBuf),
    /// cargo cannot read the crate. It has written the reason to standard error.
    #[error("cargo could not read the crate {0}")]
    CargoMetadata(PathBuf),
    /// The crate does not compile. cargo has written the reason to standard error.
    #[error("the crate {0} does not compile for {RUST_TARGET}")]
    Compile(PathBuf),
    /// The standard library for the target is not installed.
    #[error("Rust cannot compile for {RUST_TARGET} yet; run: rustup target add {RUST_TARGET}")]
    TargetNotInstalled,
    /// The crate does not compile to a module.
    #[error(
        "the crate {0} does not produce a WebAssembly module; its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"
    )]
    NoModule(PathBuf),
    /// A JavaScript package does not name its main file.
    #[error("{0} needs a member \"main\", the file that exports resolver, settings and about")]
    NoMain(PathBuf),
    /// Reading or writing a file failed.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// A file is not a core module.
    #[error("{0} is not a core WebAssembly module in binary form")]
    NotACoreModule(PathBuf),
    /// The module cannot become a component.
    #[error("the module cannot become a component: {0}")]
    Encode(String),
}

impl BuildError {
    /// Returns a stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            BuildError::ToolNotFound { .. } => "tool-not-found",
            BuildError::ToolFailed { .. } => "tool-failed",
            BuildError::NoProject(_) => "no-project",
            BuildError::CargoMetadata(_) => "cargo-metadata",
            BuildError::Compile(_) => "compile",
            BuildError::TargetNotInstalled => "target-not-installed",
            BuildError::NoModule(_) => "no-module",
            BuildError::NoMain(_) => "no-main",
            BuildError::File(..) => "io",
            BuildError::NotACoreModule(_) => "not-a-core-module",
            BuildError::Encode(_) => "encode",
        }
    }
}
