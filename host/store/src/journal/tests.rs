//! Tests of the rules by which a head advances, with journals that thieves wrote.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, MAX_CHECKPOINT_BYTES, State};
use super::head::JournalHead;
use super::position::{JournalPosition, MAX_REVISION};
use crate::digest::Digest;
use crate::keyring::authority::{Authority, LabelledKey, Owners, StoreSigner};
use crate::keyring::chain::KeyringChain;
use crate::keyring::{Keyring, KeyringDraft};
use crate::recipients::{Epoch, Readers, RecipientClass};
use crate::row::JournalRow;
use crate::signing::Signer;
use crate::statement::{Statement, StatementType};
use crate::tampering::Fault;

/// The keys of a store, its keyrings, and its journal.
struct Journal {
    owner: Signer,
    signer: Signer,
    keyrings: Vec<Arc<Keyring>>,
    rows: Vec<JournalRow>,
}

fn authority(owner: &Signer, signer: &Signer) -> Authority {
    Authority {
        owners: Owners {
            threshold: 1,
            keys: vec![LabelledKey::new(owner.verifier(), "owner")],
        },
        signers: vec![StoreSigner::of_everything(LabelledKey::new(
            signer.verifier(),
            "signer",
        ))],
        readers: Vec::new(),
        default_recipients: Vec::new(),
        fresh_for_ms: None,
    }
}

fn state() -> State {
    State {
        change: Digest::of(b"change"),
        tree: Digest::of(b"tree"),
        documents: 1,
        at_ms: 1,
        log: None,
    }
}

fn row(revision: u64, checkpoint: Statement) -> JournalRow {
    JournalRow {
        revision,
        checkpoint,
        change: Vec::new(),
    }
}

impl Journal {
    /// A journal with two entries.
    fn new() -> Self {
        let (owner, signer) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let draft = KeyringDraft::first(authority(&owner, &signer)).unwrap();
        let keyring = Arc::new(draft.sign(1, [&owner]).unwrap());
        let mut journal = Journal {
            owner,
            signer,
            keyrings: vec![keyring],
            rows: Vec::new(),
        };
        journal.add();
        journal.add();
        journal
    }

    fn position(&self) -> JournalPosition {
        self.rows
            .last()
            .map(JournalRow::position)
            .unwrap_or_default()
    }

    fn keyring(&self) -> &Arc<Keyring> {
        self.keyrings.last().unwrap()
    }

    /// The next row, signed by `signer` under `keyring`.
    fn next_row(&self, signer: &Signer, keyring: &Keyring) -> JournalRow {
        let checkpoint = Checkpoint::after(self.position(), keyring, state());
        row(checkpoint.revision, checkpoint.sign(signer).unwrap())
    }

    fn add(&mut self) {
        let row = self.next_row(&self.signer, self.keyring());
        self.rows.push(row);
    }

    /// Replaces the signer, and returns the former one.
    fn rotate_signer(&mut self) -> Signer {
        let next = Signer::generate().unwrap();
        let mut draft = self.keyring().next();
        draft.authority = authority(&self.owner, &next);
        let keyring = Arc::new(draft.sign(2, [&self.owner]).unwrap());
        self.keyrings.push(keyring);
        let former = std::mem::replace(&mut self.signer, next);
        self.add();
        former
    }

    fn statements(&self) -> Vec<Statement> {
        let keyrings = self.keyrings.iter();
        keyrings
            .map(|keyring| keyring.statement().clone())
            .collect()
    }

    /// The head of a machine that has the first keyring and has read nothing.
    fn unread_head(&self) -> JournalHead {
        JournalHead {
            position: JournalPosition::default(),
            checkpoint: None,
            is_confirmed: false,
            heartbeat: None,
            keyring: Arc::clone(&self.keyrings[0]),
        }
    }

    /// Reads the whole journal, and then `row`. Returns the fault.
    fn fault_of(&self, row: JournalRow) -> Option<Fault> {
        let read = self
            .unread_head()
            .advance(&self.rows, &self.statements(), JournalPosition::default())
            .unwrap();
        let rows = [self.rows.last().cloned().unwrap(), row];
        let later = self
            .statements()
            .split_off(usize::try_from(read.start().keyring).unwrap());
        let advanced = read.advance(&rows, &later, self.position());
        advanced.err().map(|error| error.fault())
    }
}

#[test]
fn a_former_signer_counts_only_where_it_stands() {
    let mut journal = Journal::new();
    let former = journal.rotate_signer();
    journal.add();
    let present = Arc::clone(journal.keyring());
    let forged = |keyring: &Keyring| journal.fault_of(journal.next_row(&former, keyring));
    assert_eq!(forged(&present), Some(Fault::Forged));
    assert_eq!(forged(&journal.keyrings[0]), Some(Fault::Forged));
    assert_eq!(
        journal.fault_of(journal.next_row(&journal.signer, &present)),
        None
    );
    // Not even the present signer can write under the former keyring.
    let stale = journal.next_row(&journal.signer, &journal.keyrings[0]);
    assert_eq!(journal.fault_of(stale), Some(Fault::Forged));
}

#[test]
fn a_keyring_that_the_owners_did_not_sign_is_refused() {
    let mut journal = Journal::new();
    let (thief, other) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let genuine = journal.next_row(&journal.signer, journal.keyring());
    assert_eq!(journal.fault_of(genuine), None);
    for signers in [
        vec![&thief],
        vec![&journal.signer],
        vec![&thief, &journal.signer],
    ] {
        let mut draft = journal.keyring().next();
        draft.authority = authority(&thief, &other);
        let forged = Arc::new(draft.sign(2, signers).unwrap());
        let row = journal.next_row(&other, &forged);
        journal.keyrings.push(forged);
        let read = journal.unread_head().advance(
            &[journal.rows.clone(), vec![row]].concat(),
            &journal.statements(),
            JournalPosition::default(),
        );
        assert_eq!(read.err().map(|error| error.fault()), Some(Fault::Forged));
        journal.keyrings.pop();
    }
}

#[test]
fn of_several_owners_as_many_as_the_threshold_must_sign() {
    let keys: Vec<Signer> = (0..3).map(|_| Signer::generate().unwrap()).collect();
    let owned_by = |threshold, owners: &[&Signer]| Authority {
        owners: Owners {
            threshold,
            keys: owners
                .iter()
                .map(|owner| LabelledKey::new(owner.verifier(), "owner"))
                .collect(),
        },
        ..authority(&keys[0], &keys[0])
    };
    let all: Vec<&Signer> = keys.iter().collect();
    let draft = KeyringDraft::first(owned_by(2, &all)).unwrap();
    let first = draft.sign(1, [all[0], all[1]]).unwrap();
    assert!(first.signers(None).is_ok());
    assert!(draft.sign(1, [all[0]]).unwrap().signers(None).is_err());
    for (signers, follows) in [
        (vec![all[0]], false),
        (vec![all[0], all[2]], true),
        (vec![all[0], all[1], all[2]], true),
    ] {
        let next = first.next().sign(2, signers.clone()).unwrap();
        assert_eq!(next.check_follows(&first).is_ok(), follows, "{signers:?}");
    }
    // The next keyring's own threshold counts, too.
    let mut draft = first.next();
    draft.authority = owned_by(2, &all[1..]);
    let by_former = draft.sign(2, [all[0], all[1]]).unwrap();
    assert!(by_former.check_follows(&first).is_err());
    let by_both = draft.sign(2, [all[1], all[2]]).unwrap();
    assert!(by_both.check_follows(&first).is_ok());
    let without = KeyringDraft::first(owned_by(0, &all)).unwrap();
    assert!(without.sign(1, [all[0]]).is_err());
    let beyond = KeyringDraft::first(owned_by(4, &all)).unwrap();
    assert!(beyond.sign(1, [all[0]]).is_err());
}

#[test]
fn a_checkpoint_follows_the_one_before_it_in_its_own_store() {
    let journal = Journal::new();
    let signed = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = Checkpoint::after(journal.position(), journal.keyring(), state());
        change(&mut checkpoint);
        journal.fault_of(row(
            checkpoint.revision,
            checkpoint.sign(&journal.signer).unwrap(),
        ))
    };
    assert_eq!(signed(&|_| {}), None);
    for revision in [4, MAX_REVISION, MAX_REVISION + 1, (1 << 63) - 1, u64::MAX] {
        let skipping = signed(&|checkpoint| checkpoint.revision = revision);
        assert_eq!(skipping, Some(Fault::Forged), "{revision}");
    }
    for previous in [None, Some(Digest::of(b"another"))] {
        let forked = signed(&|checkpoint| checkpoint.previous = previous);
        assert_eq!(forked, Some(Fault::Forged));
    }
    let other = Journal::new();
    let elsewhere = journal.next_row(&other.signer, other.keyring());
    assert_eq!(journal.fault_of(elsewhere), Some(Fault::Forged));
    // Signed by the right key, for another store or lineage.
    let mut draft = KeyringDraft::first(authority(&journal.owner, &journal.signer)).unwrap();
    let other_store = draft.sign(1, [&journal.owner]).unwrap();
    draft = journal.keyring().next().begin_lineage().unwrap();
    let other_lineage = draft.sign(1, [&journal.owner]).unwrap();
    for other in [other_store, other_lineage] {
        let mut checkpoint = Checkpoint::after(journal.position(), &other, state());
        checkpoint.keyring = journal.keyring().digest();
        let row = row(
            checkpoint.revision,
            checkpoint.sign(&journal.signer).unwrap(),
        );
        assert_eq!(journal.fault_of(row), Some(Fault::Forged));
    }
}

#[test]
fn a_checkpoint_of_a_newer_version_is_no_forgery() {
    let journal = Journal::new();
    let next = Checkpoint::after(journal.position(), journal.keyring(), state());
    let payload = String::from_utf8(next.sign(&journal.signer).unwrap().payload).unwrap();
    let signed = |payload: &str| {
        let payload = payload.as_bytes().to_vec();
        let statement =
            Statement::sign(StatementType::Checkpoint, payload, [&journal.signer]).unwrap();
        journal.fault_of(row(next.revision, statement))
    };
    assert_eq!(signed(&payload), None);
    let with = |member: &str| payload.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(signed(&with(r#""heartbeat":{"until":1}"#)), None);
    let critical = with(r#""critical":["heartbeat"],"heartbeat":1"#);
    assert_eq!(signed(&critical), Some(Fault::Newer));
    let newer = payload.replace("\"version\":1", "\"version\":2");
    assert_eq!(signed(&newer), Some(Fault::Newer));
    let another_type = payload.replace("\"checkpoint\"", "\"keyring\"");
    assert_eq!(signed(&another_type), Some(Fault::Forged));
    let large = with(&format!(
        "\"filler\":\"{}\"",
        "x".repeat(MAX_CHECKPOINT_BYTES)
    ));
    assert_eq!(signed(&large), Some(Fault::Forged));
}

#[test]
fn a_newer_version_that_nobody_signed_is_a_forgery() {
    let journal = Journal::new();
    let next = Checkpoint::after(journal.position(), journal.keyring(), state());
    let signed = next.sign(&journal.signer).unwrap();
    let payload = String::from_utf8(signed.payload.clone()).unwrap();
    let newer = Statement {
        payload: payload
            .replace("\"version\":1", "\"version\":2")
            .into_bytes(),
        ..signed
    };
    assert_eq!(journal.fault_of(row(3, newer)), Some(Fault::Forged));
}

#[test]
fn keyrings_are_well_formed() {
    let journal = Journal::new();
    let first = journal.keyring();
    let readers = |organization: &str, numbers: &[u32]| Readers {
        organization: organization.to_owned(),
        class: RecipientClass::X25519,
        recipients: Vec::new(),
        epochs: numbers
            .iter()
            .map(|number| Epoch {
                number: *number,
                key: String::new(),
                sealed: Digest::of(b"key"),
                sealed_to: Vec::new(),
            })
            .collect(),
    };
    for (list, is_valid) in [
        (vec![readers("acme", &[2, 5]), readers("other", &[1])], true),
        (vec![readers("other", &[1]), readers("acme", &[1])], false),
        (vec![readers("acme", &[1]), readers("acme", &[1])], false),
        (vec![readers("acme", &[])], false),
        (vec![readers("acme", &[0])], false),
        (vec![readers("acme", &[2, 1])], false),
        (vec![readers("acme", &[1, 1])], false),
    ] {
        let mut draft = first.next();
        draft.authority.readers = list.clone();
        let signed = draft.sign(1, [&journal.owner]);
        assert_eq!(signed.is_ok(), is_valid, "{list:?}");
    }
    // A keyring that nobody signed is not trusted, and no reason to look for a newer version.
    first.check_signed().unwrap();
    let unsigned = Statement {
        signatures: b"garbage".to_vec(),
        ..first.statement().clone()
    };
    assert!(Keyring::parse(unsigned).unwrap().check_signed().is_err());
    let text = String::from_utf8(first.statement().payload.clone()).unwrap();
    let newer = Statement {
        payload: text.replace("\"version\":1", "\"version\":2").into_bytes(),
        ..first.statement().clone()
    };
    let fault = |trusted: Option<&Keyring>| {
        let parsed = KeyringChain::parse(None, trusted, std::slice::from_ref(&newer));
        parsed.err().map(|error| error.fault())
    };
    assert_eq!(fault(Some(first)), Some(Fault::Forged));
    assert_eq!(fault(None), Some(Fault::Newer));
}
