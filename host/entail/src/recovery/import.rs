//! Importing a backup: making it a store of this machine, in a staging directory.
//!
//! Importing opens a new lineage.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entail_store::{
    Authority, BackendError, Batch, Epoch, History, IdentitySource, InputError, InputFile,
    JournalPosition, Keyring, Keys, NewKeyring, Proposal, ProposalError, Receipt, Revision, Secret,
    Sqlite, Store, Tampering, private_directory, write_keyring,
};
use serde_json::json;

use super::authority::{carried_over, check_proposed, removed_labels};
use super::trust::{Trust, of_another_store};
use crate::clock::SystemClock;
use crate::documents::store::DocumentStore;
use crate::error::Error;
use crate::home::Home;
use crate::keys::proposals::ProposedRestore;
use crate::principal::Principal;

/// The label of a recipient that a restore adds.
pub(super) const RESTORED_LABEL: &str = "restored";

/// The name of the backup's bytes in the staging directory.
const RECEIVED: &str = "received.db";

/// The largest backup that is read. Each secret and each change takes some kilobytes, so
/// this is enough for more than a million of them.
const MAX_BACKUP_BYTES: u64 = 16 << 30;

/// The first bytes of a SQLite database.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The largest key file that is read.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// An imported backup.
pub(super) struct Imported {
    /// The revision of the backup.
    pub(super) backup: Revision,
    /// When the newest change of the backup was made.
    pub(super) backup_at_ms: u64,
    /// The newest revision that had been seen before.
    pub(super) seen: Revision,
    /// The labels of the readers of the backup that were removed since, and stay so.
    pub(super) not_restored: Vec<String>,
    /// The keyring that is in force now.
    pub(super) keyring: Arc<Keyring>,
}

/// What is restored over the store of a home.
#[derive(Clone, Default)]
#[allow(missing_debug_implementations)] // may hold a secret
pub struct RestoreRequest {
    /// The backup; `None` accepts the present database although the anchor contradicts it.
    pub backup: Option<PathBuf>,
    /// A recovery key, which is needed if the identity of the home opens nothing in the backup.
    pub recovery: Option<IdentitySource>,
    /// Which backups are trusted besides earlier states of the present store.
    pub trust: Trust,
    /// The proposal of this restore, if owners have signed it.
    pub signed: Option<Proposal>,
}

/// Imports a backup over the store of a home, in the staging directory. The home is only
/// read. Also returns its database, if it can be opened.
pub(super) async fn import_over(
    home: &Home,
    staged: &Home,
    principal: &Principal,
    request: &RestoreRequest,
    keys: &Keys,
) -> Result<(Imported, Option<Sqlite>), Error> {
    let trust = &request.trust;
    let present = Sqlite::open(&home.database_file());
    let own_copy = staged.directory().join("present.db");
    let database = home.database_file();
    // Errors name the file that the user knows.
    let (backup, shown) = match (request.backup.as_deref(), &present) {
        // A process with exclusive access would not notice the replacement.
        (_, Err(error @ BackendError::Busy)) => return Err(Error::Unavailable(error.to_string())),
        (Some(backup), _) => (backup, backup),
        (None, Ok(present)) => {
            let copied = entail_store::Backend::copy_to(present, &own_copy).await;
            copied.map_err(backend_error)?;
            (&*own_copy, &*database)
        }
        // A database with another definition cannot be accepted.
        (None, Err(BackendError::Tampered(fault))) => return Err(fault.clone().into()),
        (None, Err(_)) => {
            return Err(Error::Unavailable(format!(
                "{} cannot be read; name the backup to restore",
                home.database_file().display()
            )));
        }
    };
    let history = read_backup(staged, backup, shown).await?;
    let now = match &present {
        Ok(present) => present_history(present, keys).await,
        Err(_) => None,
    };
    if let (Some(signed), Some(now)) = (&request.signed, &now)
        && now.keyring().digest() == signed.keyring().digest()
    {
        let imported = restored_before(home, staged, signed, now).await?;
        return Ok((imported, present.ok()));
    }
    // An earlier state of the present store is trusted, whoever signed it.
    let is_earlier_state = now.as_ref().is_some_and(|now| now.has(history.position()));
    if is_earlier_state {
        trust.check_age(&history, shown)?;
    } else {
        trust.check(&history, Some(keys.keyring()), shown)?;
    }
    match &request.recovery {
        Some(IdentitySource::Given(recovery)) => check_recovery(recovery, &history, shown)?,
        _ if keys.can_unseal() && !opens(keys.identity_ids(), &history) => {
            return Err(Error::RecoveryKeyRequired);
        }
        _ => {}
    }
    // An unreadable anchor does not prevent a restore.
    let seen = home.anchor().read().unwrap_or_default();
    copy_private_signing_keys(home, staged)?;
    write_keyring(&staged.keys_directory(), history.keyring())?;
    let own = now.as_ref().map_or(keys.keyring(), History::keyring);
    // A backup that continues the present state knows better who has power.
    let newest = if history.descends_from(own) {
        history.keyring()
    } else {
        own
    };
    let (authority, add_blobs) = carried_over(newest.authority(), &history)?;
    let before = now
        .as_ref()
        .and_then(|now| history.later_keyrings(now))
        .unwrap_or_default();
    let import = Import {
        principal,
        staged,
        signed: request.signed.clone(),
        takes_over: before.last().unwrap_or(history.keyring()).digest() != newest.digest(),
        seen,
        authority,
        add_blobs,
        before,
        history: &history,
    };
    let imported = import.run(staged.keys(IdentitySource::Directory)?).await?;
    Ok((imported, present.ok()))
}

/// Continues a restore that was interrupted after it had replaced the database: owners signed the
/// keyring that is in force there.
async fn restored_before(
    home: &Home,
    staged: &Home,
    signed: &Proposal,
    now: &History,
) -> Result<Imported, Error> {
    let present = open(&home.database_file())?;
    // The backup was received there.
    std::fs::remove_file(staged.database_file())
        .map_err(|error| Error::Home(format!("the staging directory: {error}")))?;
    let copied = entail_store::Backend::copy_to(&present, &staged.database_file()).await;
    copied.map_err(backend_error)?;
    let anchor = staged.anchor();
    private_directory(&staged.keys_directory())
        .map_err(|error| Error::Home(format!("the keys: {error}")))?;
    let mark = now.position();
    anchor.set(mark, now.keyring()).map_err(Error::Anchor)?;
    let restore = ProposedRestore::of(signed).ok_or(ProposalError::NoRestore)?;
    Ok(Imported {
        backup: restore.backup,
        backup_at_ms: now.at_ms(),
        seen: home.anchor().read().unwrap_or_default().revision,
        not_restored: Vec::new(),
        keyring: Arc::clone(now.keyring()),
    })
}

/// The history of the present store, if the keyring of this machine leads to its end.
async fn present_history(present: &Sqlite, keys: &Keys) -> Option<History> {
    let history = History::of(present).await.ok()?;
    history.descends_from(keys.keyring()).then_some(history)
}

/// Whether identities with these ids open the secrets of some organization in a backup, or there
/// is none.
fn opens<'a>(identities: impl Iterator<Item = &'a str>, history: &History) -> bool {
    let identities: Vec<&str> = identities.collect();
    let all = &history.keyring().authority().readers;
    let mut epochs = all.iter().flat_map(|readers| &readers.epochs);
    let is_open = |epoch: &Epoch| {
        let mut sealed_to = epoch.sealed_to.iter();
        sealed_to.any(|id| identities.contains(&id.as_str()))
    };
    all.is_empty() || epochs.any(is_open)
}

/// Fails if a recovery key is of another store than a backup, or opens nothing in it.
pub(super) fn check_recovery(
    recovery: &Secret,
    history: &History,
    backup: &Path,
) -> Result<(), Error> {
    if Receipt::find(recovery).is_some_and(|receipt| receipt.store != history.store()) {
        return Err(of_another_store(backup));
    }
    let ids = Keys::ids_of(recovery)?;
    if opens(ids.iter().map(String::as_str), history) {
        return Ok(());
    }
    let all = &history.keyring().authority().readers;
    let mut labels: Vec<&str> = all
        .iter()
        .flat_map(|readers| &readers.recipients)
        .map(|recipient| &*recipient.label)
        .collect();
    labels.sort_unstable();
    labels.dedup();
    Err(Error::Invalid(format!(
        "the recovery key opens nothing in {}, which is sealed to: {}; give another recovery key, \
         or a backup that was made after this one was added",
        backup.display(),
        labels.join(", ")
    )))
}

/// Makes a database of the rows of a backup in the staging directory, and returns its history.
/// Errors call the backup `shown`.
pub(super) async fn read_backup(
    staged: &Home,
    backup: &Path,
    shown: &Path,
) -> Result<History, Error> {
    let unread = |error: std::io::Error| Error::Unreadable {
        file: shown.to_owned(),
        error,
    };
    // Copy the bytes first: SQLite may be unable to open the file where it is, and others
    // may write it.
    let received = staged.directory().join(RECEIVED);
    receive(backup, &received).map_err(|error| unread(error.into()))?;
    let database =
        Sqlite::import(&received, &staged.database_file()).map_err(|error| match error {
            BackendError::Tampered(fault) => Error::Tampered(fault),
            error => {
                let staged = received.display().to_string();
                let reason = error.to_string().replace(&staged, "it");
                Error::Invalid(format!(
                    "{} is not a backup of a store: {reason}",
                    shown.display()
                ))
            }
        })?;
    let removed = std::fs::remove_file(&received);
    removed.map_err(|error| Error::Home(format!("the staging directory: {error}")))?;
    Ok(History::of(&database).await?)
}

/// Copies the bytes of a backup, after checking its first bytes and its size.
fn receive(backup: &Path, received: &Path) -> Result<(), InputError> {
    let mut opened = InputFile::open_regular(backup)?;
    let too_large = || InputError::TooLarge {
        limit: usize::try_from(MAX_BACKUP_BYTES).unwrap_or(usize::MAX),
    };
    if opened.metadata()?.len() > MAX_BACKUP_BYTES {
        return Err(too_large());
    }
    let mut begin = Vec::with_capacity(SQLITE_MAGIC.len());
    let length = u64::try_from(SQLITE_MAGIC.len()).unwrap_or(u64::MAX);
    opened.by_ref().take(length).read_to_end(&mut begin)?;
    if begin != SQLITE_MAGIC {
        let error = "it is not a backup of a store: it is not a database";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error).into());
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(received)?;
    file.write_all(&begin)?;
    let rest = MAX_BACKUP_BYTES - length + 1;
    let copied = std::io::copy(&mut opened.take(rest), &mut file)?;
    if copied < rest {
        Ok(())
    } else {
        Err(too_large())
    }
}

/// Copies the private keys that sign, but no identity.
fn copy_private_signing_keys(home: &Home, staged: &Home) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Home(format!("the keys: {error}"));
    private_directory(&staged.keys_directory()).map_err(failed)?;
    for entry in std::fs::read_dir(home.keys_directory()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(".pem") {
            let key = Secret::read_regular_file(&entry.path(), MAX_KEY_BYTES)
                .map_err(failed)?
                .ok_or_else(|| Error::Home(format!("the keys: {} is too large", name.display())))?;
            let mode = entry.metadata().map_err(failed)?.permissions().mode();
            let file = File::options()
                .write(true)
                .create_new(true)
                .mode(mode & 0o700)
                .open(staged.keys_directory().join(name));
            file.and_then(|mut file| file.write_all(key.expose()))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes a backup a store of this machine: verifies all of it, and commits a change that opens a
/// new lineage.
pub(super) struct Import<'a> {
    /// Who imports it.
    pub(super) principal: &'a Principal,
    /// The staging directory with the rows of the backup.
    pub(super) staged: &'a Home,
    /// The history of the backup.
    pub(super) history: &'a History,
    /// The newest checkpoint that was seen before.
    pub(super) seen: JournalPosition,
    /// Who may change and read the store from now on.
    pub(super) authority: Authority,
    /// The files of the epochs that begin in it.
    pub(super) add_blobs: Vec<Vec<u8>>,
    /// The keyrings that came after those of the backup.
    pub(super) before: Vec<Arc<Keyring>>,
    /// The keyring that begins the lineage, if owners have signed it already.
    pub(super) signed: Option<Proposal>,
    /// Whether the owners of this machine are not those of the backup.
    pub(super) takes_over: bool,
}

impl Import<'_> {
    /// Imports with `keys`, the owner key and the signer of this machine.
    pub(super) async fn run(self, keys: Keys) -> Result<Imported, Error> {
        let in_force = self.history.keyring();
        let mark = self.history.position();
        let anchor = self.staged.anchor();
        anchor.set(mark, in_force).map_err(Error::Anchor)?;
        let database = open(&self.staged.database_file())?;
        let store = Store::open(Arc::new(database), keys, anchor)?;
        verify(&store).await?;
        let not_restored = removed_labels(in_force.authority(), &self.authority);
        let mut authority = self.authority;
        let mut add_blobs = self.add_blobs;
        for readers in &mut authority.readers {
            // Nothing more is sealed to an epoch that one who was removed knows. The keys of the
            // earlier epochs are sealed again later, by an identity that opens them.
            let renewed = readers.clone().renewed(|_| None);
            let renewed = renewed.map_err(entail_store::Error::Seal)?;
            *readers = renewed.readers;
            add_blobs.extend(renewed.add_blobs);
        }
        let newest = self.before.last().unwrap_or(in_force);
        let mut draft = newest
            .next()
            .begin_lineage()
            .map_err(|error| Error::Home(error.to_string()))?;
        draft.authority = authority;
        let (keyring, add_blobs) = match self.signed {
            None => (NewKeyring::from(draft), add_blobs),
            Some(proposal) => {
                check_proposed(&proposal, newest, &draft.authority, mark)?;
                let keyring = NewKeyring::signed(proposal.keyring().clone());
                (keyring, proposal.into_blobs())
            }
        };
        let keyring = if self.takes_over {
            keyring.taking_over()
        } else {
            keyring
        };
        let batch = Batch {
            add_blobs,
            keyring: Some(keyring.after(self.before)),
            ..Batch::default()
        };
        let change = json!({
            "change": "restore", "backup": mark.revision, "checkpoint": mark.checkpoint,
            "seen": self.seen.revision,
        });
        let documents = DocumentStore::new(store, Arc::new(SystemClock));
        documents
            .commit(self.principal, mark.revision, batch, &change)
            .await?;
        Ok(Imported {
            backup: mark.revision,
            backup_at_ms: self.history.at_ms(),
            seen: self.seen.revision,
            not_restored,
            keyring: documents.store.known_keyring(),
        })
    }
}

/// Fails if anything in the store was tampered with.
async fn verify(store: &Store) -> Result<(), Error> {
    let report = store.check(&mut NoopVisitor, &|_| Vec::new()).await?;
    match report.faults.into_iter().next() {
        Some(fault) => Err(Error::Tampered(fault)),
        None => Ok(()),
    }
}

/// Opens no secret.
struct NoopVisitor;

impl entail_store::Visitor for NoopVisitor {
    fn progress(&mut self, _progress: entail_store::Progress) {}

    fn document(
        &mut self,
        _document: &entail_store::Document,
        _blobs: &entail_store::DocumentBlobs<'_>,
    ) -> Vec<Tampering> {
        Vec::new()
    }
}

fn open(file: &Path) -> Result<Sqlite, Error> {
    Sqlite::open(file).map_err(backend_error)
}

fn backend_error(error: BackendError) -> Error {
    entail_store::Error::from(error).into()
}
