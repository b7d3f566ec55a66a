//! The document tree: a hash tree over all documents.
//!
//! Every journal entry contains the root of the tree, so the newest entry fixes the newest
//! version of each document and the set of all documents. Every read is verified against
//! the tree. A document that was rolled back, deleted or added is found immediately,
//! without reading the journal.
//!
//! The place of a document is the SHA-256 of its kind and name, of which each level of the
//! tree uses four bits. A node has sixteen slots. A slot is empty, holds a document (its
//! place and the digest of its signed bytes), or holds the digest of the child node. Every
//! node except the root has at least two documents below it, so the shape depends only on
//! the set of documents, not on the order of changes.
//!
//! # Security
//!
//! A node is parsed only after its hash matched the digest in its parent, so only the
//! signer can have written it. The depth of a tree is bounded by the number of digits of a
//! digest.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::row::DocumentKey;
use crate::tampering::{Fault, Tampering};

/// The slots of a node: one per value of four bits.
const SLOTS: usize = 16;

/// The maximum depth: the number of digits of a digest.
pub(crate) const MAX_DEPTH: usize = 64;

/// The first byte of a node, so that a node cannot be confused with other hashed data.
const FORM: u8 = 1;

/// The digits that lead from the root to a node.
pub(crate) type Path = Vec<u8>;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Slot {
    #[default]
    Empty,
    Document {
        place: Digest,
        digest: Digest,
    },
    Node(Digest),
}

/// The documents and nodes below one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    slots: [Slot; SLOTS],
}

/// The part of a tree that was read, and the changes to it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Path, Node>,
    /// Nodes to write, or to delete if `None`.
    changed: BTreeMap<Path, Option<Vec<u8>>>,
}

/// The place of a document in the tree.
pub(crate) fn place(key: &DocumentKey) -> Digest {
    let DocumentKey { kind, name } = key;
    Digest::of(format!("{} {kind} {name}", kind.len()).as_bytes())
}

/// The digits of a place, from the root down.
fn digits(place: &Digest) -> impl Iterator<Item = u8> {
    place
        .as_bytes()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
}

/// The digit of a place that selects the slot at a level.
fn digit(place: &Digest, level: usize) -> u8 {
    digits(place).nth(level).unwrap_or_default()
}

/// The possible paths of the nodes above a document, from the root down.
pub(crate) fn paths(key: &DocumentKey) -> impl Iterator<Item = Path> {
    let digits: Path = digits(&place(key)).collect();
    (0..MAX_DEPTH).map(move |length| digits.iter().copied().take(length).collect())
}

/// Verifies a whole tree, given its nodes by path, and returns the places of all documents.
pub(crate) fn places(
    root: Digest,
    nodes: &BTreeMap<Path, Vec<u8>>,
) -> Result<BTreeSet<Digest>, Tampering> {
    let mut places = BTreeSet::new();
    // The root of an empty tree may be missing.
    if root == empty_root() {
        return Ok(places);
    }
    let mut below = vec![(Path::new(), root)];
    while let Some((path, digest)) = below.pop() {
        let Some(bytes) = nodes.get(&path) else {
            return Err(tampered("lacks a node"));
        };
        let node = Node::verify(bytes, digest)?;
        for (number, slot) in (0u8..).zip(node.slots) {
            match slot {
                Slot::Empty => {}
                Slot::Document { place, .. } => {
                    places.insert(place);
                }
                Slot::Node(digest) if path.len() < MAX_DEPTH => {
                    let path = path.iter().copied().chain([number]).collect();
                    below.push((path, digest));
                }
                Slot::Node(_) => return Err(tampered("is deeper than a tree can be")),
            }
        }
    }
    Ok(places)
}

fn tampered(reason: &str) -> Tampering {
    Tampering::new(Fault::Forged, "the document tree", reason)
}

/// The root of an empty tree.
pub(crate) fn empty_root() -> Digest {
    Digest::of(&Node::default().encode())
}

impl Node {
    fn slot(&self, digit: u8) -> Slot {
        self.slots
            .get(usize::from(digit))
            .copied()
            .unwrap_or_default()
    }

    fn set(&mut self, digit: u8, slot: Slot) {
        if let Some(place) = self.slots.get_mut(usize::from(digit)) {
            *place = slot;
        }
    }

    /// The slot that replaces this node in its parent if it holds fewer than two documents.
    fn collapsed(&self) -> Option<Slot> {
        let mut filled = self.slots.iter().filter(|slot| **slot != Slot::Empty);
        match (filled.next(), filled.next()) {
            (None, _) => Some(Slot::Empty),
            (Some(document @ Slot::Document { .. }), None) => Some(*document),
            _ => None,
        }
    }

    /// Encodes the node: `1`, then for each slot that is not empty, in order, its number (plus
    /// 16 for a child node), followed by the place and digest of the document or the digest of
    /// the child.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        for (number, slot) in (0u8..).zip(&self.slots) {
            match slot {
                Slot::Empty => {}
                Slot::Document { place, digest } => {
                    bytes.push(number);
                    bytes.extend_from_slice(place.as_bytes());
                    bytes.extend_from_slice(digest.as_bytes());
                }
                Slot::Node(digest) => {
                    bytes.push(number + 16);
                    bytes.extend_from_slice(digest.as_bytes());
                }
            }
        }
        bytes
    }

    /// Parses a node if it has the expected digest.
    fn verify(bytes: &[u8], expected: Digest) -> Result<Self, Tampering> {
        if Digest::of(bytes) != expected {
            return Err(tampered("has a node that does not match the journal"));
        }
        Node::decode(bytes).ok_or_else(|| tampered("has a malformed node"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut node = Node::default();
        let mut rest = bytes.strip_prefix(&[FORM])?;
        let mut next = 0;
        while let Some((tag, after)) = rest.split_first() {
            let number = tag & 15;
            if *tag >= 32 || number < next {
                return None;
            }
            next = number + 1;
            let (first, after) = after.split_first_chunk::<32>()?;
            let first = Digest::from(*first);
            let (slot, after) = if *tag >= 16 {
                (Slot::Node(first), after)
            } else {
                let (second, after) = after.split_first_chunk::<32>()?;
                let document = Slot::Document {
                    place: first,
                    digest: Digest::from(*second),
                };
                (document, after)
            };
            node.set(number, slot);
            rest = after;
        }
        Some(node)
    }
}

impl Tree {
    /// Builds the tree of `documents`.
    pub(crate) fn of<'a>(
        documents: impl IntoIterator<Item = (&'a DocumentKey, &'a Digest)>,
    ) -> Result<Self, Tampering> {
        let mut tree = Tree::default();
        tree.nodes.insert(Path::new(), Node::default());
        tree.changed
            .insert(Path::new(), Some(Node::default().encode()));
        for (key, digest) in documents {
            tree.set(key, Some(*digest))?;
        }
        Ok(tree)
    }

    /// Verifies and adds the nodes above a document, given from the root down. Returns the
    /// digest of the document, or `None` if the document does not exist.
    pub(crate) fn load(
        &mut self,
        root: Digest,
        key: &DocumentKey,
        nodes: &[Vec<u8>],
    ) -> Result<Option<Digest>, Tampering> {
        let target = place(key);
        let mut expected = root;
        for (path, bytes) in paths(key).zip(nodes) {
            let node = Node::verify(bytes, expected)?;
            let slot = node.slot(digit(&target, path.len()));
            self.nodes.insert(path, node);
            match slot {
                Slot::Empty => return Ok(None),
                Slot::Document { place, digest } => {
                    return Ok((place == target).then_some(digest));
                }
                Slot::Node(digest) => expected = digest,
            }
        }
        if nodes.is_empty() && root == empty_root() {
            self.nodes.insert(Path::new(), Node::default());
            return Ok(None);
        }
        Err(tampered("lacks a node"))
    }

    /// Sets the digest of a document that was loaded before, or removes the document. Returns
    /// the new root.
    pub(crate) fn set(
        &mut self,
        key: &DocumentKey,
        digest: Option<Digest>,
    ) -> Result<Digest, Tampering> {
        match self.set_below(Path::new(), place(key), digest)? {
            Slot::Node(root) => Ok(root),
            // Only a node below the root collapses.
            _ => Err(tampered("has no root")),
        }
    }

    /// Sets a document below the node at `path`. Returns the new value of the slot in its
    /// parent.
    fn set_below(
        &mut self,
        path: Path,
        place: Digest,
        digest: Option<Digest>,
    ) -> Result<Slot, Tampering> {
        let mut node = self
            .nodes
            .remove(&path)
            .ok_or_else(|| tampered("lacks a node"))?;
        let number = digit(&place, path.len());
        let below = || path.iter().copied().chain([number]).collect::<Path>();
        let document = digest.map_or(Slot::Empty, |digest| Slot::Document { place, digest });
        let slot = match node.slot(number) {
            Slot::Empty => document,
            Slot::Document { place: there, .. } if there == place => document,
            other @ Slot::Document { .. } if digest.is_none() => other,
            other @ Slot::Document { place: there, .. } => {
                let mut split = Node::default();
                split.set(digit(&there, path.len() + 1), other);
                self.nodes.insert(below(), split);
                self.set_below(below(), place, digest)?
            }
            Slot::Node(_) => self.set_below(below(), place, digest)?,
        };
        node.set(number, slot);
        if let Some(collapsed) = node.collapsed().filter(|_| !path.is_empty()) {
            self.changed.insert(path, None);
            return Ok(collapsed);
        }
        let bytes = node.encode();
        let digest = Digest::of(&bytes);
        self.nodes.insert(path.clone(), node);
        self.changed.insert(path, Some(bytes));
        Ok(Slot::Node(digest))
    }

    /// The nodes to write, and those to delete (`None`).
    pub(crate) fn into_changed(self) -> BTreeMap<Path, Option<Vec<u8>>> {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with its database.
    #[derive(Default)]
    struct TestDatabase {
        rows: BTreeMap<Path, Vec<u8>>,
        documents: BTreeMap<DocumentKey, Digest>,
    }

    impl TestDatabase {
        fn root(&self) -> Digest {
            self.rows
                .get(&Path::new())
                .map_or_else(empty_root, |bytes| Digest::of(bytes))
        }

        fn nodes(&self, key: &DocumentKey) -> Vec<Vec<u8>> {
            paths(key)
                .map_while(|path| self.rows.get(&path).cloned())
                .collect()
        }

        fn digest(&self, key: &DocumentKey) -> Result<Option<Digest>, Tampering> {
            Tree::default().load(self.root(), key, &self.nodes(key))
        }

        fn set(&mut self, changes: &[(DocumentKey, Option<Digest>)]) {
            let mut tree = Tree::default();
            for (key, _) in changes {
                tree.load(self.root(), key, &self.nodes(key)).unwrap();
            }
            for (key, digest) in changes {
                tree.set(key, *digest).unwrap();
                match digest {
                    Some(digest) => self.documents.insert(key.clone(), *digest),
                    None => self.documents.remove(key),
                };
            }
            for (path, node) in tree.into_changed() {
                match node {
                    Some(bytes) => self.rows.insert(path, bytes),
                    None => self.rows.remove(&path),
                };
            }
        }
    }

    fn key(number: u32) -> DocumentKey {
        DocumentKey::new("scope", format!("acme/{number}"))
    }

    fn digest(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn documents_that_were_set_are_found_and_others_are_absent() {
        let mut database = TestDatabase::default();
        for number in 0..500 {
            database.set(&[(key(number), Some(digest(number)))]);
        }
        for number in 0..500 {
            assert_eq!(database.digest(&key(number)).unwrap(), Some(digest(number)));
        }
        assert_eq!(database.digest(&key(500)).unwrap(), None);
    }

    #[test]
    fn the_shape_depends_only_on_the_documents() {
        let mut grown = TestDatabase::default();
        for number in 0..300 {
            grown.set(&[(key(number), Some(digest(number)))]);
        }
        // Remove them in another order, several at a time.
        for numbers in (100..300).rev().collect::<Vec<_>>().chunks(7) {
            let changes: Vec<_> = numbers.iter().map(|n| (key(*n), None)).collect();
            grown.set(&changes);
        }
        let at_once = Tree::of(&grown.documents).unwrap();
        let rows: BTreeMap<Path, Vec<u8>> = at_once
            .into_changed()
            .into_iter()
            .filter_map(|(path, node)| Some((path, node?)))
            .collect();
        assert_eq!(rows, grown.rows);
        for number in 0..100 {
            grown.set(&[(key(number), None)]);
        }
        assert_eq!(grown.root(), empty_root());
        assert_eq!(grown.rows.len(), 1);
    }

    #[test]
    fn the_places_of_a_tree_are_those_of_its_documents() {
        let mut database = TestDatabase::default();
        assert_eq!(
            places(empty_root(), &database.rows).unwrap(),
            BTreeSet::new()
        );
        for number in 0..300 {
            database.set(&[(key(number), Some(digest(number)))]);
        }
        let expected: BTreeSet<Digest> = (0..300).map(|number| place(&key(number))).collect();
        assert_eq!(places(database.root(), &database.rows).unwrap(), expected);
        // An unreferenced node has no effect; any other change is an error.
        let mut more = database.rows.clone();
        more.insert(vec![0; 30], Node::default().encode());
        assert_eq!(places(database.root(), &more).unwrap(), expected);
        for path in database.rows.keys() {
            let mut fewer = database.rows.clone();
            fewer.remove(path);
            assert!(places(database.root(), &fewer).is_err(), "{path:?}");
            let mut other = database.rows.clone();
            other.insert(path.clone(), Node::default().encode());
            assert!(places(database.root(), &other).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_changed_old_or_missing_node_is_refused() {
        let mut database = TestDatabase::default();
        for number in 0..50 {
            database.set(&[(key(number), Some(digest(number)))]);
        }
        let before = database.nodes(&key(7));
        database.set(&[(key(7), Some(digest(1_000)))]);
        let nodes = database.nodes(&key(7));
        let load = |nodes: &[Vec<u8>]| Tree::default().load(database.root(), &key(7), nodes);
        assert_eq!(load(&nodes).unwrap(), Some(digest(1_000)));
        assert!(load(&before).is_err());
        assert!(load(&nodes[..1]).is_err());
        assert!(load(&[]).is_err());
        for (level, node) in nodes.iter().enumerate() {
            for at in 0..node.len() {
                let mut damaged = nodes.clone();
                damaged[level][at] ^= 1;
                assert!(load(&damaged).is_err(), "level {level}, byte {at}");
            }
        }
    }

    #[test]
    fn only_the_canonical_encoding_of_a_node_is_parsed() {
        let mut node = Node::default();
        node.set(3, Slot::Node(digest(1)));
        node.set(
            9,
            Slot::Document {
                place: digest(2),
                digest: digest(3),
            },
        );
        let bytes = node.encode();
        assert_eq!(Node::decode(&bytes), Some(node));
        assert_eq!(Node::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Node::decode(&[FORM, 40]), None);
        let twice = [&bytes[..], &bytes[1..]].concat();
        assert_eq!(Node::decode(&twice), None);
    }
}
