//! Whole folders, in memory: read from a disk and written to one.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::effect::{Node, Place, ROOT};

/// The bits of a mode that are kept.
const MODE: u32 = 0o7777;

/// A folder and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) mode: u32,
    /// By the path from the folder; a folder comes before what it holds.
    pub(super) entries: BTreeMap<PathBuf, Entry>,
}

/// A file, or a folder, which has no contents of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mode: u32,
    pub(super) contents: Option<Arc<Vec<u8>>>,
}

impl Image {
    /// Its entries in their places, if they are numbered in this order from 1.
    pub(super) fn placed(&self) -> Vec<(Place, &Entry)> {
        let mut nodes: BTreeMap<&Path, Node> = BTreeMap::from([(Path::new(""), ROOT)]);
        let mut placed = Vec::new();
        for (path, entry) in &self.entries {
            let folder = path.parent().and_then(|parent| nodes.get(parent));
            if let (Some(folder), Some(name)) = (folder, path.file_name()) {
                let place = Place {
                    folder: *folder,
                    name: name.to_owned(),
                };
                placed.push((place, entry));
                nodes.insert(path, placed.len());
            }
        }
        placed
    }

    /// A path at which the two are not the same.
    pub(super) fn difference<'a>(&'a self, other: &'a Image) -> Option<&'a Path> {
        let paths = self.entries.keys().chain(other.entries.keys());
        paths
            .map(PathBuf::as_path)
            .find(|path| self.entries.get(*path) != other.entries.get(*path))
    }
}

/// SQLite's shared memory. It is written through a mapping, which no trace shows,
/// and means nothing once no process has it: SQLite makes it anew from the log.
pub(super) fn is_shared_memory(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"-shm")
}

/// Everything but SQLite's shared memory.
pub(super) fn read(folder: &Path) -> io::Result<Image> {
    let mut image = Image {
        mode: mode(&fs::metadata(folder)?),
        entries: BTreeMap::new(),
    };
    let mut folders = vec![PathBuf::new()];
    while let Some(parent) = folders.pop() {
        for entry in fs::read_dir(folder.join(&parent))? {
            let entry = entry?;
            let path = parent.join(entry.file_name());
            if is_shared_memory(&path) {
                continue;
            }
            let read = read_entry(&entry)?;
            if read.contents.is_none() {
                folders.push(path.clone());
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
            "{} is neither a file nor a folder",
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

/// Into a folder that is empty, or is not there yet.
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
    // Once nothing more is made in them, for they may be read-only.
    for (path, entry) in image.entries.iter().rev() {
        if entry.contents.is_none() {
            fs::set_permissions(into.join(path), Permissions::from_mode(entry.mode))?;
        }
    }
    fs::set_permissions(into, Permissions::from_mode(image.mode))
}
