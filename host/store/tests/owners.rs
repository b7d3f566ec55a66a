//! Several owners: how many must sign a change of the keyring, and how they do it.

#![allow(clippy::unwrap_used, clippy::panic)] // allowed in tests

mod common;

use common::{Home, commit, key, put, raw, verify};
use entail_store::{
    Authority, Batch, DifferenceKind, Error, KeyError, LabelledKey, Proposal, ProposalError,
    Recipient, Revision, Signer, Store, differences,
};

/// A store with the owner key of its machine, and keys of other owners.
struct Owners {
    home: Home,
    store: Store,
    others: Vec<Signer>,
}

impl Owners {
    /// A store of which `required` of three owners must sign.
    async fn three(required: usize) -> Self {
        let home = Home::filled().await;
        let store = home.store();
        let others: Vec<Signer> = (0..2).map(|_| Signer::generate().unwrap()).collect();
        let owners = Owners {
            home,
            store,
            others,
        };
        let keys = owners.others.iter().map(labelled).collect::<Vec<_>>();
        let mut proposal = owners
            .propose(|authority| {
                authority.owners.keys.extend(keys.clone());
                authority.owners.threshold = required;
            })
            .await;
        for other in owners.others.iter().take(required - 1) {
            if let Ok(signed) = &mut proposal {
                signed.add_signature(other).unwrap();
            }
        }
        if let Ok(proposal) = proposal {
            owners.apply(&proposal).await.unwrap();
        }
        owners
    }

    /// Changes the keyring, if this machine can; otherwise returns the proposal.
    async fn propose(&self, edit: impl Fn(&mut Authority)) -> Result<Proposal, Revision> {
        let snapshot = self.store.read(&[]).await.unwrap();
        let mut draft = snapshot.keyring.next();
        edit(&mut draft.authority);
        let batch = Batch {
            keyring: Some(draft.into()),
            ..Batch::default()
        };
        match commit(&self.store, snapshot.revision, batch).await {
            Ok(revision) => Err(revision),
            Err(Error::OwnersRequired(proposal)) => Ok(*proposal),
            Err(error) => panic!("{error}"),
        }
    }

    async fn apply(&self, proposal: &Proposal) -> Result<Revision, Error> {
        let (revision, batch) = self.store.proposed(proposal).await?;
        commit(&self.store, revision, batch).await
    }
}

fn labelled(signer: &Signer) -> LabelledKey {
    LabelledKey::new(signer.verifier(), "another owner")
}

/// A change of a keyring.
type Edit<'a> = &'a dyn Fn(&mut Authority);

/// Any change of a keyring.
fn require_heartbeats(authority: &mut Authority) {
    authority.fresh_for_ms = Some(60_000);
}

#[tokio::test]
async fn as_many_owners_as_before_and_as_many_as_afterwards_must_sign() {
    for (before, after) in [(1, 1), (1, 3), (2, 2), (3, 1), (2, 1), (2, 3)] {
        let owners = Owners::three(before).await;
        let edit = |authority: &mut Authority| authority.owners.threshold = after;
        let required = before.max(after);
        let mut others = owners.others.iter();
        match owners.propose(edit).await {
            Err(_) => assert_eq!(required, 1),
            Ok(mut proposal) => {
                for signed in 1..required {
                    let found = proposal.check(None).unwrap();
                    assert_eq!(found.missing(), required - signed, "{before} to {after}");
                    assert!(matches!(
                        owners.apply(&proposal).await,
                        Err(Error::OwnersRequired(_))
                    ));
                    proposal.add_signature(others.next().unwrap()).unwrap();
                }
                assert!(proposal.check(None).unwrap().is_complete());
                owners.apply(&proposal).await.unwrap();
            }
        }
        let keyring = owners.store.keyring().await.unwrap();
        assert_eq!(keyring.authority().owners.threshold, after);
        assert_eq!(verify(&owners.home.store()).await, []);
    }
}

#[tokio::test]
async fn a_new_owner_signs_the_keyring_that_adds_it_if_it_will_be_needed() {
    let owners = Owners::three(1).await;
    let fourth = Signer::generate().unwrap();
    let edit = |authority: &mut Authority| {
        authority.owners.keys.push(labelled(&fourth));
        authority.owners.threshold = 2;
    };
    let mut proposal = owners.propose(edit).await.unwrap();
    proposal.add_signature(&fourth).unwrap();
    owners.apply(&proposal).await.unwrap();
    assert_eq!(verify(&owners.home.store()).await, []);
}

#[tokio::test]
async fn a_proposal_contains_the_whole_change_and_survives_its_file() {
    let owners = Owners::three(2).await;
    let revision = owners.store.revision().await.unwrap();
    let mut draft = owners.store.keyring().await.unwrap().next();
    require_heartbeats(&mut draft.authority);
    let blob = b"the key of an epoch".to_vec();
    let batch = Batch {
        put: vec![(key("globex"), raw("a new organization"))],
        remove: vec![key("acme/evals")],
        add_blobs: vec![blob.clone()],
        keyring: Some(draft.into()),
        ..Batch::default()
    };
    let Err(Error::OwnersRequired(proposal)) = commit(&owners.store, revision, batch).await else {
        panic!("the change was made");
    };
    assert_eq!(owners.store.revision().await.unwrap(), revision);
    let file = owners.home.directory.path().join("proposal.json");
    proposal.write(&file).unwrap();
    let mut read = Proposal::read(&file).unwrap();
    assert_eq!(read.to_bytes(), proposal.to_bytes());
    let found = differences(read.previous(), read.keyring());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, DifferenceKind::FreshFor);
    read.add_signature(&owners.others[1]).unwrap();
    owners.apply(&read).await.unwrap();
    let keys = [key("globex"), key("acme/evals")];
    let after = owners.store.read(&keys).await.unwrap();
    let digest = entail_store::Digest::of(&blob);
    assert!(after.documents[0].is_some() && after.documents[1].is_none());
    assert_eq!(owners.store.blob(&digest).await.unwrap(), blob);
    assert_eq!(verify(&owners.home.store()).await, []);
}

#[tokio::test]
async fn a_proposal_is_outdated_after_another_change_of_what_it_touches() {
    let owners = Owners::three(2).await;
    let mut first = owners.propose(require_heartbeats).await.unwrap();
    let mut second = owners.propose(require_heartbeats).await.unwrap();
    let revision = owners.store.revision().await.unwrap();
    let mut draft = owners.store.keyring().await.unwrap().next();
    require_heartbeats(&mut draft.authority);
    let batch = Batch {
        put: vec![(key("acme"), raw("later"))],
        keyring: Some(draft.into()),
        ..Batch::default()
    };
    let Err(Error::OwnersRequired(mut third)) = commit(&owners.store, revision, batch).await else {
        panic!("the change was made");
    };
    for proposal in [&mut first, &mut second, &mut third] {
        proposal.add_signature(&owners.others[0]).unwrap();
    }
    // A change of something else does not matter; one of the document does.
    put(&owners.store, revision, "acme", "meanwhile")
        .await
        .unwrap();
    let outdated = |applied| matches!(applied, Err(Error::Proposal(ProposalError::Outdated)));
    assert!(outdated(owners.apply(&third).await));
    owners.apply(&first).await.unwrap();
    assert!(outdated(owners.apply(&second).await) || second.check(None).is_ok());
    let again = owners.apply(&second).await;
    assert!(matches!(again, Err(Error::Proposal(_))), "{again:?}");
    assert_eq!(verify(&owners.home.store()).await, []);
}

#[tokio::test]
async fn only_owners_of_a_store_that_is_trusted_count() {
    let owners = Owners::three(2).await;
    let proposal = owners.propose(require_heartbeats).await.unwrap();
    let trusted = owners.store.keyring().await.unwrap();
    assert!(proposal.check(Some(&trusted)).is_ok());

    let stranger = Signer::generate().unwrap();
    assert!(!proposal.is_owner(stranger.id()));
    let mut signed = proposal.clone();
    signed.add_signature(&stranger).unwrap();
    let untrusted = |proposal: &Proposal| {
        matches!(
            proposal.check(Some(&trusted)),
            Err(ProposalError::Untrusted(_))
        )
    };
    assert!(untrusted(&signed));
    assert!(matches!(
        owners.apply(&signed).await,
        Err(Error::Proposal(ProposalError::Untrusted(_)))
    ));

    let other = Owners::three(2).await;
    let foreign = other.propose(require_heartbeats).await.unwrap();
    assert!(matches!(
        foreign.check(Some(&trusted)),
        Err(ProposalError::OtherStore)
    ));
    assert!(matches!(
        owners.apply(&foreign).await,
        Err(Error::Proposal(ProposalError::OtherStore))
    ));
    let keys = other.store.keys();
    assert!(matches!(
        keys.sign_proposal(&mut proposal.clone()),
        Err(KeyError::OldOwner)
    ));

    // An owner who trusts the first keyring finds that the later ones follow from it.
    let first = owners.home.directory.path().join("first");
    std::fs::create_dir(&first).unwrap();
    let bytes = proposal.to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    // Without one keyring in between, or in another order, they do not.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keyrings = value["keyrings"].as_array_mut().unwrap();
    assert_eq!(keyrings.len(), 2);
    keyrings.pop();
    let shortened = Proposal::parse(value.to_string().as_bytes()).unwrap();
    assert!(untrusted(&shortened));
    assert!(matches!(
        shortened.check(None),
        Err(ProposalError::Untrusted(_))
    ));
}

#[tokio::test]
async fn a_changed_proposal_means_the_same_or_is_refused() {
    let owners = Owners::three(2).await;
    let mut proposal = owners.propose(require_heartbeats).await.unwrap();
    proposal.add_signature(&owners.others[0]).unwrap();
    let trusted = owners.store.keyring().await.unwrap();
    let bytes = proposal.to_bytes();
    let (mut refused, mut accepted) = (0, 0);
    for at in 0..bytes.len() {
        for bit in [1, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            match Proposal::parse(&changed) {
                Ok(parsed) if parsed.check(Some(&trusted)).is_ok() => {
                    // The signed keyring is the same.
                    assert_eq!(parsed.keyring().digest(), proposal.keyring().digest());
                    assert!(parsed.check(Some(&trusted)).unwrap().missing() <= 1);
                    accepted += 1;
                }
                _ => refused += 1,
            }
        }
    }
    // Earlier keyrings are fixed by their digests, whatever their signatures are.
    assert!(refused > 5 * accepted, "{refused} refused, {accepted} not");
    let newer = String::from_utf8(bytes.clone()).unwrap();
    let newer = newer.replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(
        Proposal::parse(newer.as_bytes()),
        Err(ProposalError::Newer)
    ));
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "{\"type\":\"proposal\",\"version\":1}",
    ] {
        let parsed = Proposal::parse(text.as_bytes());
        assert!(matches!(parsed, Err(ProposalError::Malformed)), "{text}");
    }
}

#[tokio::test]
async fn every_difference_is_listed() {
    let owners = Owners::three(1).await;
    let before = owners.store.keyring().await.unwrap();
    let recipient = Recipient {
        key: "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq".to_owned(),
        label: "later".to_owned(),
        added_at_ms: 7,
    };
    let edits: [(Edit<'_>, &[DifferenceKind]); 8] = [
        (&|_| {}, &[]),
        (
            &|a| a.owners.threshold = 2,
            &[DifferenceKind::OwnersRequired],
        ),
        (
            &|a| drop(a.owners.keys.pop()),
            &[DifferenceKind::OwnerRemoved],
        ),
        (
            &|a| "renamed".clone_into(&mut a.owners.keys[0].label),
            &[DifferenceKind::EntryChanged],
        ),
        (
            &|a| a.signers[0].scopes = Some(vec!["acme".to_owned()]),
            &[DifferenceKind::EntryChanged],
        ),
        (
            &|a| a.default_recipients.push(recipient.clone()),
            &[DifferenceKind::RecipientAdded],
        ),
        (
            &|a| a.owners.keys.reverse(),
            &[DifferenceKind::OrderChanged],
        ),
        (&require_heartbeats, &[DifferenceKind::FreshFor]),
    ];
    for (edit, expected) in edits {
        let mut draft = before.next();
        edit(&mut draft.authority);
        let after = draft.sign(0, []).unwrap();
        let found = differences(&before, &after);
        let kinds: Vec<_> = found.iter().map(|difference| difference.kind).collect();
        assert_eq!(kinds, expected);
    }
    let restored = before.next().begin_lineage().unwrap().sign(0, []).unwrap();
    let found = differences(&before, &restored);
    assert_eq!(found[0].kind, DifferenceKind::LineageBegun);
}
