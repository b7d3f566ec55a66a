//! In-memory images of directories, read from a disk and written to one.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::effect::{Node, Place, ROOT};

/// The mode bits in an image.
const MODE: u32 = 0o7777;

/// A directory and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) mode: u32,
    /// By relative path; a directory comes before its contents.
    pub(super) entries: BTreeMap<PathBuf, Entry>,
}

/// A file, or a directory, which has no contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mode: u32,
    pub(super) contents: Option<Arc<Vec<u8>>>,
}

impl Image {
    /// The entries with their places. Nodes are numbered in this order, from 1.
    pub(super) fn placed(&self) -> Vec<(Place, &Entry)> {
        let mut nodes: BTreeMap<&Path, Node> = BTreeMap::from([(Path::new(""), ROOT)]);
        let mut placed = Vec::new();
        for (path, entry) in &self.entries {
            let directory = path.parent().and_then(|parent| nodes.get(parent));
            if let (Some(directory), Some(name)) = (directory, path.file_name()) {
                let place = Place {
                    directory: *directory,
                    name: name.to_owned(),
                };
                placed.push((place, entry));
                nodes.insert(path, placed.len());
            }
        }
        placed
    }

    /// A path at which the two images differ.
    pub(super) fn difference<'a>(&'a self, other: &'a Image) -> Option<&'a Path> {
        let paths = self.entries.keys().chain(other.entries.keys());
        paths
            .map(PathBuf::as_path)
            .find(|path| self.entries.get(*path) != other.entries.get(*path))
    }
}

/// Whether the path is SQLite's shared-memory file. It is written through a mapping, which
/// no trace shows, and has no meaning after the last process closed the database: SQLite
/// rebuilds it from the log.
pub(super) fn is_shared_memory(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"-shm")
}

/// Reads a directory, except SQLite's shared-memory file.
pub(super) fn read(directory: &Path) -> io::Result<Image> {
    let mut image = Image {
        mode: mode(&fs::metadata(directory)?),
        entries: BTreeMap::new(),
    };
    let mut directories = vec![PathBuf::new()];
    while let Some(parent) = directories.pop() {
        for entry in fs::read_dir(directory.join(&parent))? {
            let entry = entry?;
            let path = parent.join(entry.file_name());
            if is_shared_memory(&path) {
                continue;
            }
            let read = read_entry(&entry)?;
            if read.contents.is_none() {
                directories.push(path.clone());
            }
            image.entries.insert(path, read);
        }
    }
    Ok(image)
}

fn read_entry(entry: &DirEntry) -> io::Result<Entry> {
    let metadata = entry.metadata()?;
    let contents = if metadata.is_dir() {
        None
    } else if metadata.is_file() {
        Some(Arc::new(fs::read(entry.path())?))
    } else {
        return Err(io::Error::other(format!(
            "{} is neither a file nor a directory",
            entry.path().display()
        )));
    };
    Ok(Entry {
        mode: mode(&metadata),
        contents,
    })
}

fn mode(metadata: &fs::Metadata) -> u32 {
    metadata.permissions().mode() & MODE
}

/// Writes an image to a directory that is empty or does not exist.
pub(super) fn write(image: &Image, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    if fs::read_dir(into)?.next().is_some() {
        return Err(io::Error::other(format!("{} is not empty", into.display())));
    }
    for (path, entry) in &image.entries {
        let path = into.join(path);
        match &entry.contents {
            None => fs::create_dir(&path)?,
            Some(contents) => {
                fs::write(&path, contents.as_slice())?;
                fs::set_permissions(&path, Permissions::from_mode(entry.mode))?;
            }
        }
    }
    // Last, since a read-only directory allows no new files.
    for (path, entry) in image.entries.iter().rev() {
        if entry.contents.is_none() {
            fs::set_permissions(into.join(path), Permissions::from_mode(entry.mode))?;
        }
    }
    fs::set_permissions(into, Permissions::from_mode(image.mode))
}
