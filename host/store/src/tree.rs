//! Which documents there are: a hash tree over all of them.
//!
//! Its root stands in every journal entry, so the newest entry settles the
//! newest state of each document, and that there are no others. What a database
//! hands out is held against it on every read: an older state of a document that
//! was put back, one that was dropped and one that was added are found at once,
//! without a walk through the journal.
//!
//! A document's place follows from the SHA-256 of its kind and name, four bits a
//! level. A node has sixteen slots; one holds nothing, a document (its place and
//! the digest of its signed bytes), or the digest of the node below. A node other
//! than the root has at least two documents below it, so the shape follows from
//! what there is and not from how it came about.
//!
//! # Security
//!
//! A node that does not hash to what the one above says is refused before it is
//! looked at; what remains can only have been written by the signer. A tree is at
//! most as deep as a digest has digits.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::document::DocumentKey;
use crate::error::{Fault, Tampering};

/// The slots of a node: one for each value of four bits.
const SLOTS: usize = 16;

/// The most levels: the digits of a digest.
pub(crate) const MAX_DEPTH: usize = 64;

/// The first byte of a node, so that no node is mistaken for something else that
/// is hashed.
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

/// Parts of a tree: the nodes that were read, and what has become of them.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Path, Node>,
    /// Nodes to write, or to remove.
    changed: BTreeMap<Path, Option<Vec<u8>>>,
}

/// Where a document belongs.
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

/// The digit of a place that counts at a level.
fn digit(place: &Digest, level: usize) -> u8 {
    digits(place).nth(level).unwrap_or_default()
}

/// The paths at which the nodes above a document can be, from the root down.
pub(crate) fn paths(key: &DocumentKey) -> impl Iterator<Item = Path> {
    let digits: Path = digits(&place(key)).collect();
    (0..MAX_DEPTH).map(move |length| digits.iter().copied().take(length).collect())
}

/// The places of all documents, from the nodes of a whole tree by their paths.
pub(crate) fn places(
    root: Digest,
    nodes: &BTreeMap<Path, Vec<u8>>,
) -> Result<BTreeSet<Digest>, Tampering> {
    let mut places = BTreeSet::new();
    // A tree without documents need not be written.
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

fn tampered(how: &str) -> Tampering {
    Tampering::new(Fault::Forged, "the tree of documents", how)
}

/// The root of a tree without documents.
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

    /// What the node comes to when there is too little in it for a node.
    fn collapsed(&self) -> Option<Slot> {
        let mut filled = self.slots.iter().filter(|slot| **slot != Slot::Empty);
        match (filled.next(), filled.next()) {
            (None, _) => Some(Slot::Empty),
            (Some(document @ Slot::Document { .. }), None) => Some(*document),
            _ => None,
        }
    }

    /// `1`, then for each slot that holds something, in order: its number, with 16
    /// added for a node; for a document its place and its digest, for a node its
    /// digest.
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

    /// Reads the node that has this digest.
    fn verify(bytes: &[u8], expected: Digest) -> Result<Self, Tampering> {
        if Digest::of(bytes) != expected {
            return Err(tampered("has a node that is not the journal's"));
        }
        Node::decode(bytes).ok_or_else(|| tampered("has a node of another form"))
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
    /// A tree of all of `documents`.
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

    /// Takes over the nodes above a document, as read from the root down, and
    /// answers with the digest of the document that belongs there, if one does.
    pub(crate) fn take(
        &mut self,
        root: Digest,
        key: &DocumentKey,
        nodes: &[Vec<u8>],
    ) -> Result<Option<Digest>, Tampering> {
        let sought = place(key);
        let mut expected = root;
        for (path, bytes) in paths(key).zip(nodes) {
            let node = Node::verify(bytes, expected)?;
            let slot = node.slot(digit(&sought, path.len()));
            self.nodes.insert(path, node);
            match slot {
                Slot::Empty => return Ok(None),
                Slot::Document { place, digest } => {
                    return Ok((place == sought).then_some(digest));
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

    /// Sets the digest of a document that was taken before, or takes it away, and
    /// answers with the new root.
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

    /// Sets a document below the node at `path`; answers with what the slot above
    /// is to hold.
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
            kept @ Slot::Document { .. } if digest.is_none() => kept,
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

    /// The nodes to write, and those to remove.
    pub(crate) fn into_changed(self) -> BTreeMap<Path, Option<Vec<u8>>> {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree on a database of its own, which hands out nodes as a real one does.
    #[derive(Default)]
    struct Kept {
        rows: BTreeMap<Path, Vec<u8>>,
        documents: BTreeMap<DocumentKey, Digest>,
    }

    impl Kept {
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

        fn look(&self, key: &DocumentKey) -> Result<Option<Digest>, Tampering> {
            Tree::default().take(self.root(), key, &self.nodes(key))
        }

        fn set(&mut self, changes: &[(DocumentKey, Option<Digest>)]) {
            let mut tree = Tree::default();
            for (key, _) in changes {
                tree.take(self.root(), key, &self.nodes(key)).unwrap();
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
    fn what_was_set_is_found_and_what_was_not_is_known_to_be_absent() {
        let mut kept = Kept::default();
        for number in 0..500 {
            kept.set(&[(key(number), Some(digest(number)))]);
        }
        for number in 0..500 {
            assert_eq!(kept.look(&key(number)).unwrap(), Some(digest(number)));
        }
        assert_eq!(kept.look(&key(500)).unwrap(), None);
    }

    #[test]
    fn the_shape_follows_from_what_there_is() {
        let mut grown = Kept::default();
        for number in 0..300 {
            grown.set(&[(key(number), Some(digest(number)))]);
        }
        // Away again in another order, several at a time.
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
    fn the_places_of_a_whole_tree_are_those_of_its_documents_and_no_others() {
        let mut kept = Kept::default();
        assert_eq!(places(empty_root(), &kept.rows).unwrap(), BTreeSet::new());
        for number in 0..300 {
            kept.set(&[(key(number), Some(digest(number)))]);
        }
        let expected: BTreeSet<Digest> = (0..300).map(|number| place(&key(number))).collect();
        assert_eq!(places(kept.root(), &kept.rows).unwrap(), expected);
        // A node that belongs to no document changes nothing; each other one does.
        let mut more = kept.rows.clone();
        more.insert(vec![0; 30], Node::default().encode());
        assert_eq!(places(kept.root(), &more).unwrap(), expected);
        for path in kept.rows.keys() {
            let mut fewer = kept.rows.clone();
            fewer.remove(path);
            assert!(places(kept.root(), &fewer).is_err(), "{path:?}");
            let mut other = kept.rows.clone();
            other.insert(path.clone(), Node::default().encode());
            assert!(places(kept.root(), &other).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_node_that_was_changed_put_back_or_dropped_is_refused() {
        let mut kept = Kept::default();
        for number in 0..50 {
            kept.set(&[(key(number), Some(digest(number)))]);
        }
        let before = kept.nodes(&key(7));
        kept.set(&[(key(7), Some(digest(1_000)))]);
        let nodes = kept.nodes(&key(7));
        let look = |nodes: &[Vec<u8>]| Tree::default().take(kept.root(), &key(7), nodes);
        assert_eq!(look(&nodes).unwrap(), Some(digest(1_000)));
        assert!(look(&before).is_err());
        assert!(look(&nodes[..1]).is_err());
        assert!(look(&[]).is_err());
        for (level, node) in nodes.iter().enumerate() {
            for at in 0..node.len() {
                let mut damaged = nodes.clone();
                damaged[level][at] ^= 1;
                assert!(look(&damaged).is_err(), "level {level}, byte {at}");
            }
        }
    }

    #[test]
    fn only_the_bytes_that_a_node_is_written_as_are_read() {
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
