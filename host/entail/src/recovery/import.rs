//! Importing a backup: making it a store of this machine, in a staging directory.
//!
//! A backup is trusted if its newest entry is signed by a trusted key, or by one that a
//! trusted key authorized.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use entail_store::{
    Author, Backend, BackendError, Batch, Fault, IdentitySource, InputError, InputFile,
    JournalPosition, KeyId, Keys, Recipient, Recipients, Revision, Secret, SignerChain, Sqlite,
    Store, Tampering, Verifier, private_directory, recipients_key,
};
use serde_json::json;

use crate::clock::now_ms;
use crate::documents::encode;
use crate::error::Error;
use crate::home::Home;
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

/// The keys whose backups are trusted.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The ids of the keys.
    pub verifiers: Vec<KeyId>,
}

impl Trust {
    pub(super) fn check(&self, signers: &SignerChain, backup: &Path) -> Result<(), Error> {
        let is_trusted = self
            .verifiers
            .iter()
            .any(|trusted| signers.descends_from(trusted));
        if is_trusted {
            return Ok(());
        }
        let trusted: BTreeSet<String> = self.verifiers.iter().map(ToString::to_string).collect();
        let trusted = if trusted.is_empty() {
            "no key is trusted".to_owned()
        } else {
            let keys: Vec<String> = trusted.into_iter().collect();
            format!("trusted is {}", keys.join(", "))
        };
        let signer = signers.keys().last().map(ToString::to_string);
        let shown = signer.as_deref().unwrap_or("nobody");
        Err(Error::Untrusted {
            message: format!("{} is signed by {shown}, and {trusted}", backup.display()),
            signer,
        })
    }
}

/// The revisions of an imported backup.
pub(super) struct Imported {
    /// The revision of the backup.
    pub(super) backup: Revision,
    /// The newest revision that had been seen before.
    pub(super) seen: Revision,
}

/// Imports a backup over the store of a home, in the staging directory. The home is only
/// read. Also returns its database, if it can be opened.
pub(super) async fn import_over(
    home: &Home,
    staged: &Home,
    backup: Option<&Path>,
    recovery: Option<&IdentitySource>,
    extra: &Trust,
    keys: &Keys,
) -> Result<(Imported, Option<Sqlite>), Error> {
    let present = Sqlite::open(&home.database_file());
    let own_copy = staged.directory().join("present.db");
    let backup = match (backup, &present) {
        // A process with exclusive access would not notice the replacement.
        (_, Err(error @ BackendError::Busy)) => return Err(Error::Unavailable(error.to_string())),
        (Some(backup), _) => backup,
        (None, Ok(present)) => {
            present.copy_to(&own_copy).await.map_err(backend_error)?;
            &own_copy
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
    let mut trust = extra.clone();
    let own = keys.verifiers().iter().map(|key| key.id().clone());
    trust.verifiers.extend(own);
    let signers = read_backup(staged, backup).await?;
    let is_earlier_state = match &present {
        Ok(present) => is_earlier_state(present, keys, &signers).await,
        Err(_) => false,
    };
    if !is_earlier_state {
        trust.check(&signers, backup)?;
    }
    // Fails before anything is replaced if the recovery key is invalid.
    let recovery = recovery.map(|source| home.keys(source.clone()));
    let recovery = recovery.transpose()?;
    // An unreadable anchor does not prevent a restore.
    let seen = home.anchor().read().unwrap_or_default();
    let added_recipients = own_recipients_missing(staged, keys, recovery.as_ref()).await?;
    copy_signing_keys(home, staged)?;
    let import = Import {
        staged,
        signers: signers.verifiers(),
        mark: signers.position(),
        seen,
        added_recipients,
    };
    let imported = import.run(staged.keys(IdentitySource::Directory)?).await?;
    Ok((imported, present.ok()))
}

/// Whether a backup is an earlier state of the present store, with any signer: its newest
/// entry is in the present journal, which is signed by a key of this machine. A backup that an
/// earlier key signed differently is not.
async fn is_earlier_state(present: &Sqlite, keys: &Keys, backup: &SignerChain) -> bool {
    let Ok(signers) = SignerChain::of(present).await else {
        return false;
    };
    let own = |verifier: &Verifier| signers.descends_from(verifier.id());
    keys.verifiers().iter().any(own) && signers.has(backup.position())
}

/// The recipients of this machine's own identity that are not in the backup's list. The backup
/// has no secret for them, so `recovery` must open its secrets.
async fn own_recipients_missing(
    staged: &Home,
    keys: &Keys,
    recovery: Option<&Keys>,
) -> Result<Vec<Recipient>, Error> {
    if !keys.can_unseal() {
        return Ok(Vec::new());
    }
    let list = untrusted_recipients(staged).await?;
    let missing: Vec<Recipient> = keys
        .own_recipients(RESTORED_LABEL, now_ms())?
        .into_iter()
        .filter(|own| !list.has(&own.id()))
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let Some(recovery) = recovery else {
        return Err(Error::RecoveryKeyRequired);
    };
    if !recovery.identity_ids().any(|id| list.has(id)) {
        return Err(Error::Invalid(format!(
            "the recovery key opens nothing in the backup, which is sealed to {}",
            list.ids().join(", ")
        )));
    }
    Ok(missing)
}

/// The recipients of a backup, before its signature is verified: use them only to fail
/// early.
async fn untrusted_recipients(staged: &Home) -> Result<Recipients, Error> {
    let database = open(&staged.database_file())?;
    let rows = database
        .read(&[recipients_key()], 0, None)
        .await
        .map_err(backend_error)?;
    let payload = rows
        .documents
        .into_iter()
        .next()
        .and_then(|found| found.row)
        .map(|row| row.payload)
        .unwrap_or_default();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
    let body = payload.get("body").cloned().unwrap_or_default();
    serde_json::from_value(body).map_err(|_| {
        Tampering::new(
            Fault::Forged,
            "the backup",
            "has no valid list of recipients",
        )
        .into()
    })
}

/// Makes a database of the rows of a backup in the staging directory, and returns who signed
/// it.
pub(super) async fn read_backup(staged: &Home, backup: &Path) -> Result<SignerChain, Error> {
    let unread = |error: std::io::Error| Error::Invalid(format!("{}: {error}", backup.display()));
    // Copy the bytes first: SQLite may be unable to open the file where it is, and others
    // may write it.
    let received = staged.directory().join(RECEIVED);
    receive(backup, &received).map_err(|error| unread(error.into()))?;
    let database =
        Sqlite::import(&received, &staged.database_file()).map_err(|error| match error {
            BackendError::Tampered(fault) => Error::Tampered(fault),
            error => Error::Invalid(format!(
                "{} is not a backup of a store: {error}",
                backup.display()
            )),
        })?;
    std::fs::remove_file(&received).map_err(unread)?;
    Ok(SignerChain::of(&database).await?)
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

/// Copies the keys that sign and verify, but no identity.
fn copy_signing_keys(home: &Home, staged: &Home) -> Result<(), Error> {
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

/// Makes a backup a store of this machine: verifies all of it, and commits an entry that
/// records the restore.
pub(super) struct Import<'a> {
    /// The staging directory with the rows of the backup.
    pub(super) staged: &'a Home,
    /// The keys that signed the backup.
    pub(super) signers: Vec<Verifier>,
    /// The newest entry of the backup.
    pub(super) mark: JournalPosition,
    /// The newest entry that was seen before.
    pub(super) seen: JournalPosition,
    /// The recipients to add to the list.
    pub(super) added_recipients: Vec<Recipient>,
}

impl Import<'_> {
    /// Imports with `keys`, the signer of this machine.
    pub(super) async fn run(self, keys: Keys) -> Result<Imported, Error> {
        let signer = keys.signer()?.verifier();
        let anchor = self.staged.anchor();
        anchor.set(self.mark).map_err(Error::Anchor)?;
        let database = open(&self.staged.database_file())?;
        let store = Store::open(Arc::new(database), keys, anchor)?;
        // First verify it as its own signer left it.
        store.trust(&self.signers)?;
        verify(&store).await?;
        let mut verifiers = vec![signer.clone()];
        verifiers.extend(
            self.signers
                .into_iter()
                .filter(|former| former.id() != signer.id()),
        );
        store.trust(&verifiers)?;
        let mut batch = Batch {
            trust: Some(signer),
            after: self.seen.revision,
            ..Batch::default()
        };
        if !self.added_recipients.is_empty() {
            let mut list = Recipients::clone(&*store.recipients().await?);
            list.epoch += 1;
            list.recipients.extend(self.added_recipients);
            batch.put.push((recipients_key(), encode(&list)?));
        }
        let change = encode(&json!({
            "change": "restore", "backup": self.mark.revision, "seen": self.seen.revision,
        }))?;
        let author = Author {
            principal: &Principal::LocalOwner.to_string(),
            at_ms: now_ms(),
            change: &change,
        };
        store.commit(self.mark.revision, batch, author).await?;
        Ok(Imported {
            backup: self.mark.revision,
            seen: self.seen.revision,
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
