//! Changes of the store, made the way the crate `entail` makes them: with one organization, and
//! one secret in one document.

use std::sync::Arc;

use entail_store::{
    Author, Authority, Batch, Digest, DocumentKey, Epoch, EpochKey, Error, Keyring, Keys,
    LabelledKey, RandomId, Readers, Recipient, RenewedReaders, Revision, SealContext, Secret,
    Snapshot, Store, StoreSigner, Verifier,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

pub const ORGANIZATION: &str = "acme";

/// The body of the document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    pub value: u8,
    pub epoch: u32,
    pub blob: Digest,
}

/// The document with the secret, and the state that it was read at.
pub struct Found {
    pub snapshot: Snapshot,
    pub credential: Credential,
}

impl Found {
    pub fn readers(&self) -> &Readers {
        self.snapshot.keyring.readers(ORGANIZATION).unwrap()
    }

    pub fn authority(&self) -> &Authority {
        self.snapshot.keyring.authority()
    }
}

pub fn document() -> DocumentKey {
    DocumentKey::new("scope", ORGANIZATION)
}

pub async fn find(store: &Store) -> Result<Found, Error> {
    let snapshot = store.read(&[document()]).await?;
    let document = snapshot.documents[0].clone().unwrap();
    let credential = Credential::clone(&*document.body::<Credential>().unwrap());
    Ok(Found {
        snapshot,
        credential,
    })
}

pub fn context(store: RandomId, epoch: u32) -> SealContext {
    SealContext {
        store,
        scope: ORGANIZATION.to_owned(),
        credential: "credential".to_owned(),
        version: 1,
        provider: "provider".to_owned(),
        mode: "api-key".to_owned(),
        hosts: Vec::new(),
        destination: Digest::of(b"destination"),
        epoch,
        fields: vec!["api_key".to_owned()],
    }
}

/// Seals a value. Returns the body of the document, and the blob.
pub fn sealed(store: RandomId, epoch: &Epoch, value: u8) -> (Box<RawValue>, Vec<u8>) {
    let fields = vec![("api_key".to_owned(), Secret::new(&[value]))];
    let blob = Keys::seal(epoch, &context(store, epoch.number), &fields).unwrap();
    let credential = Credential {
        value,
        epoch: epoch.number,
        blob: Digest::of(&blob),
    };
    (to_raw_value(&credential).unwrap(), blob)
}

pub async fn commit(store: &Store, expected: Revision, batch: Batch) -> Result<Revision, Error> {
    let change = to_raw_value("a step").unwrap();
    let author = author(&change);
    store.commit(expected, batch, author).await
}

pub fn author(change: &RawValue) -> Author<'_> {
    Author {
        principal: RandomId::generate().unwrap(),
        at_ms: 1,
        change,
        log: None,
    }
}

/// Replaces the secret.
pub async fn write(store: &Store, value: u8) -> Result<(), Error> {
    let found = find(store).await?;
    seal_again(store, &found, value).await
}

async fn seal_again(store: &Store, found: &Found, value: u8) -> Result<(), Error> {
    let newest = found.readers().newest().unwrap();
    let (body, blob) = sealed(store.id(), newest, value);
    let batch = Batch {
        put: vec![(document(), body)],
        add_blobs: vec![blob],
        remove_blobs: vec![found.credential.blob],
        ..Batch::default()
    };
    commit(store, found.snapshot.revision, batch).await?;
    Ok(())
}

/// Opens the secret.
pub async fn open(store: &Store) -> Result<bool, Error> {
    let found = find(store).await?;
    let blob = store.blob(&found.credential.blob).await?;
    let context = context(store.id(), found.credential.epoch);
    let opened = store.unseal(found.readers(), &blob, &context).await?;
    Ok(opened.is_ok_and(|fields| fields[0].1.expose() == [found.credential.value]))
}

async fn commit_authority(
    store: &Store,
    keyring: &Keyring,
    revision: Revision,
    authority: Authority,
    blobs: (Vec<Vec<u8>>, Vec<Digest>),
) -> Result<(), Error> {
    let mut draft = keyring.next();
    draft.authority = authority;
    let batch = Batch {
        keyring: Some(draft.into()),
        add_blobs: blobs.0,
        remove_blobs: blobs.1,
        ..Batch::default()
    };
    commit(store, revision, batch).await?;
    Ok(())
}

pub async fn change_signers(
    store: &Store,
    edit: impl FnOnce(&mut Vec<StoreSigner>),
) -> Result<(), Error> {
    let snapshot = store.read(&[]).await?;
    let mut authority = snapshot.keyring.authority().clone();
    edit(&mut authority.signers);
    let keyring = &snapshot.keyring;
    commit_authority(
        store,
        keyring,
        snapshot.revision,
        authority,
        Default::default(),
    )
    .await
}

/// A signer that may change everything.
pub fn signer(key: Verifier) -> StoreSigner {
    StoreSigner::of_everything(LabelledKey::new(key, "replay"))
}

/// Adds a recipient. `false` if that is not allowed.
pub async fn add_reader(store: &Store, recipient: &Recipient) -> Result<bool, Error> {
    let found = find(store).await?;
    for epoch in &found.readers().epochs {
        if store.epoch_key(epoch).await?.is_err() {
            return Ok(false);
        }
    }
    let mut readers = found.readers().clone();
    if readers.has(&recipient.id()) {
        return Ok(false);
    }
    readers.recipients.push(recipient.clone());
    commit_readers(store, &found, readers).await
}

/// Removes a recipient. `false` if it is none.
pub async fn remove_reader(store: &Store, recipient: &Recipient) -> Result<bool, Error> {
    let found = find(store).await?;
    let mut readers = found.readers().clone();
    if !readers.has(&recipient.id()) {
        return Ok(false);
    }
    readers
        .recipients
        .retain(|known| known.key != recipient.key);
    commit_readers(store, &found, readers).await
}

/// Seals the epochs to `readers`, and commits them. `false` if nothing changes.
async fn commit_readers(store: &Store, found: &Found, readers: Readers) -> Result<bool, Error> {
    let mut opened: Vec<(Digest, Option<Arc<EpochKey>>)> = Vec::new();
    for epoch in &readers.epochs {
        opened.push((epoch.sealed, store.epoch_key(epoch).await?.ok()));
    }
    let open = |epoch: &Epoch| {
        let mut opened = opened.iter();
        let found = opened.find(|(sealed, _)| *sealed == epoch.sealed);
        found.and_then(|(_, key)| key.clone())
    };
    let RenewedReaders { readers, add_blobs } = readers.renewed(open).unwrap();
    if readers == *found.readers() {
        return Ok(false);
    }
    commit_epochs(store, found, readers, add_blobs).await?;
    Ok(true)
}

async fn commit_epochs(
    store: &Store,
    found: &Found,
    readers: Readers,
    add_blobs: Vec<Vec<u8>>,
) -> Result<(), Error> {
    let is_kept = |sealed: &Digest| readers.epochs.iter().any(|epoch| epoch.sealed == *sealed);
    let before = found.readers().epochs.iter().map(|epoch| epoch.sealed);
    let remove_blobs = before.filter(|sealed| !is_kept(sealed)).collect();
    let mut authority = found.authority().clone();
    authority.readers = vec![readers];
    let snapshot = &found.snapshot;
    let blobs = (add_blobs, remove_blobs);
    commit_authority(
        store,
        &snapshot.keyring,
        snapshot.revision,
        authority,
        blobs,
    )
    .await
}

/// The next commit of a renewal. `false` if there is nothing to renew.
pub async fn renew(store: &Store) -> Result<bool, Error> {
    let found = find(store).await?;
    let readers = found.readers();
    if !readers.is_current() && commit_readers(store, &found, readers.clone()).await? {
        return Ok(true);
    }
    let newest = readers.newest().unwrap().number;
    let epoch = readers.epoch(found.credential.epoch).unwrap();
    if epoch.number != newest && store.epoch_key(epoch).await?.is_ok() {
        seal_again(store, &found, found.credential.value).await?;
        return Ok(true);
    }
    let mut kept = readers.clone();
    kept.epochs
        .retain(|known| [newest, epoch.number].contains(&known.number));
    if kept == *readers {
        return Ok(false);
    }
    commit_epochs(store, &found, kept, Vec::new()).await?;
    Ok(true)
}
