//! Which names lead to which nodes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::effect::{Effect, Kind, Node, Place, ROOT};

/// The names in every folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<Node, BTreeMap<OsString, Node>>);

impl Names {
    /// Does nothing unless the effect is one on names.
    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Create {
                place, node, kind, ..
            } => {
                self.insert(place, *node);
                if *kind == Kind::Folder {
                    self.0.entry(*node).or_default();
                }
            }
            Effect::Link { place, node } => self.insert(place, *node),
            Effect::Remove(place) => self.remove(place),
            Effect::Rename { from, to, node } => {
                // Lost before, the name may be another's by now.
                if self.get(from) == Some(*node) {
                    self.remove(from);
                }
                self.insert(to, *node);
            }
            _ => {}
        }
    }

    fn insert(&mut self, place: &Place, node: Node) {
        let names = self.0.entry(place.folder).or_default();
        names.insert(place.name.clone(), node);
    }

    fn remove(&mut self, place: &Place) {
        if let Some(names) = self.0.get_mut(&place.folder) {
            names.remove(&place.name);
        }
    }

    pub(super) fn get(&self, place: &Place) -> Option<Node> {
        self.0.get(&place.folder)?.get(&place.name).copied()
    }

    /// What a path leads to, from the recorded folder.
    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        path.iter()
            .try_fold(ROOT, |folder, name| self.0.get(&folder)?.get(name).copied())
    }

    /// The folder and the name of a path, whether or not it leads to anything.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        Some(Place {
            folder: self.find(path.parent()?)?,
            name: path.file_name()?.to_owned(),
        })
    }

    pub(super) fn entries(&self, folder: Node) -> impl Iterator<Item = (&OsStr, Node)> {
        self.0
            .get(&folder)
            .into_iter()
            .flatten()
            .map(|(name, node)| (name.as_os_str(), *node))
    }
}
