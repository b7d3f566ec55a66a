//! The document tree: an ordered hash tree over all documents.
//!
//! Every checkpoint contains the root of the tree, so the newest one fixes the newest version of
//! each document and the set of all documents. Every read is verified against the tree, and so is
//! every list: the nodes below a prefix contain all names with that prefix, and no others.
//!
//! The key of a document is its kind, then each segment of its name (`/` separates segments),
//! each ended by a zero byte: `scope\0acme\0evals\0`. So the documents of a kind, and those of a
//! scope with all scopes below it, are the keys with one prefix.
//!
//! A node stands for a prefix, its path. It contains the digest of the document with exactly that
//! key, if there is one, and its children in order, each with a label: the bytes of the key that
//! lead to it. A child is a document, whose label is the rest of its key, or another node. No two
//! labels of a node begin with the same byte, and every node except the root has at least two
//! documents below it. So the shape depends only on the set of documents, not on the order of
//! changes.
//!
//! # Security
//!
//! A node is parsed only after its hash matched the digest in its parent, so only a signer can
//! have written it.

mod node;

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::row::DocumentKey;
use crate::tampering::{Fault, Tampering};
pub(crate) use node::Node;
use node::{Child, Target};

/// The bytes of the keys that lead from the root to a node.
pub(crate) type Path = Vec<u8>;

/// The maximum length of the kind and name of a document, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 1024;

/// The part of a tree that was read, and the changes to it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Path, Node>,
    /// Nodes to write, or to delete if `None`.
    changed: BTreeMap<Path, Option<Vec<u8>>>,
}

/// Whether a document can have this key.
pub(crate) fn is_valid(key: &DocumentKey) -> bool {
    let DocumentKey { kind, name } = key;
    !kind.contains('\0') && !name.contains('\0') && kind.len() + name.len() <= MAX_KEY_BYTES
}

/// The key of a document in the tree.
pub(crate) fn place(key: &DocumentKey) -> Path {
    prefix(&key.kind, &key.name)
}

/// The prefix of the keys of `kind` that are `under` a name or have that name; of all keys of the
/// kind if `under` is empty.
pub(crate) fn prefix(kind: &str, under: &str) -> Path {
    let mut prefix = kind.as_bytes().to_vec();
    prefix.push(0);
    if !under.is_empty() {
        prefix.extend(
            under
                .bytes()
                .map(|byte| if byte == b'/' { 0 } else { byte }),
        );
        prefix.push(0);
    }
    prefix
}

/// The document with that place in the tree.
fn document_at(place: &[u8]) -> Option<DocumentKey> {
    let text = std::str::from_utf8(place).ok()?;
    let (kind, rest) = text.split_once('\0')?;
    let name = rest.strip_suffix('\0').unwrap_or_default();
    Some(DocumentKey::new(kind, name.replace('\0', "/")))
}

/// The path of the next node on the way from the node at `path` to `place`; `None` if there is
/// none, or the node is malformed. Follows a node without verifying it.
pub(crate) fn next_path(path: &[u8], node: &[u8], place: &[u8]) -> Option<Path> {
    let node = Node::decode(node)?;
    let rest = place.strip_prefix(path)?;
    let child = node.child(rest)?;
    let is_on_the_way = matches!(child.target, Target::Node(_)) && rest.starts_with(&child.label);
    is_on_the_way.then(|| [path, &child.label].concat())
}

/// The nodes on the way from `root` to a document, from the root down, as far as they are among
/// `proof`.
pub(crate) fn nodes_above(
    root: Digest,
    key: &DocumentKey,
    proof: &BTreeMap<Digest, Vec<u8>>,
) -> Vec<Vec<u8>> {
    let place = place(key);
    let mut rest = &place[..];
    let mut above = Vec::new();
    let mut next = Some(root);
    while let Some(bytes) = next.and_then(|digest| proof.get(&digest)) {
        above.push(bytes.clone());
        let node = Node::decode(bytes);
        let child = node.as_ref().and_then(|node| node.child(rest));
        next = match child.map(|child| (child.target, rest.strip_prefix(&child.label[..]))) {
            Some((Target::Node(digest), Some(after))) => {
                rest = after;
                Some(digest)
            }
            _ => None,
        };
    }
    above
}

fn tampered(reason: &str) -> Tampering {
    Tampering::new(Fault::Forged, "the document tree", reason)
}

/// The root of an empty tree.
pub(crate) fn empty_root() -> Digest {
    Digest::of(&Node::default().encode())
}

/// Lists all documents whose keys begin with `prefix`, in order, given the nodes above and below
/// that prefix. The result is complete: nothing can be left out of it.
pub(crate) fn list(
    root: Digest,
    prefix: &[u8],
    nodes: &BTreeMap<Path, Vec<u8>>,
) -> Result<Vec<DocumentKey>, Tampering> {
    let mut documents = Vec::new();
    // The root of an empty tree may be missing.
    if root == empty_root() {
        return Ok(documents);
    }
    let is_relevant = |place: &[u8]| place.starts_with(prefix) || prefix.starts_with(place);
    let mut add = |place: &[u8]| -> Result<(), Tampering> {
        if place.starts_with(prefix) {
            let key = document_at(place);
            documents.push(key.ok_or_else(|| tampered("has a malformed key"))?);
        }
        Ok(())
    };
    // What is left to do, the next last.
    let mut left = vec![(Path::new(), Target::Node(root))];
    while let Some((path, target)) = left.pop() {
        let digest = match target {
            Target::Document(_) => {
                add(&path)?;
                continue;
            }
            Target::Node(digest) => digest,
        };
        let bytes = nodes.get(&path).ok_or_else(|| tampered("lacks a node"))?;
        let node = Node::verify(bytes, digest)?;
        if node.value.is_some() {
            add(&path)?;
        }
        for Child { label, target } in node.children.values().rev() {
            let place = [&path[..], label].concat();
            if is_relevant(&place) {
                left.push((place, *target));
            }
        }
    }
    Ok(documents)
}

impl Node {
    /// Parses a node if it has the expected digest.
    fn verify(bytes: &[u8], expected: Digest) -> Result<Self, Tampering> {
        if Digest::of(bytes) != expected {
            return Err(tampered("has a node that does not match the journal"));
        }
        Node::decode(bytes).ok_or_else(|| tampered("has a malformed node"))
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
        let place = place(key);
        let (mut path, mut rest) = (Path::new(), &place[..]);
        let mut expected = root;
        for bytes in nodes {
            let node = Node::verify(bytes, expected)?;
            let value = node.value;
            let child = node.child(rest).cloned();
            self.nodes.insert(path.clone(), node);
            if rest.is_empty() {
                return Ok(value);
            }
            let Some(child) = child else {
                return Ok(None);
            };
            let after = rest.strip_prefix(&child.label[..]);
            match (after, child.target) {
                (Some([]), Target::Document(digest)) => return Ok(Some(digest)),
                (Some(after), Target::Node(digest)) => {
                    path.extend_from_slice(&child.label);
                    (rest, expected) = (after, digest);
                }
                _ => return Ok(None),
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
        let root = self.set_below(Path::new(), &place(key), digest)?;
        let bytes = root.encode();
        let digest = Digest::of(&bytes);
        self.changed.insert(Path::new(), Some(bytes));
        self.nodes.insert(Path::new(), root);
        Ok(digest)
    }

    /// Sets a document below the node at `path`; `rest` is its key after that path. Returns the
    /// changed node, which the caller stores.
    fn set_below(
        &mut self,
        path: Path,
        rest: &[u8],
        digest: Option<Digest>,
    ) -> Result<Node, Tampering> {
        let mut node = self
            .nodes
            .remove(&path)
            .ok_or_else(|| tampered("lacks a node"))?;
        if rest.is_empty() {
            node.value = digest;
            return Ok(node);
        }
        let Some(Child { label, target }) = node.child(rest).cloned() else {
            if let Some(digest) = digest {
                node.set(rest, Target::Document(digest));
            }
            return Ok(node);
        };
        let below = |label: &[u8]| [&path[..], label].concat();
        let after = rest.strip_prefix(&label[..]);
        match (after, target, digest) {
            (Some([]), Target::Document(_), None) => node.remove(&label),
            (Some([]), Target::Document(_), Some(digest)) => {
                node.set(&label, Target::Document(digest));
            }
            (Some(after), Target::Node(_), _) => {
                let child = self.set_below(below(&label), after, digest)?;
                self.put_child(&mut node, &path, &label, child);
            }
            // A document that does not exist is not removed.
            (_, _, None) => {}
            // The key of the document there is a prefix of the new one.
            (Some(after), Target::Document(there), Some(digest)) => {
                let mut split = Node {
                    value: Some(there),
                    ..Node::default()
                };
                split.set(after, Target::Document(digest));
                self.put_child(&mut node, &path, &label, split);
            }
            // The keys part within the label.
            (None, there, Some(digest)) => {
                let common = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
                let (label, old) = label.split_at(common);
                let new = rest.get(common..).unwrap_or_default();
                let mut split = Node::default();
                split.set(old, there);
                if new.is_empty() {
                    split.value = Some(digest);
                } else {
                    split.set(new, Target::Document(digest));
                }
                self.put_child(&mut node, &path, label, split);
            }
        }
        Ok(node)
    }

    /// Makes `child` the child of `node` at that label, or what is left of it if it has fewer
    /// than two documents below it.
    fn put_child(&mut self, node: &mut Node, path: &[u8], label: &[u8], child: Node) {
        let place = [path, label].concat();
        let mut children = child.children.values();
        match (child.value, children.next(), children.next()) {
            (None, None, _) => node.remove(label),
            (Some(digest), None, _) => node.set(label, Target::Document(digest)),
            (None, Some(only), None) => {
                node.set(&[label, &only.label].concat(), only.target);
            }
            _ => {
                let bytes = child.encode();
                node.set(label, Target::Node(Digest::of(&bytes)));
                self.nodes.insert(place.clone(), child);
                self.changed.insert(place, Some(bytes));
                return;
            }
        }
        self.changed.insert(place, None);
    }

    /// The nodes that were read or changed.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The nodes to write, and those to delete (`None`).
    pub(crate) fn into_changed(self) -> BTreeMap<Path, Option<Vec<u8>>> {
        self.changed
    }
}

#[cfg(test)]
mod tests;
