//! The world of a replay: the machines, the database, the backups, and the adversary with its
//! copies and stolen keys, in a temporary directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{
    Batch, Error, Fault as StoreFault, JournalPosition, KeyringDraft, NewKeys, Readers, Receipt,
    Role, Signer, Sqlite,
};
use serde_json::value::to_raw_value;

use super::super::actions::{Action, Outcome, Source};
use super::super::reading::Fault;
use super::super::state::{ADMIN, GUEST, OTHER, State};
use super::super::statements::{Database, Key, KeySet};
use super::changes::{self, ORGANIZATION, author, commit, document, sealed};
use super::forging::{Copy, forged_keyring};
use super::machine::Machine;
use super::readers::Reader;
use super::restoring;

/// The world.
pub struct World {
    directory: tempfile::TempDir,
    machines: Vec<Machine>,
    guest: Reader,
    recovery: Reader,
    adversary: Reader,
    /// The keys of epochs that the model gave to the guest.
    guest_knows: KeySet,
    receipt: Receipt,
    backups: Vec<PathBuf>,
    /// A copy of each state that the database was in.
    copies: Vec<(Database, PathBuf)>,
    stolen_owners: HashMap<Key, PathBuf>,
    stolen_signers: HashMap<Key, PathBuf>,
    /// For the names of files.
    files: usize,
}

impl World {
    /// The store that the model begins with.
    pub async fn create(first: &State) -> Self {
        let directory = super::temporary_directory();
        let path = |name: &str| directory.path().join(name);
        let [admin, other, guest, recovery, adversary] =
            [(); 5].map(|()| NewKeys::generate().unwrap());
        let recipients = [&admin, &other, &recovery].map(|keys| keys.recipient("reader", 0));
        let renewed = Readers::first(ORGANIZATION, recipients.to_vec()).unwrap();
        let mut authority = admin.authority("admin", 0);
        authority.readers = vec![renewed.readers];
        let draft = KeyringDraft::first(authority).unwrap();
        let keyring = Arc::new(admin.sign(&draft, 0).unwrap());
        let database = path("entail.db");
        drop(Sqlite::create(&database).unwrap());
        let nothing = JournalPosition::default();
        let admin = Machine::create(path("admin"), &database, admin, &keyring, nothing);
        let store = admin.open();
        let newest = keyring.readers(ORGANIZATION).unwrap().newest().unwrap();
        let (body, blob) = sealed(store.id(), newest, 0);
        let batch = Batch {
            put: vec![(document(), body)],
            add_blobs: [renewed.add_blobs, vec![blob]].concat(),
            ..Batch::default()
        };
        commit(&store, 0, batch).await.unwrap();
        let position = store.anchor().read().unwrap();
        let other = Machine::create(path("other"), &database, other, &keyring, position);
        for file in ["owner.pem", "signer.pem"] {
            std::fs::remove_file(other.key_file(file)).unwrap();
        }
        let mut machines = vec![admin, other];
        for machine in &mut machines {
            machine.start_process().await;
        }
        let mut world = World {
            machines,
            guest: Reader::create(path("guest"), guest, &keyring),
            recovery: Reader::create(path("recovery"), recovery, &keyring),
            adversary: Reader::create(path("adversary"), adversary, &keyring),
            guest_knows: KeySet::default(),
            receipt: store.receipt().await.unwrap(),
            backups: Vec::new(),
            copies: Vec::new(),
            stolen_owners: HashMap::new(),
            stolen_signers: HashMap::new(),
            files: 0,
            directory,
        };
        world.keep_copy(&first.database);
        world
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("entail.db")
    }

    fn new_path(&mut self) -> PathBuf {
        self.files += 1;
        self.directory.path().join(format!("file-{}", self.files))
    }

    /// Takes an action of the model. `before` and `after` are the states of the model.
    pub async fn take(&mut self, action: Action, before: &State, after: &State) -> Outcome {
        let outcome = self.act(action, before, after).await;
        if outcome == Outcome::Done && before.database != after.database {
            self.keep_copy(&after.database);
            self.guest.look(&self.database());
            for keyring in after.database.keyrings.back() {
                let epochs = keyring.authority.epochs.iter();
                let known = epochs.filter(|epoch| epoch.sealed_to.has(GUEST));
                self.guest_knows = known.fold(self.guest_knows, |all, epoch| all.with(epoch.key));
            }
        }
        outcome
    }

    async fn act(&mut self, action: Action, before: &State, after: &State) -> Outcome {
        let done = |result: Result<bool, Error>| outcome(&result);
        match action {
            Action::Read(home) => {
                let store = self.machines[home].open();
                outcome(&store.revision().await.map(|_| true))
            }
            Action::Poll(home) => {
                let process = self.machines[home].process.as_ref().unwrap();
                outcome(&process.revision().await.map(|_| true))
            }
            Action::Write(home) => {
                let value = before.fresh.value;
                let store = self.machines[home].open();
                outcome(&changes::write(&store, value).await.map(|()| true))
            }
            Action::Renew(home) => {
                let store = self.machines[home].open_for_renewal();
                done(changes::renew(&store).await)
            }
            Action::RotateSigner => self.rotate(Role::Signer).await,
            Action::RotateOwner => self.rotate(Role::Owner).await,
            Action::AddSigner => self.add_signer().await,
            Action::RemoveSigner => {
                let store = self.machines[ADMIN].open();
                let other = self.machines[OTHER].keys().id_of(Role::Signer);
                let edit = |signers: &mut Vec<entail_store::StoreSigner>| {
                    signers.retain(|signer| Some(signer.id()) != other);
                };
                outcome(&changes::change_signers(&store, edit).await.map(|()| true))
            }
            Action::AddReader => {
                let store = self.machines[ADMIN].open();
                done(changes::add_reader(&store, &self.guest.recipient).await)
            }
            Action::RemoveReader => {
                let store = self.machines[ADMIN].open();
                done(changes::remove_reader(&store, &self.guest.recipient).await)
            }
            Action::BackUp => {
                let file = self.new_path();
                let store = self.machines[ADMIN].open();
                if let Err(error) = store.revision().await {
                    return outcome(&Err(error));
                }
                // A list of keyrings that no entry puts into force cannot be copied.
                let is_copied = store.copy_to(&file, &|_| Vec::new()).await.is_ok();
                self.backups.extend(is_copied.then_some(file));
                allowed(is_copied)
            }
            Action::Receipt => {
                let store = self.machines[ADMIN].open();
                match store.receipt().await {
                    Ok(receipt) => {
                        self.receipt = receipt;
                        Outcome::Done
                    }
                    Err(error) => outcome(&Err(error)),
                }
            }
            Action::Restore(source) => {
                let (backup, staging) = (self.source(source, before), self.new_path());
                let machine = &self.machines[ADMIN];
                let database = self.database();
                allowed(restoring::in_place(machine, &database, &backup, staging).await)
            }
            Action::RestoreClean(source) => self.restore_clean(source, before).await,
            Action::StealSigner(home) => {
                let key = before.homes[home].signer.unwrap();
                let file = self.steal(home, "signer.pem");
                self.stolen_signers.insert(key, file);
                Outcome::Done
            }
            Action::StealOwner => {
                let key = before.homes[ADMIN].owner.unwrap();
                let file = self.steal(ADMIN, "owner.pem");
                self.stolen_owners.insert(key, file);
                Outcome::Done
            }
            Action::Replace { .. } | Action::Forge { .. } | Action::ForgeKeyring { .. } => {
                let file = self.make(&after.database);
                super::replace_file(&file, &self.database());
                Outcome::Done
            }
        }
    }

    async fn rotate(&mut self, role: Role) -> Outcome {
        let store = self.machines[ADMIN].open();
        let change = to_raw_value("a rotation").unwrap();
        let revision = match store.revision().await {
            Ok(revision) => revision,
            Err(error) => return outcome(&Err(error)),
        };
        let rotated = store.rotate_key(role, revision, Batch::default(), author(&change));
        outcome(&rotated.await.map(|()| true))
    }

    async fn add_signer(&mut self) -> Outcome {
        let new = Signer::generate().unwrap();
        let store = self.machines[ADMIN].open();
        let edit = |signers: &mut Vec<_>| signers.push(changes::signer(new.verifier()));
        let result = changes::change_signers(&store, edit).await;
        if result.is_ok() {
            let file = self.machines[OTHER].key_file("signer.pem");
            super::write_private(&file, new.to_pem().unwrap().expose());
        }
        outcome(&result.map(|()| true))
    }

    async fn restore_clean(&mut self, source: Source, before: &State) -> Outcome {
        let (backup, directory) = (self.source(source, before), self.new_path());
        let (database, recovery) = (self.database(), self.recovery.identity_file());
        std::fs::create_dir(&directory).unwrap();
        let receipt = &self.receipt;
        let restored =
            restoring::on_clean_machine(&directory, &database, &backup, receipt, &recovery);
        let Some(mut machine) = restored.await else {
            return Outcome::NotAllowed;
        };
        machine.start_process().await;
        self.machines.push(machine);
        Outcome::Done
    }

    fn source(&self, source: Source, state: &State) -> PathBuf {
        match source {
            Source::Backup(number) => self.backups[number].clone(),
            Source::Branch(number) => self.copy_of(&state.branches[number]).unwrap(),
        }
    }

    fn steal(&mut self, home: usize, name: &str) -> PathBuf {
        let file = self.new_path();
        std::fs::copy(self.machines[home].key_file(name), &file).unwrap();
        file
    }

    fn keep_copy(&mut self, database: &Database) {
        if self.copy_of(database).is_none() {
            let file = self.new_path();
            Copy::open(&self.database()).copy_to(&file);
            self.copies.push((database.clone(), file));
        }
    }

    fn copy_of(&self, database: &Database) -> Option<PathBuf> {
        let mut copies = self.copies.iter();
        let found = copies.find(|(known, _)| known == database);
        found.map(|(_, file)| file.clone())
    }

    /// Makes a database that the adversary can make.
    fn make(&mut self, database: &Database) -> PathBuf {
        let known = self.copies.iter();
        let same = |(known, _): &&(Database, PathBuf)| known.head == database.head;
        if let Some((_, file)) = known.clone().find(same) {
            let (file, made) = (file.clone(), self.new_path());
            std::fs::copy(file, &made).unwrap();
            self.list_keyrings(&made, database);
            return made;
        }
        // The newest entry is forged.
        let base = Database {
            head: Arc::clone(database.head.previous.as_ref().unwrap()),
            keyrings: Arc::clone(&database.keyrings),
        };
        let signer = database.head.signed_by;
        let is_keyring_known = self
            .copies
            .iter()
            .any(|(known, _)| known.keyring(database.keyrings.digest).is_some());
        if is_keyring_known {
            let made = self.make(&base);
            let signer = self.stolen_signers[&signer].clone();
            Copy::open(&made).add_entry(database.head.keyring.number, &signer);
            return made;
        }
        let before = database.keyrings.previous.as_ref().unwrap();
        let base = Database {
            keyrings: Arc::clone(before),
            ..base
        };
        let made = self.make(&base);
        let copy = Copy::open(&made);
        let key = self.adversary.signer_file();
        let stolen = database.keyrings.signed_by.keys();
        let stolen = stolen.filter_map(|owner| self.stolen_owners.get(&owner));
        let owners: Vec<&Path> = [&key].into_iter().chain(stolen).map(|key| &**key).collect();
        let recipient = serde_json::to_value(&self.adversary.recipient).unwrap();
        let (payload, _) = copy.keyring(before.number).unwrap();
        let (payload, signatures) = forged_keyring(&payload, &key, &recipient, &owners);
        copy.add_keyring(before.number + 1, &payload, &signatures);
        copy.add_entry(before.number + 1, &key);
        made
    }

    fn list_keyrings(&self, file: &Path, database: &Database) {
        let mut copies = self.copies.iter();
        let from = copies.find(|(known, _)| known.keyring(database.keyrings.digest).is_some());
        let from = Copy::open(&from.unwrap().1);
        Copy::open(file).take_keyrings(&from, database.keyrings.number);
    }

    /// Fails unless the guest, and the machine that read the database last, open the secret
    /// exactly if the model says so.
    pub async fn compare_secrets(&self, state: &State, reader: Option<usize>) {
        let head = &state.database.head;
        let opens = self.guest.opens_secret(&self.database());
        assert_eq!(opens, self.guest_knows.has(head.secret.epoch), "the guest");
        if let Some(home) = reader {
            let epoch = head.keyring.authority.epoch_of(head.secret.epoch);
            let identity = state.homes[home].identity;
            let expected = epoch.is_some_and(|epoch| epoch.sealed_to.has(identity));
            let opened = changes::open(&self.machines[home].open()).await;
            assert_eq!(opened.unwrap(), expected, "machine {home}");
        }
    }
}

fn allowed(is_allowed: bool) -> Outcome {
    match is_allowed {
        true => Outcome::Done,
        false => Outcome::NotAllowed,
    }
}

/// The outcome in the words of the model. `false` means that an action was not allowed.
fn outcome(result: &Result<bool, Error>) -> Outcome {
    match result {
        Ok(is_allowed) => allowed(*is_allowed),
        Err(Error::Tampered(tampering)) => match tampering.fault() {
            StoreFault::Stale => Outcome::Refused(Fault::Stale),
            StoreFault::Forged => Outcome::Refused(Fault::Forged),
            _ => panic!("{tampering}"),
        },
        Err(Error::RestoredElsewhere { .. }) => Outcome::RestoredElsewhere,
        Err(_) => Outcome::NotAllowed,
    }
}
