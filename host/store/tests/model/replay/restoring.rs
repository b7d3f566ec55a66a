//! Restores of the replay, as `import_over`, `build_home` and `Trust::check` of the crate
//! `entail` do them, without what they do for people and against damaged files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{
    Anchor, Authority, Backend as _, Batch, History, JournalPosition, Keyring, Keys, NewKeyring,
    NewKeys, Readers, Receipt, Sqlite, Store, write_keyring,
};

use super::changes::commit;
use super::machine::Machine;

/// A staging directory with the rows of a backup.
struct Staged {
    directory: PathBuf,
    history: History,
}

impl Staged {
    async fn read(directory: PathBuf, backup: &Path) -> Option<Self> {
        std::fs::create_dir(&directory).unwrap();
        let database = Sqlite::import(backup, &directory.join("entail.db")).unwrap();
        let history = History::of(&database).await.ok()?;
        Some(Staged { directory, history })
    }

    fn keys(&self) -> PathBuf {
        self.directory.join("keys")
    }

    fn database(&self) -> PathBuf {
        self.directory.join("entail.db")
    }

    /// Commits the keyring of the restored store. `None` if the backup has a fault, or the keys
    /// have no power.
    async fn import(
        &self,
        keys: Keys,
        before: Vec<Arc<Keyring>>,
        restored: (Authority, Vec<Vec<u8>>),
    ) -> Option<(JournalPosition, Arc<Keyring>)> {
        let in_force = self.history.keyring();
        let mark = self.history.position();
        let anchor = Anchor::at(self.directory.join("anchor.json"));
        anchor.set(mark, in_force).unwrap();
        let database = Sqlite::open(&self.database()).unwrap();
        let store = Store::open(Arc::new(database), keys, anchor).unwrap();
        if !super::faults(&store).await.is_empty() {
            return None;
        }
        let newest = before.last().unwrap_or(in_force);
        let mut draft = newest.next().begin_lineage().unwrap();
        draft.authority = restored.0;
        let batch = Batch {
            add_blobs: restored.1,
            keyring: Some(NewKeyring::from(draft).after(before).taking_over()),
            ..Batch::default()
        };
        commit(&store, mark.revision, batch).await.ok()?;
        let position = store.anchor().read().unwrap();
        Some((position, store.known_keyring()))
    }
}

/// Restores a backup over the store of a machine. `false` if it is not trusted.
pub async fn in_place(machine: &Machine, database: &Path, backup: &Path, staging: PathBuf) -> bool {
    let keys = machine.keys();
    let present = Sqlite::open(database).unwrap();
    let Some(staged) = Staged::read(staging, backup).await else {
        return false;
    };
    let history = &staged.history;
    let now = History::of(&present).await.ok();
    let now = now.filter(|now| now.descends_from(keys.keyring()));
    let is_earlier_state = now.as_ref().is_some_and(|now| now.has(history.position()));
    let is_trusted = is_earlier_state || is_signed_by_present_keys(history, keys.keyring());
    if !is_trusted || !opens(&keys, history) {
        return false;
    }
    std::fs::create_dir(staged.keys()).unwrap();
    for entry in std::fs::read_dir(machine.keys_directory()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().ends_with(".pem") {
            std::fs::copy(entry.path(), staged.keys().join(entry.file_name())).unwrap();
        }
    }
    super::make_private(&staged.keys());
    write_keyring(&staged.keys(), history.keyring()).unwrap();
    let own = now.as_ref().map_or(keys.keyring(), History::keyring);
    let newest = match history.descends_from(own) {
        true => history.keyring(),
        false => own,
    };
    let mut authority = newest.authority().clone();
    let mut add_blobs = Vec::new();
    let restored = carried_over(&authority, &history.keyring().authority().readers);
    authority.readers = restored
        .into_iter()
        .map(|readers| {
            let renewed = readers.unwrap();
            add_blobs.extend(renewed.add_blobs);
            renewed.readers
        })
        .collect();
    let before = now.as_ref().and_then(|now| history.later_keyrings(now));
    let before = before.unwrap_or_default();
    let keys = Keys::open(&staged.keys()).unwrap();
    let imported = staged.import(keys, before, (authority, add_blobs)).await;
    let Some((position, keyring)) = imported else {
        return false;
    };
    present.replace_by(&staged.database()).await.unwrap();
    machine.anchor().set(position, &keyring).unwrap();
    write_keyring(&machine.keys_directory(), &keyring).unwrap();
    true
}

/// The readers of a backup with the present recipients.
fn carried_over(
    present: &Authority,
    backup: &[Readers],
) -> Vec<Result<entail_store::RenewedReaders, entail_store::SealError>> {
    let restored = |before: &Readers| {
        let mut present = present.readers.iter();
        let now = present.find(|now| now.organization == before.organization);
        before.clone().restored(now.unwrap_or(before))
    };
    backup.iter().map(restored).collect()
}

fn is_signed_by_present_keys(history: &History, own: &Keyring) -> bool {
    let owners = &own.authority().owners;
    let present: Vec<_> = owners.ids().collect();
    let mut signers = history.keyring().authority().signers.iter();
    history.descends_from(own)
        || history.store() == own.store()
            && signers.all(|signer| own.has_signer(signer.id()))
            && history.is_owned_by(&present, owners.threshold)
}

fn opens(keys: &Keys, history: &History) -> bool {
    let all = &history.keyring().authority().readers;
    let mut epochs = all.iter().flat_map(|readers| &readers.epochs);
    epochs.any(|epoch| {
        let mut identities = keys.identity_ids();
        identities.any(|id| epoch.sealed_to.iter().any(|to| to == id))
    })
}

/// Sets up a clean machine from a backup. `None` if the backup is not trusted.
pub async fn on_clean_machine(
    directory: &Path,
    database: &Path,
    backup: &Path,
    receipt: &Receipt,
    recovery: &Path,
) -> Option<Machine> {
    let staged = Staged::read(directory.join("staged"), backup).await?;
    let history = &staged.history;
    let is_trusted = receipt.store == history.store()
        && history.is_owned_by(&receipt.owners, receipt.required)
        && history.has(receipt.position);
    let new = NewKeys::generate().unwrap();
    let own = new.recipient("restored", 0);
    let mut authority = new.authority("restored", 0);
    let keys = new.write(&staged.keys(), None, history.keyring()).unwrap();
    let by_recovery_key = super::machine::with_identity(&staged.keys(), recovery);
    if !is_trusted || !opens(&by_recovery_key, history) {
        return None;
    }
    let mut add_blobs = Vec::new();
    for readers in &history.keyring().authority().readers {
        let mut readers = readers.clone();
        readers.recipients.insert(0, own.clone());
        let renewed = readers.renewed(|_| None).unwrap();
        add_blobs.extend(renewed.add_blobs);
        authority.readers.push(renewed.readers);
    }
    staged
        .import(keys, Vec::new(), (authority, add_blobs))
        .await?;
    let machine = Machine::adopt(staged.directory.clone(), database, recovery);
    super::replace_file(&staged.database(), database);
    Some(machine)
}
