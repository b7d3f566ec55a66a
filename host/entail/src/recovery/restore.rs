//! Restoring a backup: on a clean machine, or instead of the store of a home.
//!
//! Restoring is a deliberate act, and the journal records it.

use std::path::{Path, PathBuf};

use entail_store::{
    Backend as _, BackendError, IdentitySource, Keys, NewKeys, Recipient, Revision, Secret,
    write_keyring,
};
use tokio::sync::mpsc::UnboundedSender;

use super::import::{
    Import, Imported, RESTORED_LABEL, RestoreRequest, check_recovery, import_over, read_backup,
};
use super::trust::Trust;
use crate::authorize::authorize_whole;
use crate::blocking::{run_future_on_thread, run_with_progress};
use crate::clock::now_ms;
use crate::entail::{Entail, Options};
use crate::error::Error;
use crate::home::Home;
use crate::keys::renewing::Renewing;
use crate::keys::{OnStep, Renewal, Step};
use crate::principal::{Action, Principal};

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The revision of the backup.
    pub backup: Revision,
    /// The newest revision that had been seen before; 0 on a clean machine.
    pub seen: Revision,
    /// When the newest change of the backup was made, in milliseconds since
    /// 1970-01-01T00:00:00Z.
    pub backup_at_ms: u64,
    /// The labels of the readers of the backup that were removed since. They stay removed.
    pub not_restored: Vec<String>,
    /// The revision now.
    pub revision: Revision,
    /// What was sealed again, and what could not be.
    pub renewal: Renewal,
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePlan {
    /// The revision of the backup.
    pub backup: Revision,
    /// When the newest change of the backup was made, in milliseconds since
    /// 1970-01-01T00:00:00Z.
    pub backup_at_ms: u64,
    /// The labels of the readers of the backup that were removed since. They stay removed.
    pub not_restored: Vec<String>,
    /// The newest revision that had been seen.
    pub seen: Revision,
    /// How many secrets would be sealed again.
    pub to_renew: usize,
    /// The organizations with secrets that the new identity of a clean machine would open; empty
    /// if a home is restored in place.
    pub organizations: Vec<String>,
}

/// Creates a home on a clean machine from a backup and the recovery key. The home gets a new
/// identity and a new signer, and every secret is sealed to the new identity as well.
///
/// Runs on a separate thread, which continues if the future is dropped.
///
/// # Errors
///
/// [`Error::Untrusted`], [`Error::Tampered`]; [`Error::Invalid`] if the recovery key opens nothing.
/// Nothing is left behind.
pub async fn restore_to_clean_machine(
    directory: &Path,
    principal: &Principal,
    backup: &Path,
    recovery: IdentitySource,
    trust: &Trust,
    passphrase: Option<&Secret>,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    authorize_whole(principal, Action::Administer)?;
    let (directory, backup) = (directory.to_owned(), backup.to_owned());
    let (trust, passphrase) = (trust.clone(), passphrase.cloned());
    let principal = principal.clone();
    run_with_progress("entail-restore", on_step, move |progress| async move {
        let home = Home::prepare(&directory)?;
        let _lock = home.lock()?;
        home.check_free()?;
        home.discard_interrupted()?;
        let staged = home.staging_dir()?;
        let passphrase = passphrase.as_ref();
        let (by, progress) = (&principal, Some(progress));
        let built = build_home(&staged, by, &backup, recovery, &trust, passphrase, progress).await;
        let promoted = built.and_then(|restored| {
            home.promote(&staged)?;
            Ok(restored)
        });
        promoted.inspect_err(|_| home.discard(&staged))
    })
    .await
}

/// Plans [`restore_to_clean_machine`]: does everything in the staging directory, and removes it
/// again, and the directory of the home if it did not exist.
///
/// # Errors
///
/// As [`restore_to_clean_machine`].
pub async fn plan_restore_to_clean_machine(
    directory: &Path,
    principal: &Principal,
    backup: &Path,
    recovery: IdentitySource,
    trust: &Trust,
) -> Result<RestorePlan, Error> {
    authorize_whole(principal, Action::Administer)?;
    let (directory, backup) = (directory.to_owned(), backup.to_owned());
    let (principal, trust) = (principal.clone(), trust.clone());
    run_future_on_thread("entail-restore", move || async move {
        let above = directory.ancestors().take_while(|above| !above.exists());
        let missing: Vec<PathBuf> = above.map(Path::to_owned).collect();
        let planned = plan_home(&directory, &principal, &backup, recovery, &trust).await;
        // What others use meanwhile is not empty, and stays.
        for created in missing {
            let _ = std::fs::remove_dir(created);
        }
        planned
    })
    .await
}

async fn plan_home(
    directory: &Path,
    principal: &Principal,
    backup: &Path,
    recovery: IdentitySource,
    trust: &Trust,
) -> Result<RestorePlan, Error> {
    let home = Home::prepare(directory)?;
    let _lock = home.lock()?;
    home.check_free()?;
    let staged = home.staging_dir()?;
    let built = build_home(&staged, principal, backup, recovery, trust, None, None).await;
    std::fs::remove_dir_all(staged.directory())
        .map_err(|error| Error::Home(format!("{}: {error}", staged.directory().display())))?;
    let restored = built?;
    Ok(RestorePlan {
        backup: restored.backup,
        backup_at_ms: restored.backup_at_ms,
        not_restored: restored.not_restored,
        seen: restored.seen,
        to_renew: restored.renewal.renewed,
        organizations: restored.renewal.organizations,
    })
}

async fn build_home(
    staged: &Home,
    principal: &Principal,
    backup: &Path,
    recovery: IdentitySource,
    trust: &Trust,
    passphrase: Option<&Secret>,
    progress: Option<UnboundedSender<Step>>,
) -> Result<Restored, Error> {
    let history = read_backup(staged, backup, backup).await?;
    trust.check(&history, None, backup)?;
    if let IdentitySource::Given(recovery) = &recovery {
        check_recovery(recovery, &history, backup)?;
    }
    let failed = |error: std::io::Error| Error::Home(error.to_string());
    let new = NewKeys::generate().map_err(failed)?;
    let own = new.recipient(RESTORED_LABEL, now_ms());
    let with_own = |list: &[Recipient]| [std::slice::from_ref(&own), list].concat();
    let before = history.keyring().authority();
    let mut authority = new.authority(RESTORED_LABEL, now_ms());
    authority.default_recipients = with_own(&before.default_recipients);
    authority.readers.clone_from(&before.readers);
    for readers in &mut authority.readers {
        readers.recipients = with_own(&readers.recipients);
    }
    let own = new.write(&staged.keys_directory(), passphrase, history.keyring())?;
    let import = Import {
        principal,
        staged,
        history: &history,
        seen: entail_store::JournalPosition::default(),
        authority,
        add_blobs: Vec::new(),
        before: Vec::new(),
        signed: None,
        takes_over: true,
    };
    let imported = import.run(own).await?;

    // The rest is done as in any home, but with the recovery key.
    let keys = staged.keys(recovery)?;
    let entail = Entail::with_keys(staged, keys, Options::default())?;
    let renewal = renewing(&entail, principal, progress).reseal().await?;
    let revision = entail.documents.store.revision().await?;
    Ok(restored(imported, revision, renewal))
}

/// Replaces the store of a home by a backup, or accepts the present database although the anchor
/// contradicts it. Everything is sealed again where the readers have changed.
///
/// If more owners must sign than this machine has keys of, it fails with
/// [`Error::OwnersRequired`]. Call it again with the proposal that they signed.
///
/// Other processes that use the home meanwhile may report that it was tampered with. Runs on
/// a separate thread, which continues if the future is dropped.
///
/// # Errors
///
/// [`Error::Untrusted`], [`Error::Tampered`]; [`Error::Keys`] without a signer;
/// [`Error::RecoveryKeyRequired`], [`Error::Invalid`] if no identity opens the backup. Then
/// nothing was changed.
pub async fn restore_in_place(
    home: &Home,
    principal: &Principal,
    request: RestoreRequest,
    on_step: OnStep<'_>,
) -> Result<Restored, Error> {
    authorize_whole(principal, Action::Administer)?;
    let (home, by) = (home.clone(), principal.clone());
    run_with_progress("entail-restore", on_step, move |progress| async move {
        let keys = home.keys(IdentitySource::Directory)?;
        keys.check_can_rotate()?;
        let _lock = keys.lock()?;
        let staged = home.staging_dir()?;
        let imported = import_over(&home, &staged, &by, &request, &keys).await;
        let recovery = request.recovery;
        let result = match imported {
            Ok((imported, present)) => {
                replace_store(&home, &staged, &by, imported, present, recovery, progress).await
            }
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_dir_all(staged.directory());
        result
    })
    .await
}

/// Plans [`restore_in_place`]: imports the backup in the staging directory, verifies it, and
/// removes it again. Opens no secret, so it does not find secrets that fail to open.
///
/// # Errors
///
/// As [`restore_in_place`].
pub async fn plan_restore_in_place(
    home: &Home,
    principal: &Principal,
    request: RestoreRequest,
) -> Result<RestorePlan, Error> {
    authorize_whole(principal, Action::Administer)?;
    let (home, principal) = (home.clone(), principal.clone());
    run_future_on_thread("entail-restore", move || async move {
        let keys = home.keys(IdentitySource::Directory)?;
        keys.check_can_rotate()?;
        let _lock = keys.lock()?;
        let staged = home.staging_dir()?;
        let plan = plan_import(&home, &staged, &principal, request, &keys).await;
        std::fs::remove_dir_all(staged.directory())
            .map_err(|error| Error::Home(format!("{}: {error}", staged.directory().display())))?;
        plan
    })
    .await
}

async fn plan_import(
    home: &Home,
    staged: &Home,
    principal: &Principal,
    request: RestoreRequest,
    keys: &Keys,
) -> Result<RestorePlan, Error> {
    let (imported, _) = import_over(home, staged, principal, &request, keys).await?;
    let renewing = home.keys(request.recovery.unwrap_or(IdentitySource::Directory))?;
    let to_renew = if renewing.can_unseal() {
        count_to_renew(staged, principal).await?
    } else {
        0
    };
    Ok(RestorePlan {
        backup: imported.backup,
        backup_at_ms: imported.backup_at_ms,
        not_restored: imported.not_restored,
        seen: imported.seen,
        to_renew,
        organizations: Vec::new(),
    })
}

/// How many secrets are not sealed to the present recipients.
async fn count_to_renew(staged: &Home, principal: &Principal) -> Result<usize, Error> {
    let keys = staged.keys(IdentitySource::Directory)?;
    let entail = Entail::with_keys(staged, keys, Options::default())?;
    let keyring = entail.documents.store.keyring().await?;
    let stale = keyring.authority().readers.iter();
    let stale = stale.filter(|readers| !readers.is_current());
    let beginning: Vec<String> = stale.map(|readers| readers.organization.clone()).collect();
    renewing(&entail, principal, None)
        .count_in_other_epochs(&keyring, &beginning)
        .await
}

fn renewing(
    entail: &Entail,
    principal: &Principal,
    progress: Option<UnboundedSender<Step>>,
) -> Renewing {
    Renewing::new(entail.documents.clone(), principal.clone(), progress)
}

/// Replaces the store of a home by the imported one, and renews it for this machine's keys.
async fn replace_store(
    home: &Home,
    staged: &Home,
    principal: &Principal,
    imported: Imported,
    present: Option<entail_store::Sqlite>,
    recovery: Option<IdentitySource>,
    progress: UnboundedSender<Step>,
) -> Result<Restored, Error> {
    let new_mark = staged.anchor().read().map_err(Error::Anchor)?;
    let replaced = match present {
        Some(present) => present.replace_by(&staged.database_file()).await,
        None => Err(BackendError::Empty),
    };
    match replaced {
        Ok(()) => {}
        Err(error @ BackendError::Busy) => return Err(entail_store::Error::from(error).into()),
        Err(_) => move_database(staged, home)?,
    }
    let anchor = home.anchor();
    anchor
        .set(new_mark, &imported.keyring)
        .map_err(Error::Anchor)?;
    write_keyring(&home.keys_directory(), &imported.keyring)?;
    let keys = home.keys(recovery.unwrap_or(IdentitySource::Directory))?;
    let entail = Entail::with_keys(home, keys, Options::default())?;
    let renewal = if entail.can_unseal() {
        renewing(&entail, principal, Some(progress))
            .reseal()
            .await?
    } else {
        Renewal::default()
    };
    let revision = entail.documents.store.revision().await?;
    Ok(restored(imported, revision, renewal))
}

fn restored(imported: Imported, revision: Revision, renewal: Renewal) -> Restored {
    Restored {
        backup: imported.backup,
        backup_at_ms: imported.backup_at_ms,
        not_restored: imported.not_restored,
        seen: imported.seen,
        revision,
        renewal,
    }
}

/// Moves a database file over one that cannot be read, and removes the write-ahead log of
/// the old one, which would be applied to the new one.
fn move_database(staged: &Home, home: &Home) -> Result<(), Error> {
    staged.check_closed()?;
    let moved = home
        .remove_write_ahead_log()
        .and_then(|()| std::fs::rename(staged.database_file(), home.database_file()));
    moved.map_err(|error| Error::Home(format!("the database: {error}")))
}
