//! The nodes of the document tree, and their encoding.

use std::collections::BTreeMap;

use crate::digest::Digest;

/// The first byte of a node, so that a node cannot be confused with other hashed data.
const FORM: u8 = 1;

/// What the bytes of a node mean.
const VALUE: u8 = 1;
const LEAF: u8 = 2;
const NODE: u8 = 3;

/// What is below a node, after the bytes of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// A document: the label is the rest of its key.
    Document(Digest),
    /// Another node.
    Node(Digest),
}

/// A child of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Child {
    /// The bytes of the key that lead to it; at least one.
    pub(super) label: Vec<u8>,
    pub(super) target: Target,
}

/// The documents and nodes below one prefix of the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    /// The digest of the document whose key is exactly the prefix.
    pub(super) value: Option<Digest>,
    /// The children by the first byte of their labels.
    pub(super) children: BTreeMap<u8, Child>,
}

impl Node {
    /// The child whose label begins like `rest`.
    pub(super) fn child(&self, rest: &[u8]) -> Option<&Child> {
        self.children.get(rest.first()?)
    }

    /// Adds or replaces a child.
    pub(super) fn set(&mut self, label: &[u8], target: Target) {
        if let Some(first) = label.first() {
            let label = label.to_vec();
            self.children.insert(*first, Child { label, target });
        }
    }

    /// Removes the child whose label begins like `label`.
    pub(super) fn remove(&mut self, label: &[u8]) {
        if let Some(first) = label.first() {
            self.children.remove(first);
        }
    }

    /// Encodes the node: the byte 1; if there is a value, the byte 1 and its digest; then for
    /// each child, in the order of their labels, the byte 2 for a document or 3 for a node, the
    /// length of the label (two bytes, the higher first), the label, and the digest.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        if let Some(digest) = self.value {
            bytes.push(VALUE);
            bytes.extend_from_slice(digest.as_bytes());
        }
        for Child { label, target } in self.children.values() {
            let (tag, digest) = match target {
                Target::Document(digest) => (LEAF, digest),
                Target::Node(digest) => (NODE, digest),
            };
            bytes.push(tag);
            // Keys are shorter: see `KeyTooLong`.
            let length = u16::try_from(label.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(label);
            bytes.extend_from_slice(digest.as_bytes());
        }
        bytes
    }

    /// Parses the encoding; `None` if it is any other.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut node = Node::default();
        let mut rest = bytes.strip_prefix(&[FORM])?;
        if let Some(after) = rest.strip_prefix(&[VALUE]) {
            let (digest, after) = after.split_first_chunk::<32>()?;
            node.value = Some(Digest::from(*digest));
            rest = after;
        }
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (label, after) = after.split_at_checked(length)?;
            let (digest, after) = after.split_first_chunk::<32>()?;
            let digest = Digest::from(*digest);
            let first = *label.first()?;
            let last = node.children.last_key_value();
            if last.is_some_and(|(last, _)| *last >= first) {
                return None;
            }
            let target = match *tag {
                LEAF => Target::Document(digest),
                NODE => Target::Node(digest),
                _ => return None,
            };
            node.set(label, target);
            rest = after;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_encoding_of_a_node_is_parsed() {
        let digest = |number: u8| Digest::of(&[number]);
        let mut node = Node {
            value: Some(digest(0)),
            ..Node::default()
        };
        node.set(b"acme\0", Target::Node(digest(1)));
        node.set(b"beta\0", Target::Document(digest(2)));
        let bytes = node.encode();
        assert_eq!(Node::decode(&bytes), Some(node.clone()));
        assert_eq!(Node::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Node::decode(&[&bytes[..], &bytes[34..]].concat()), None);
        let (before, children) = bytes.split_at(34);
        let (first, second) = children.split_at(1 + 2 + 5 + 32);
        assert_eq!(Node::decode(&[before, second, first].concat()), None);
        for tag in [0, 1, 4, 255] {
            let mut other = bytes.clone();
            other[34] = tag;
            assert_eq!(Node::decode(&other), None, "tag {tag}");
        }
        let empty_label = [&[FORM, LEAF, 0, 0][..], digest(1).as_bytes()].concat();
        assert_eq!(Node::decode(&empty_label), None);
        assert_eq!(Node::decode(&[]), None);
        assert_eq!(Node::decode(&[FORM]), Some(Node::default()));
    }
}
