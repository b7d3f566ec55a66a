//! A simulated disk: what is durable, and what is written but not synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::{Chance, Survival};
use super::effect::{Effect, Kind, Node, ROOT};
use super::image::{Entry, Image};
use super::names::Names;

/// A disk after some of the effects of a recording. Effects are referenced by index, so
/// that cloning a disk is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    names: Names,
    /// The name changes since the first unsynced one, in order.
    changes: Vec<Change>,
    /// Name changes before this effect survive on a file system where syncing a new file also
    /// makes its name durable.
    journaled: usize,
    files: BTreeMap<Node, Contents>,
    modes: BTreeMap<Node, u32>,
}

#[derive(Clone, Debug)]
struct Change {
    effect: usize,
    synced: bool,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    synced: Arc<Vec<u8>>,
    /// The writes and length changes since the last sync.
    unsynced: Vec<usize>,
}

impl Disk {
    /// A disk with the contents of an image.
    pub(super) fn new(image: &Image) -> Self {
        let mut disk = Disk::default();
        disk.modes.insert(ROOT, image.mode);
        for (node, (place, entry)) in image.placed().into_iter().enumerate() {
            let node = node + 1;
            disk.modes.insert(node, entry.mode);
            let kind = match &entry.contents {
                None => Kind::Directory,
                Some(contents) => {
                    let synced = Arc::clone(contents);
                    let unsynced = Vec::new();
                    disk.files.insert(node, Contents { synced, unsynced });
                    Kind::File
                }
            };
            disk.names.apply(&Effect::Create {
                place,
                node,
                kind,
                mode: entry.mode,
            });
        }
        disk
    }

    /// The number of bytes on the disk.
    pub(super) fn size(&self) -> usize {
        self.files.values().map(|file| file.synced.len()).sum()
    }

    /// Applies the next effect. Each effect must be applied once, in order.
    pub(super) fn apply(&mut self, index: usize, effects: &[Effect]) {
        let Some(effect) = effects.get(index) else {
            return;
        };
        match effect {
            Effect::Write { file, .. } | Effect::Resize { file, .. } => {
                self.files.entry(*file).or_default().unsynced.push(index);
            }
            Effect::Sync { node, before } => self.sync(*node, *before, effects),
            Effect::Mode { node, mode } => {
                self.modes.insert(*node, *mode);
            }
            Effect::Create {
                node, kind, mode, ..
            } => {
                self.modes.insert(*node, *mode);
                if *kind == Kind::File {
                    self.files.insert(*node, Contents::default());
                }
                self.change_names(index);
            }
            Effect::Link { .. } | Effect::Remove(_) | Effect::Rename { .. } => {
                self.change_names(index);
            }
            Effect::Acknowledge(_) => {}
        }
    }

    fn change_names(&mut self, effect: usize) {
        self.changes.push(Change {
            effect,
            synced: false,
        });
    }

    fn sync(&mut self, node: Node, before: usize, effects: &[Effect]) {
        if let Some(file) = self.files.get_mut(&node) {
            file.sync(before, effects);
        }
        if self.is_new(node, before, effects) {
            self.journaled = self.journaled.max(before);
        }
        for change in &mut self.changes {
            let renames = effects
                .get(change.effect)
                .is_some_and(|effect| effect.renames_in(node));
            change.synced |= renames && change.effect < before;
        }
        self.apply_synced(effects);
    }

    fn is_new(&self, node: Node, before: usize, effects: &[Effect]) -> bool {
        self.changes
            .iter()
            .filter(|change| change.effect < before)
            .filter_map(|change| effects.get(change.effect))
            .any(
                |effect| matches!(effect, Effect::Create { node: created, .. } if *created == node),
            )
    }

    /// Applies the synced name changes that no unsynced one precedes.
    fn apply_synced(&mut self, effects: &[Effect]) {
        let synced = self
            .changes
            .iter()
            .position(|change| !change.synced)
            .unwrap_or(self.changes.len());
        for change in self.changes.drain(..synced) {
            if let Some(effect) = effects.get(change.effect) {
                self.names.apply(effect);
            }
        }
    }

    /// The image after a power loss.
    pub(super) fn survivors(&self, effects: &[Effect], chance: &mut Chance) -> Image {
        let names = self.surviving_names(effects, chance);
        let mut image = Image {
            mode: self.mode(ROOT),
            entries: BTreeMap::new(),
        };
        let mut directories = vec![(ROOT, std::path::PathBuf::new())];
        while let Some((directory, path)) = directories.pop() {
            for (name, node) in names.entries(directory) {
                let path = path.join(name);
                let contents = self
                    .files
                    .get(&node)
                    .map(|file| file.survivors(effects, chance));
                if contents.is_none() {
                    directories.push((node, path.clone()));
                }
                let mode = self.mode(node);
                image.entries.insert(path, Entry { mode, contents });
            }
        }
        image
    }

    fn mode(&self, node: Node) -> u32 {
        self.modes.get(&node).copied().unwrap_or_default()
    }

    fn surviving_names(&self, effects: &[Effect], chance: &mut Chance) -> Names {
        let journaled = if chance.sync_keeps_new_name() {
            self.journaled
        } else {
            0
        };
        let unsynced = self.changes.iter().filter(|change| !change.synced).count();
        let mut survivors = chance.changes_to_names(unsynced);
        let mut names = self.names.clone();
        for change in &self.changes {
            let mut survives = change.synced || change.effect < journaled;
            if !change.synced && survivors > 0 {
                survivors -= 1;
                survives = true;
            }
            if let Some(effect) = effects.get(change.effect)
                && survives
            {
                names.apply(effect);
            }
        }
        names
    }
}

impl Contents {
    fn sync(&mut self, before: usize, effects: &[Effect]) {
        // Effects are ordered by index.
        let synced = self.unsynced.partition_point(|effect| *effect < before);
        if synced == 0 {
            return;
        }
        let bytes = Arc::make_mut(&mut self.synced);
        for effect in self.unsynced.drain(..synced) {
            match effects.get(effect) {
                Some(Effect::Write {
                    offset,
                    bytes: written,
                    ..
                }) => write(bytes, *offset, written),
                Some(Effect::Resize { length, .. }) => bytes.resize(*length, 0),
                _ => {}
            }
        }
    }

    fn survivors(&self, effects: &[Effect], chance: &mut Chance) -> Arc<Vec<u8>> {
        let mut synced = Arc::clone(&self.synced);
        if self.unsynced.is_empty() {
            return synced;
        }
        let bytes = Arc::make_mut(&mut synced);
        for effect in &self.unsynced {
            match effects.get(*effect) {
                Some(Effect::Write {
                    offset,
                    bytes: written,
                    ..
                }) => write_survivors(bytes, *offset, written, chance),
                Some(Effect::Resize { length, .. }) if chance.resize() => bytes.resize(*length, 0),
                _ => {}
            }
        }
        synced
    }
}

fn write_survivors(bytes: &mut Vec<u8>, offset: usize, written: &[u8], chance: &mut Chance) {
    match chance.write(offset, written.len()) {
        Survival::Whole => write(bytes, offset, written),
        Survival::Lost => {}
        Survival::Length => lengthen(bytes, offset + written.len()),
        Survival::Part(part) => {
            if let Some(written) = written.get(part.clone()) {
                write(bytes, offset + part.start, written);
            }
        }
    }
}

/// Like the system, fills a gap with zeros.
fn write(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    lengthen(bytes, offset + written.len());
    if let Some(place) = bytes.get_mut(offset..offset + written.len()) {
        place.copy_from_slice(written);
    }
}

fn lengthen(bytes: &mut Vec<u8>, length: usize) {
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
}
