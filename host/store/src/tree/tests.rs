//! Tests of the tree against a map of its documents.

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
        let place = place(key);
        let mut nodes = Vec::new();
        let mut path = Some(Path::new());
        while let Some(node) = path.as_ref().and_then(|path| self.rows.get(path)) {
            nodes.push(node.clone());
            path = path.and_then(|path| next_path(&path, node, &place));
        }
        nodes
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

    fn list(&self, kind: &str, under: &str) -> Vec<String> {
        let listed = list(self.root(), &prefix(kind, under), &self.rows).unwrap();
        listed.into_iter().map(|key| key.name).collect()
    }
}

/// Keys of which some are prefixes of others.
fn key(number: u32) -> DocumentKey {
    let name = match number % 4 {
        0 => format!("acme/{number}"),
        1 => format!("acme/{}/below", number - 1),
        2 => format!("acme/{}-x", number - 2),
        _ => format!("other-{number}"),
    };
    DocumentKey::new("scope", name)
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
    for absent in [
        "acme/500",
        "acme",
        "acme/4/b",
        "acme/4/below/deeper",
        "other",
    ] {
        let absent = DocumentKey::new("scope", absent);
        assert_eq!(database.digest(&absent).unwrap(), None, "{absent}");
        database.set(&[(absent, None)]);
    }
    assert_eq!(database.documents.len(), 500);
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
fn a_list_has_all_documents_below_its_prefix_and_no_others() {
    let mut database = TestDatabase::default();
    assert_eq!(database.list("scope", ""), Vec::<String>::new());
    for number in 0..300 {
        database.set(&[(key(number), Some(digest(number)))]);
    }
    for kind in ["scop", "scopes", "a", "z"] {
        database.set(&[(DocumentKey::new(kind, "acme/8"), Some(digest(1)))]);
    }
    assert_eq!(database.list("scope", "acme/8"), ["acme/8", "acme/8/below"]);
    assert_eq!(database.list("scope", "acme/8/below"), ["acme/8/below"]);
    assert_eq!(database.list("scope", "acme/1000"), Vec::<String>::new());
    assert_eq!(database.list("scop", ""), ["acme/8"]);
    let sorted = |names: &[String]| {
        let places = names.iter().map(|name| prefix("scope", name));
        assert!(places.is_sorted());
        names.len()
    };
    assert_eq!(sorted(&database.list("scope", "")), 300);
    assert_eq!(sorted(&database.list("scope", "acme")), 225);
    // Any node that is missing or different is an error if it is above or below the prefix.
    for prefix in [prefix("scope", ""), prefix("scope", "acme/8")] {
        let expected = list(database.root(), &prefix, &database.rows).unwrap();
        let mut failed = 0;
        for path in database.rows.keys() {
            for other in [None, Some(Node::default().encode())] {
                let mut rows = database.rows.clone();
                match other {
                    Some(node) => rows.insert(path.clone(), node),
                    None => rows.remove(path),
                };
                let is_relevant = path.starts_with(&prefix) || prefix.starts_with(path);
                match list(database.root(), &prefix, &rows) {
                    Ok(listed) => {
                        assert!(!is_relevant, "{path:?}");
                        assert_eq!(listed, expected);
                    }
                    Err(_) => failed += 1,
                }
            }
        }
        assert!(failed > 0);
        // A node that belongs to nothing has no effect.
        let mut more = database.rows.clone();
        more.insert(vec![b's'; 30], Node::default().encode());
        assert_eq!(list(database.root(), &prefix, &more).unwrap(), expected);
    }
}

#[test]
fn a_changed_old_or_missing_node_is_refused() {
    let mut database = TestDatabase::default();
    for number in 0..50 {
        database.set(&[(key(number), Some(digest(number)))]);
    }
    let before = database.nodes(&key(8));
    database.set(&[(key(8), Some(digest(1_000)))]);
    let nodes = database.nodes(&key(8));
    let load = |nodes: &[Vec<u8>]| Tree::default().load(database.root(), &key(8), nodes);
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
fn the_place_of_a_document_names_it() {
    for (kind, name) in [("scope", "acme/evals"), ("policy", "acme"), ("one", "")] {
        let key = DocumentKey::new(kind, name);
        assert!(is_valid(&key));
        assert_eq!(document_at(&place(&key)), Some(key));
    }
    assert_eq!(place(&DocumentKey::new("scope", "a/b")), b"scope\0a\0b\0");
    assert!(!is_valid(&DocumentKey::new("scope", "a\0b")));
    assert!(!is_valid(&DocumentKey::new(
        "scope",
        "x".repeat(MAX_KEY_BYTES)
    )));
}
