//! The steps by which a program changes a directory.

use std::ffi::{OsStr, OsString};

/// Identifies a file or directory independently of its name, like an inode number.
pub(super) type Node = usize;

/// The recorded directory.
pub(super) const ROOT: Node = 0;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) directory: Node,
    pub(super) name: OsString,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// One step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Write {
        file: Node,
        offset: usize,
        bytes: Vec<u8>,
    },
    /// Truncates the file, or extends it with zeros.
    Resize {
        file: Node,
        length: usize,
    },
    /// Syncs the effects before this index: those before the sync began.
    Sync {
        node: Node,
        before: usize,
    },
    Mode {
        node: Node,
        mode: u32,
    },
    Create {
        place: Place,
        node: Node,
        kind: Kind,
        mode: u32,
    },
    Link {
        place: Place,
        node: Node,
    },
    Remove(Place),
    Rename {
        from: Place,
        to: Place,
        node: Node,
    },
    Acknowledge(String),
}

impl Effect {
    /// Whether it changes names in this directory.
    pub(super) fn renames_in(&self, directory: Node) -> bool {
        match self {
            Effect::Create { place, .. } | Effect::Link { place, .. } | Effect::Remove(place) => {
                place.directory == directory
            }
            Effect::Rename { from, to, .. } => {
                from.directory == directory || to.directory == directory
            }
            _ => false,
        }
    }

    /// The cost of applying it, in bytes.
    pub(super) fn cost(&self) -> usize {
        match self {
            Effect::Write { bytes, .. } => bytes.len(),
            _ => 1,
        }
    }

    pub(super) fn describe(&self) -> String {
        let shown = |name: &OsStr| name.to_string_lossy().into_owned();
        match self {
            Effect::Write {
                file,
                offset,
                bytes,
            } => format!("{} bytes at {offset} of file {file}", bytes.len()),
            Effect::Resize { file, length } => format!("file {file} has {length} bytes"),
            Effect::Sync { node, .. } => format!("sync of {node}"),
            Effect::Mode { node, mode } => format!("mode {mode:o} of {node}"),
            Effect::Create { place, node, .. } => {
                format!("{} is created as {node}", shown(&place.name))
            }
            Effect::Link { place, node } => format!("{} is linked to {node}", shown(&place.name)),
            Effect::Remove(place) => format!("{} is removed", shown(&place.name)),
            Effect::Rename { from, to, node } => {
                format!("{node} is {}, was {}", shown(&to.name), shown(&from.name))
            }
            Effect::Acknowledge(line) => format!("acknowledged: {line}"),
        }
    }
}
