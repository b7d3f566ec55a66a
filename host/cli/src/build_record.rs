//! What a component was built of, so that nobody takes an old one for what the sources
//! say now.
//!
//! `policy build` writes a record beside the component that it makes: the component's
//! digest, and the digest of each source. The record goes when a build begins, and comes
//! back when it has succeeded; so what a failed build left behind has none. Times of files
//! play no part: a checkout and a copy have any.
//!
//! # Security
//!
//! The record is a note of the author's, in the author's folder. It proves nothing to
//! anybody else, and nobody else asks for it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component as Part, Path, PathBuf};

use entail::policy::PolicyDigest;
use entail::store::InputFile;
use serde::{Deserialize, Serialize};

use crate::failure::shown;

/// The record, in the folder of the policy.
const FILE: &str = ".entail-build.json";

/// The longest record: a line for each source.
const MAX_RECORD_BYTES: usize = 4 << 20;

/// The most sources, and the longest: a policy has a few dozen files of some kilobytes.
const MAX_SOURCES: usize = 10_000;
const MAX_SOURCE_BYTES: usize = 16 << 20;

/// Files by which a folder shows that a policy is built in it.
const PROJECTS: [&str; 3] = ["Cargo.toml", "package.json", "requirements.txt"];

/// What lies in a policy's folder and is no source of the component: what tools make, and
/// what is read when the component is tried.
const NO_SOURCES: [&str; 5] = [
    "target",
    "node_modules",
    "__pycache__",
    "vectors",
    "limits.json",
];

/// The one hidden folder that tools read.
const HIDDEN_SOURCE: &str = ".cargo";

/// What a build noted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRecord {
    /// The name of the component's file.
    file: String,
    /// Its digest.
    component: PolicyDigest,
    /// Files and folders that it was built of, as seen from the folder of the policy.
    roots: Vec<PathBuf>,
    /// The digest of each source.
    sources: BTreeMap<String, PolicyDigest>,
}

/// What is known of a component that lies in the folder of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// It is what the sources give.
    OfItsSources,
    /// There are sources, and nothing says whether it is of them.
    Unknown,
    /// There are no sources.
    Elsewhere,
}

/// Why a component is not what its sources give.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    /// A source is another one.
    #[error("{0} has changed since")]
    Changed(String),
    /// A source is new.
    #[error("{0} is new since")]
    Added(String),
    /// A source is gone.
    #[error("{0} has gone since")]
    Gone(String),
    /// The component is another one.
    #[error("the file is another one than was built")]
    Replaced,
    /// The sources cannot be read.
    #[error("{name} cannot be read: {error}")]
    Unreadable {
        /// Which one.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// There are too many.
    #[error("there are more than {MAX_SOURCES} sources")]
    TooMany,
}

/// Forgets what was built in a folder: whatever lies there may be of other sources.
pub fn forget(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Digests of the sources below `roots`, which are seen from `folder`.
pub fn sources(folder: &Path, roots: &[PathBuf]) -> Result<BTreeMap<String, PolicyDigest>, Stale> {
    let mut found = BTreeMap::new();
    for root in roots {
        collect(folder, root, &mut found)?;
    }
    Ok(found)
}

/// Notes that `component`, in `file`, was built of these sources.
pub fn write(
    folder: &Path,
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
    std::fs::write(folder.join(FILE), text)
}

/// Says whether a component is what the sources beside it give.
///
/// # Errors
///
/// [`Stale`] if it is not.
pub fn check(file: &Path, component: &[u8]) -> Result<Built, Stale> {
    let folder = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(Built::Elsewhere),
    };
    if !PROJECTS.iter().any(|name| folder.join(name).is_file()) {
        return Ok(Built::Elsewhere);
    }
    let Some(record) = read(folder).filter(|record| record.file == name_of(file)) else {
        return Ok(Built::Unknown);
    };
    if record.component != PolicyDigest::of(component) {
        return Err(Stale::Replaced);
    }
    let now = sources(folder, &record.roots)?;
    for (name, digest) in &record.sources {
        match now.get(name) {
            None => return Err(Stale::Gone(name.clone())),
            Some(found) if found != digest => return Err(Stale::Changed(name.clone())),
            Some(_) => {}
        }
    }
    match now.keys().find(|name| !record.sources.contains_key(*name)) {
        Some(name) => Err(Stale::Added(name.clone())),
        None => Ok(Built::OfItsSources),
    }
}

/// The record of a folder. One that is none says nothing.
fn read(folder: &Path) -> Option<BuildRecord> {
    let text = InputFile::open_regular(&folder.join(FILE))
        .and_then(|opened| opened.read_to_limit(MAX_RECORD_BYTES))
        .ok()?;
    serde_json::from_slice(&text).ok()
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn collect(
    folder: &Path,
    path: &Path,
    found: &mut BTreeMap<String, PolicyDigest>,
) -> Result<(), Stale> {
    let whole = folder.join(path);
    let unreadable = |error: std::io::Error| Stale::Unreadable {
        name: shown(&whole),
        error,
    };
    if found.len() >= MAX_SOURCES {
        return Err(Stale::TooMany);
    }
    let metadata = std::fs::symlink_metadata(&whole).map_err(unreadable)?;
    if !metadata.is_dir() {
        // A link to a folder is not followed: it may lead around in a circle.
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
            collect(folder, &plain_join(path, Path::new(&name)), found)?;
        }
    }
    Ok(())
}

/// `a/b` of `a` and `b`; `b` of `.` and `b`.
fn plain_join(path: &Path, name: &Path) -> PathBuf {
    let parts = path.components().filter(|part| *part != Part::CurDir);
    parts.collect::<PathBuf>().join(name)
}

fn is_source(name: &Path) -> bool {
    let text = name.to_string_lossy();
    let is_hidden = text.starts_with('.') && text != HIDDEN_SOURCE;
    let is_component = name.extension().is_some_and(|found| found == "wasm");
    !is_hidden && !is_component && !NO_SOURCES.contains(&text.as_ref())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test may
mod tests {
    use super::*;

    #[test]
    fn a_component_is_known_by_its_sources_and_its_own_digest() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let write_file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let file = folder.join("mine.wasm");
        let checked = || check(&file, b"component").map_err(|stale| stale.to_string());
        assert_eq!(checked(), Ok(Built::Elsewhere));
        write_file("package.json", "{}");
        write_file("src/main.js", "one");
        assert_eq!(checked(), Ok(Built::Unknown));
        let roots = vec![PathBuf::from(".")];
        let note = || {
            let sources = sources(folder, &roots).unwrap();
            write(folder, &file, b"component", roots.clone(), sources).unwrap();
        };
        note();
        assert_eq!(checked(), Ok(Built::OfItsSources));
        // What tools make, what is tried, and what is hidden is no source.
        write_file("node_modules/a/index.js", "tool");
        write_file("vectors/one.json", "[]");
        write_file("limits.json", "{}");
        write_file(".notes", "mine");
        assert_eq!(checked(), Ok(Built::OfItsSources));
        write_file("src/main.js", "two");
        assert_eq!(checked(), Err("src/main.js has changed since".to_owned()));
        note();
        write_file("src/more.js", "three");
        assert_eq!(checked(), Err("src/more.js is new since".to_owned()));
        note();
        std::fs::remove_file(folder.join("src/more.js")).unwrap();
        assert_eq!(checked(), Err("src/more.js has gone since".to_owned()));
        note();
        assert!(matches!(check(&file, b"other"), Err(Stale::Replaced)));
        forget(folder).unwrap();
        forget(folder).unwrap();
        assert_eq!(checked(), Ok(Built::Unknown));
    }
}
