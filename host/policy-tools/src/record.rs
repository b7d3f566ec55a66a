//! The record of a build: the digests of a component and of the sources it was built from,
//! so that an old component is not tested against changed sources.
//!
//! A build removes the record when it begins and writes it when it has succeeded; so the
//! leftovers of a failed build have none. File times are ignored: checkouts and copies
//! change them.
//!
//! # Security
//!
//! The record is the author's note, in the author's directory. It proves nothing to
//! anybody else, and only the tools for authors read it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component as Part, Path, PathBuf};

use entail::policy::PolicyDigest;
use entail::store::InputFile;
use serde::{Deserialize, Serialize};

use crate::display::display_path;

/// The file name of the record, in the directory of the policy.
const FILE: &str = ".entail-build.json";

/// The longest record: it has a line for each source.
const MAX_RECORD_BYTES: usize = 4 << 20;

/// The most sources, and the longest: a policy has a few dozen files of some kilobytes.
const MAX_SOURCES: usize = 10_000;
const MAX_SOURCE_BYTES: usize = 16 << 20;

/// Files that mark the directory of a policy's sources.
const PROJECTS: [&str; 3] = ["Cargo.toml", "package.json", "requirements.txt"];

/// Entries that are not sources of the component: what tools create, and what is read when
/// the component is tested.
const NOT_SOURCES: [&str; 5] = [
    "target",
    "node_modules",
    "__pycache__",
    "vectors",
    "limits.json",
];

/// The only hidden directory that tools read.
const HIDDEN_SOURCE: &str = ".cargo";

/// The record of a build.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildRecord {
    /// The name of the component's file.
    file: String,
    /// Its digest.
    component: PolicyDigest,
    /// The files and directories it was built from, relative to the policy's directory.
    roots: Vec<PathBuf>,
    /// The digest of each source.
    sources: BTreeMap<String, PolicyDigest>,
}

/// Whether a component was built from the sources beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It was built from them.
    FromSources,
    /// There are sources, but no record of a build.
    Unknown,
    /// There are no sources beside it.
    NoSources,
}

/// Why a component does not match the sources beside it.
#[derive(Debug, thiserror::Error)]
pub enum Outdated {
    /// A source has changed.
    #[error("{0} has changed since")]
    Changed(String),
    /// A source is new.
    #[error("{0} is new since")]
    Added(String),
    /// A source was removed.
    #[error("{0} was removed since")]
    Removed(String),
    /// The component was replaced.
    #[error("the file is not the component that was built")]
    Replaced,
    /// The sources cannot be read.
    #[error("{name} cannot be read: {error}")]
    Unreadable {
        /// The source.
        name: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// There are too many.
    #[error("there are more than {MAX_SOURCES} sources")]
    TooMany,
}

/// Removes the record of a directory, if there is one.
///
/// # Errors
///
/// Fails if the system does not allow it.
pub fn remove(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the digests of the sources below `roots`, which are relative to `directory`.
pub(crate) fn digest_sources(
    directory: &Path,
    roots: &[PathBuf],
) -> Result<BTreeMap<String, PolicyDigest>, Outdated> {
    let mut found = BTreeMap::new();
    for root in roots {
        collect(directory, root, &mut found)?;
    }
    Ok(found)
}

/// Records that `component`, in `file`, was built from these sources.
pub(crate) fn write(
    directory: &Path,
    file: &Path,
    component: &[u8],
    roots: Vec<PathBuf>,
    sources: BTreeMap<String, PolicyDigest>,
) -> std::io::Result<()> {
    let record = BuildRecord {
        file: name_of(file),
        component: PolicyDigest::of(component),
        roots,
        sources,
    };
    let text = serde_json::to_vec_pretty(&record)?;
    std::fs::write(directory.join(FILE), text)
}

/// Returns whether a component was built from the sources beside it.
///
/// # Errors
///
/// Returns [`Outdated`] if it was built from other sources.
pub fn check(file: &Path, component: &[u8]) -> Result<Provenance, Outdated> {
    let directory = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(Provenance::NoSources),
    };
    if !PROJECTS.iter().any(|name| directory.join(name).is_file()) {
        return Ok(Provenance::NoSources);
    }
    let Some(record) = read(directory).filter(|record| record.file == name_of(file)) else {
        return Ok(Provenance::Unknown);
    };
    if record.component != PolicyDigest::of(component) {
        return Err(Outdated::Replaced);
    }
    let now = digest_sources(directory, &record.roots)?;
    for (name, digest) in &record.sources {
        match now.get(name) {
            None => return Err(Outdated::Removed(name.clone())),
            Some(found) if found != digest => return Err(Outdated::Changed(name.clone())),
            Some(_) => {}
        }
    }
    match now.keys().find(|name| !record.sources.contains_key(*name)) {
        Some(name) => Err(Outdated::Added(name.clone())),
        None => Ok(Provenance::FromSources),
    }
}

/// Reads the record of a directory; `None` if it is missing or malformed.
fn read(directory: &Path) -> Option<BuildRecord> {
    let text = InputFile::open_regular(&directory.join(FILE))
        .and_then(|opened| opened.read_to_limit(MAX_RECORD_BYTES))
        .ok()?;
    serde_json::from_slice(&text).ok()
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn collect(
    directory: &Path,
    path: &Path,
    found: &mut BTreeMap<String, PolicyDigest>,
) -> Result<(), Outdated> {
    let whole = directory.join(path);
    let unreadable = |error: std::io::Error| Outdated::Unreadable {
        name: display_path(&whole),
        error,
    };
    if found.len() >= MAX_SOURCES {
        return Err(Outdated::TooMany);
    }
    let metadata = std::fs::symlink_metadata(&whole).map_err(unreadable)?;
    if !metadata.is_dir() {
        // A link to a directory is not followed: it may form a loop.
        if metadata.is_symlink() && whole.is_dir() {
            return Ok(());
        }
        let bytes = InputFile::open_regular(&whole)
            .and_then(|opened| opened.read_to_limit(MAX_SOURCE_BYTES))
            .map_err(|error| unreadable(error.into()))?;
        found.insert(
            path.to_string_lossy().into_owned(),
            PolicyDigest::of(&bytes),
        );
        return Ok(());
    }
    for entry in std::fs::read_dir(&whole).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if is_source(Path::new(&name)) {
            collect(directory, &plain_join(path, Path::new(&name)), found)?;
        }
    }
    Ok(())
}

/// Joins `a` and `b` to `a/b`, and `.` and `b` to `b`.
fn plain_join(path: &Path, name: &Path) -> PathBuf {
    let parts = path.components().filter(|part| *part != Part::CurDir);
    parts.collect::<PathBuf>().join(name)
}

fn is_source(name: &Path) -> bool {
    let text = name.to_string_lossy();
    let is_hidden = text.starts_with('.') && text != HIDDEN_SOURCE;
    let is_component = name.extension().is_some_and(|found| found == "wasm");
    !is_hidden && !is_component && !NOT_SOURCES.contains(&text.as_ref())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // allowed in tests
mod tests {
    use super::*;

    #[test]
    fn a_record_matches_the_sources_and_the_component() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        let write_file = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let file = directory.join("mine.wasm");
        let checked = || check(&file, b"component").map_err(|outdated| outdated.to_string());
        assert_eq!(checked(), Ok(Provenance::NoSources));
        write_file("package.json", "{}");
        write_file("src/main.js", "one");
        assert_eq!(checked(), Ok(Provenance::Unknown));
        let roots = vec![PathBuf::from(".")];
        let record = || {
            let sources = digest_sources(directory, &roots).unwrap();
            write(directory, &file, b"component", roots.clone(), sources).unwrap();
        };
        record();
        assert_eq!(checked(), Ok(Provenance::FromSources));
        // Files of tools, test vectors and hidden files are not sources.
        write_file("node_modules/a/index.js", "tool");
        write_file("vectors/one.json", "[]");
        write_file("limits.json", "{}");
        write_file(".notes", "mine");
        assert_eq!(checked(), Ok(Provenance::FromSources));
        write_file("src/main.js", "two");
        assert_eq!(checked(), Err("src/main.js has changed since".to_owned()));
        record();
        write_file("src/more.js", "three");
        assert_eq!(checked(), Err("src/more.js is new since".to_owned()));
        record();
        std::fs::remove_file(directory.join("src/more.js")).unwrap();
        assert_eq!(checked(), Err("src/more.js was removed since".to_owned()));
        record();
        assert!(matches!(check(&file, b"other"), Err(Outdated::Replaced)));
        remove(directory).unwrap();
        remove(directory).unwrap();
        assert_eq!(checked(), Ok(Provenance::Unknown));
    }
}
