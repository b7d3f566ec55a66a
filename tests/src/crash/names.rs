//! The names of nodes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::effect::{Effect, Kind, Node, Place, ROOT};

/// The names in every directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<Node, BTreeMap<OsString, Node>>);

impl Names {
    /// Applies an effect. Ignores those that do not change names.
    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Create {
                place, node, kind, ..
            } => {
                self.insert(place, *node);
                if *kind == Kind::Directory {
                    self.0.entry(*node).or_default();
                }
            }
            Effect::Link { place, node } => self.insert(place, *node),
            Effect::Remove(place) => self.remove(place),
            Effect::Rename { from, to, node } => {
                // If an earlier change was lost, the name may belong to another node.
                if self.get(from) == Some(*node) {
                    self.remove(from);
                }
                self.insert(to, *node);
            }
            _ => {}
        }
    }

    fn insert(&mut self, place: &Place, node: Node) {
        let names = self.0.entry(place.directory).or_default();
        names.insert(place.name.clone(), node);
    }

    fn remove(&mut self, place: &Place) {
        if let Some(names) = self.0.get_mut(&place.directory) {
            names.remove(&place.name);
        }
    }

    pub(super) fn get(&self, place: &Place) -> Option<Node> {
        self.0.get(&place.directory)?.get(&place.name).copied()
    }

    /// The node of a path relative to the recorded directory.
    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        path.iter().try_fold(ROOT, |directory, name| {
            self.0.get(&directory)?.get(name).copied()
        })
    }

    /// The directory and name of a path, which need not exist.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        Some(Place {
            directory: self.find(path.parent()?)?,
            name: path.file_name()?.to_owned(),
        })
    }

    pub(super) fn entries(&self, directory: Node) -> impl Iterator<Item = (&OsStr, Node)> {
        self.0
            .get(&directory)
            .into_iter()
            .flatten()
            .map(|(name, node)| (name.as_os_str(), *node))
    }
}
