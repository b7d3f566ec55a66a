//! Builds policies: a component from a Rust crate, a JavaScript package or a Python
//! program, with the tools of its language.
//!
//! A Rust crate is compiled to a core module, which becomes a component here. The same
//! sources and the same toolchain give the same bytes in any directory: the profile is
//! fixed, and paths of the machine are removed. `.ci/run` compares the committed component
//! with a fresh build.
//!
//! JavaScript and Python include their interpreter, and a policy has no system to call:
//! every system call becomes a trap. Their tools are installed in the project's directory
//! if they are missing.
//!
//! The tools write their errors to this process's standard error.

mod componentize;
mod error;
mod javascript;
mod metadata;
mod python;
mod rust;
mod tool;
mod wasm_bindgen;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use entail::policy::{PolicyDigest, Sandbox};

pub use self::componentize::COMPONENTIZE;
pub use self::error::BuildError;
pub use self::metadata::ADD_METADATA;
use crate::record::{self, Outdated};

/// What a build needs from its caller.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions<'a> {
    /// Runs [`COMPONENTIZE`].
    pub sandbox: &'a Sandbox,
    /// A directory for intermediate files that only the caller can enter.
    pub scratch: &'a Path,
}

/// A component that was built.
#[derive(Debug)]
pub struct BuiltComponent {
    /// The component.
    pub bytes: Vec<u8>,
    sources: Sources,
}

/// The sources of a build.
#[derive(Debug)]
struct Sources {
    directory: PathBuf,
    /// Relative to `directory`.
    roots: Vec<PathBuf>,
    /// The digests before the build; an error if a source cannot be read.
    before: Result<BTreeMap<String, PolicyDigest>, Outdated>,
}

/// What became of the record of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was written.
    Written,
    /// The component is not in the directory of its sources, so it has no record.
    NotNeeded,
    /// It was not written, because the sources cannot all be read.
    SourcesUnreadable,
}

/// Builds the policy in `directory`.
///
/// # Errors
///
/// [`BuildError`].
pub fn build(directory: &Path, options: BuildOptions<'_>) -> Result<BuiltComponent, BuildError> {
    let manifest = directory.join("Cargo.toml");
    let is_crate = manifest.is_file();
    let roots = if is_crate {
        rust::source_roots(directory, &manifest)?
    } else {
        vec![PathBuf::from(".")]
    };
    let before = record::digest_sources(directory, &roots);
    let (bytes, metadata) = if is_crate {
        let (module, metadata) = rust::compile(directory, &manifest)?;
        let bytes = componentize::componentize(&module, options.sandbox)?;
        (bytes, metadata)
    } else if directory.join(javascript::MANIFEST).is_file() {
        javascript::build(directory, options.scratch)?
    } else if directory.join(python::MANIFEST).is_file() {
        python::build(directory, options.scratch)?
    } else {
        return Err(BuildError::NoProject(directory.to_owned()));
    };
    Ok(BuiltComponent {
        bytes: metadata::add_metadata(bytes, &metadata, options.sandbox)?,
        sources: Sources {
            directory: directory.to_owned(),
            roots,
            before,
        },
    })
}

/// Makes a component of a core module that carries its world, as wit-bindgen writes it.
///
/// # Errors
///
/// [`BuildError::File`], [`BuildError::NotACoreModule`], [`BuildError::Encode`].
pub fn componentize_module(module: &Path, sandbox: &Sandbox) -> Result<Vec<u8>, BuildError> {
    componentize::componentize(module, sandbox)
}

impl BuiltComponent {
    /// Records that the component in `file` was built from these sources. A source that
    /// changed during the build is recorded as it was before, so that the component counts
    /// as outdated.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be written.
    pub fn record(&self, file: &Path) -> std::io::Result<Recorded> {
        let Sources {
            directory,
            roots,
            before,
        } = &self.sources;
        if !is_in_directory(file, directory) {
            return Ok(Recorded::NotNeeded);
        }
        let after = record::digest_sources(directory, roots);
        let (Ok(before), Ok(mut sources)) = (before, after) else {
            return Ok(Recorded::SourcesUnreadable);
        };
        sources.extend(before.iter().map(|(name, digest)| (name.clone(), *digest)));
        record::write(directory, file, &self.bytes, roots.clone(), sources)?;
        Ok(Recorded::Written)
    }
}

/// Returns whether a file is in a directory, or will be.
pub fn is_in_directory(file: &Path, directory: &Path) -> bool {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let canonical = |path: &Path| path.canonicalize().ok();
    canonical(parent).is_some_and(|parent| Some(parent) == canonical(directory))
}
