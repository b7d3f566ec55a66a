//! What a signer may change that has only a part of the store.
//!
//! A signer can be limited to some scopes and what is below them. Such a signer's checkpoint counts
//! only if its change stays within them: the record of the change contains the nodes of the
//! previous document tree above the documents that it touches. Applied to them, the effects of the
//! record lead to the tree of the checkpoint, so nothing else has changed.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::hex;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::entry::ChangeRecord;
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::keyring::authority::is_in_scopes;
use crate::row::{DocumentKey, JournalRow};
use crate::tampering::Tampering;
use crate::tree::{self, Tree};

/// The kinds of documents that belong to a scope, and that a limited signer may write.
const KINDS: [&str; 3] = ["principal", "schedule", "scope"];

/// Whether a document belongs to one of `scopes`, or to one below them, and is of a kind that
/// belongs to scopes.
pub(crate) fn is_within(scopes: &[String], key: &DocumentKey) -> bool {
    KINDS.contains(&key.kind.as_str()) && is_in_scopes(scopes, &key.name)
}

/// The nodes of a tree that prove a change, as in its record.
pub(crate) fn proof(tree: &Tree) -> Vec<String> {
    tree.nodes()
        .map(|node| hex::encode(&node.encode()))
        .collect()
}

/// Fails unless `checkpoint` directly follows `before`, where `previous` is the checkpoint, and
/// belongs to the store and lineage of `keyring`, which a signer of `keyring` that may make this
/// change confirms. Returns whether that signer may change the whole store.
pub(crate) fn verify_next(
    row: &JournalRow,
    checkpoint: &Checkpoint,
    before: JournalPosition,
    previous: Option<&Checkpoint>,
    keyring: &Keyring,
) -> Result<bool, Tampering> {
    let signed_by = checkpoint.verify(row, before, keyring)?;
    let scopes = keyring.scopes_of(&signed_by);
    if let Some(scopes) = &scopes {
        verify_scopes(row, checkpoint, previous, scopes)?;
    }
    Ok(scopes.is_none())
}

/// Fails unless the change of `checkpoint` stays within `scopes`. `previous` is the checkpoint
/// before it.
fn verify_scopes(
    row: &JournalRow,
    checkpoint: &Checkpoint,
    previous: Option<&Checkpoint>,
    scopes: &[String],
) -> Result<(), Tampering> {
    let outside = || row.tampering("changes more than its signer may");
    let previous = previous.ok_or_else(outside)?;
    let record = ChangeRecord::verify(row, checkpoint)?;
    let mut effects = record.effects.iter();
    if checkpoint.keyring != previous.keyring
        || checkpoint.log.is_some()
        || !effects.all(|effect| is_within(scopes, &effect.key))
    {
        return Err(outside());
    }
    let unproven = || row.tampering("does not prove what it changes");
    let mut proof = BTreeMap::new();
    for node in record.proof.iter().flatten() {
        let node = hex::decode_any(node).ok_or_else(unproven)?;
        proof.insert(Digest::of(&node), node);
    }
    let mut tree = Tree::default();
    let mut documents = previous.documents;
    for effect in &record.effects {
        let above = tree::nodes_above(previous.tree, &effect.key, &proof);
        let before = tree.load(previous.tree, &effect.key, &above)?;
        if before != effect.before {
            return Err(unproven());
        }
        match (before, effect.after) {
            (None, Some(_)) => documents += 1,
            (Some(_), None) => documents = documents.saturating_sub(1),
            _ => {}
        }
    }
    let mut root = previous.tree;
    for effect in &record.effects {
        root = tree.set(&effect.key, effect.after)?;
    }
    if root != checkpoint.tree || documents != checkpoint.documents {
        return Err(outside());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::checkpoint::State;
    use crate::journal::entry::Effect;
    use crate::keyring::KeyringDraft;
    use crate::keyring::authority::{Authority, LabelledKey, Owners, StoreSigner};
    use crate::random_id::RandomId;
    use crate::signing::Signer;
    use crate::statement;

    const SCOPE: &str = "acme/evals";

    fn scope(name: &str) -> DocumentKey {
        DocumentKey::new("scope", name)
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// A store with some scopes, and a signer that may change `acme/evals`.
    struct Delegated {
        owner: Signer,
        signer: Signer,
        keyring: Arc<Keyring>,
        documents: BTreeMap<DocumentKey, Digest>,
        previous: Checkpoint,
        position: JournalPosition,
    }

    /// A change by that signer.
    struct Change {
        effects: Vec<Effect>,
        proof: Option<Vec<String>>,
        tree: Digest,
        documents: u64,
    }

    fn root(documents: &BTreeMap<DocumentKey, Digest>) -> Digest {
        let changed = Tree::of(documents).unwrap().into_changed();
        Digest::of(changed[&Vec::new()].as_ref().unwrap())
    }

    impl Delegated {
        fn new() -> Self {
            let (owner, signer) = (Signer::generate().unwrap(), Signer::generate().unwrap());
            let key = LabelledKey::new(owner.verifier(), "owner");
            let authority = Authority {
                owners: Owners {
                    threshold: 1,
                    keys: vec![key.clone()],
                },
                signers: vec![
                    StoreSigner::of_everything(key),
                    StoreSigner {
                        key: LabelledKey::new(signer.verifier(), "delegated"),
                        scopes: Some(vec![SCOPE.to_owned()]),
                    },
                ],
                readers: Vec::new(),
                default_recipients: Vec::new(),
                fresh_for_ms: None,
            };
            let draft = KeyringDraft::first(authority).unwrap();
            let keyring = Arc::new(draft.sign(1, [&owner]).unwrap());
            let names = ["acme", SCOPE, "acme/evals/one", "acme/evalsets", "globex"];
            let documents: BTreeMap<DocumentKey, Digest> = names
                .into_iter()
                .map(|name| (scope(name), digest(name)))
                .collect();
            let state = State {
                change: Digest::of(b"change"),
                tree: root(&documents),
                documents: 5,
                at_ms: 1,
                log: None,
            };
            let previous = Checkpoint::after(JournalPosition::default(), &keyring, state);
            let position = JournalRow {
                revision: 1,
                checkpoint: previous.sign(&owner).unwrap(),
                change: Vec::new(),
            }
            .position();
            Delegated {
                owner,
                signer,
                keyring,
                documents,
                previous,
                position,
            }
        }

        /// Limits the signer to another scope.
        fn limit_to(&mut self, scope: &str) {
            let mut draft = self.keyring.next();
            draft.authority.signers[1].scopes = Some(vec![scope.to_owned()]);
            self.keyring = Arc::new(draft.sign(1, [&self.owner]).unwrap());
            self.previous.keyring = self.keyring.digest();
        }

        /// A change of `key`, with its proof.
        fn change(&self, key: &DocumentKey, after: Option<Digest>) -> Change {
            let tree = Tree::of(&self.documents).unwrap();
            let mut documents = self.documents.clone();
            let before = documents.remove(key);
            documents.extend(after.map(|after| (key.clone(), after)));
            let effect = Effect {
                key: key.clone(),
                before,
                after,
            };
            Change {
                effects: vec![effect],
                proof: Some(proof(&tree)),
                tree: root(&documents),
                documents: u64::try_from(documents.len()).unwrap(),
            }
        }

        fn fault_of(&self, change: Change) -> Option<String> {
            let record = ChangeRecord {
                version: statement::VERSION,
                principal: RandomId::generate().unwrap(),
                change: serde_json::value::to_raw_value("a test").unwrap(),
                effects: change.effects,
                blobs_added: Vec::new(),
                blobs_removed: Vec::new(),
                proof: change.proof,
            };
            let record = serde_json::to_vec(&record).unwrap();
            let state = State {
                change: Digest::of(&record),
                tree: change.tree,
                documents: change.documents,
                at_ms: 2,
                log: None,
            };
            let checkpoint = Checkpoint::after(self.position, &self.keyring, state);
            let row = JournalRow {
                revision: 2,
                checkpoint: checkpoint.sign(&self.signer).unwrap(),
                change: record,
            };
            let previous = Some(&self.previous);
            let verified = verify_next(&row, &checkpoint, self.position, previous, &self.keyring);
            verified.err().map(|fault| fault.to_string())
        }
    }

    #[test]
    fn a_delegated_signer_adds_changes_and_removes_what_is_within_its_scopes() {
        let delegated = Delegated::new();
        let within = [
            SCOPE,
            "acme/evals/one",
            "acme/evals/two",
            "acme/evals/two/deep",
        ];
        for name in within {
            for after in [Some(digest("new")), None] {
                let change = delegated.change(&scope(name), after);
                assert_eq!(delegated.fault_of(change), None, "{name} {after:?}");
            }
        }
        // Its schedule has the name of the scope too.
        let schedule = DocumentKey::new("schedule", SCOPE);
        let change = delegated.change(&schedule, Some(digest("new")));
        assert_eq!(delegated.fault_of(change), None);
    }

    #[test]
    fn a_delegated_signer_changes_nothing_outside_its_scopes() {
        let delegated = Delegated::new();
        for other in ["policy", "component", "scope\0acme"] {
            // The last has the place of another document in the tree.
            let key = DocumentKey::new(other, "evals");
            let mut limited = Delegated::new();
            limited.limit_to("evals");
            let change = limited.change(&key, Some(digest("new")));
            assert!(limited.fault_of(change).is_some(), "{other}");
        }
        for name in [
            "acme",
            "acme/evalsets",
            "acme/eval",
            "globex",
            "globex/evals",
        ] {
            let change = delegated.change(&scope(name), Some(digest("new")));
            let fault = delegated.fault_of(change);
            assert!(
                fault.unwrap().contains("more than its signer may"),
                "{name}"
            );
        }
    }

    type Edit = fn(&Delegated, &mut Change);

    #[test]
    fn a_delegated_signer_hides_no_change_from_its_record() {
        let edits: [(&str, &str, Edit); 6] = [
            ("another tree", "more than", |delegated, change| {
                let mut documents = delegated.documents.clone();
                documents.insert(scope(SCOPE), digest("new"));
                documents.insert(scope("acme"), digest("hidden"));
                change.tree = root(&documents);
            }),
            ("another count", "more than", |_, change| {
                change.documents = 4;
            }),
            ("no proof", "lacks a node", |_, change| change.proof = None),
            ("part of the proof", "lacks a node", |_, change| {
                let proof = change.proof.as_mut().unwrap();
                proof.remove(0);
            }),
            ("another proof", "does not prove", |_, change| {
                change.proof.as_mut().unwrap()[0] = "zz".to_owned();
            }),
            ("another document before", "does not prove", |_, change| {
                change.effects[0].before = None;
            }),
        ];
        for (what, expected, edit) in edits {
            let delegated = Delegated::new();
            let mut change = delegated.change(&scope(SCOPE), Some(digest("new")));
            edit(&delegated, &mut change);
            let fault = delegated.fault_of(change).unwrap();
            assert!(fault.contains(expected), "{what}: {fault}");
        }
    }

    #[test]
    fn a_delegated_signer_puts_no_keyring_into_force_and_begins_no_store() {
        let delegated = Delegated::new();
        let mut elsewhere = Delegated::new();
        elsewhere.previous.keyring = Digest::of(b"another keyring");
        let change = elsewhere.change(&scope(SCOPE), Some(digest("new")));
        assert!(elsewhere.fault_of(change).is_some());
        let checkpoint = &delegated.previous;
        let row = JournalRow {
            revision: 1,
            checkpoint: checkpoint.sign(&delegated.signer).unwrap(),
            change: Vec::new(),
        };
        let start = JournalPosition::default();
        let verified = verify_next(&row, checkpoint, start, None, &delegated.keyring);
        assert!(verified.is_err());
    }
}
