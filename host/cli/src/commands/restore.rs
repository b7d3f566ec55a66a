//! `entail restore`: restores a backup.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{KeyError, KeyId, Receipt, RecoveryKey};
use entail::{
    Home, IdentitySource, RestoreRequest, Secret, Trust, plan_restore_in_place,
    plan_restore_to_clean_machine, quoted, restore_in_place, restore_to_clean_machine,
};

use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::commands::key::read_proposal;
use crate::confirm;
use crate::error::{CliError, ErrorCode};
use crate::output::progress::Bar;
use crate::output::{Style, choose, count, err, out, print_dry_run_notice, print_json, time};
use crate::session::Session;
use entail_api::backup::{RestorePlan, Restored};

/// The maximum length of a file with a recovery key.
const MAX_RECOVERY_BYTES: usize = 64 * 1024;

#[derive(Args)]
pub struct RestoreArgs {
    /// A file that `entail backup` wrote [default: accept what is in the home]
    #[arg(value_parser = path::parser())]
    pub file: Option<PathBuf>,
    /// Restore with the key that `key add-recipient --recovery` wrote: on a clean
    /// machine, or where this home's own identity does not open the backup; repeat it
    /// for each share of a key that is split
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub recovery: Vec<PathBuf>,
    /// Accept a state older than what this home has seen
    #[arg(long)]
    pub accept_rollback: bool,
    /// Restore with the proposal of this restore that enough owners signed (see: entail key sign)
    #[arg(long, value_name = "FILE", requires = "accept_rollback", value_parser = path::parser())]
    pub proposal: Option<PathBuf>,
    /// Trust a backup of a store with this owner; repeat it for each if several had to sign (see:
    /// entail key list)
    #[arg(long, value_name = "FINGERPRINT")]
    pub owner: Vec<String>,
    /// Refuse a backup older than this revision [default: the one that the recovery key names]
    #[arg(long, value_name = "REVISION")]
    pub at_least: Option<u64>,
    /// Protect the new identity with a passphrase
    #[arg(long, requires = "recovery")]
    pub passphrase: bool,
    #[command(flatten)]
    pub dry_run: DryRun,
}

pub async fn restore(session: &Session, args: &RestoreArgs) -> Result<(), CliError> {
    let recovery = read_recovery(&args.recovery)?;
    let target = match (&args.file, recovery) {
        (_, recovery) if args.accept_rollback => Target::Home(recovery),
        (Some(file), Some(recovery)) => Target::CleanMachine(file, recovery),
        (None, Some(_)) => return Err(CliError::usage("no backup is given")),
        (_, None) => {
            return Err(CliError::invalid(
                "a backup may be older than what this home has seen: changes since then would be undone",
            )
            .with_remedies(vec![
                "to restore it anyway, add --accept-rollback".to_owned(),
                "on a clean machine, add --recovery FILE (for each share, if the recovery key has shares)".to_owned(),
            ]));
        }
    };
    if args.dry_run.dry_run {
        let plan = plan(session, args, &target).await;
        print_plan(session, plan.map_err(CliError::without_proposal)?);
        return Ok(());
    }
    let restored = match &target {
        Target::Home(recovery) => in_place(session, args, &target, recovery.as_ref()).await?,
        Target::CleanMachine(file, recovery) => {
            to_clean_machine(session, args, &target, file, recovery).await?
        }
    };
    print_restored(session, &restored, !args.accept_rollback);
    Ok(())
}

/// Where a backup is restored to, with the recovery key.
enum Target<'a> {
    /// This home, instead of its store.
    Home(Option<RecoveryKey>),
    /// A home that does not exist yet.
    CleanMachine(&'a Path, RecoveryKey),
}

/// Checks everything that restoring checks, and returns what it would do.
async fn plan(
    session: &Session,
    args: &RestoreArgs,
    target: &Target<'_>,
) -> Result<entail::RestorePlan, CliError> {
    match target {
        Target::Home(recovery) => {
            let request = request(args, recovery.as_ref())?;
            Ok(plan_restore_in_place(&session.home()?, &session.principal, request).await?)
        }
        Target::CleanMachine(file, recovery) => Ok(plan_restore_to_clean_machine(
            &free_directory(session)?,
            &session.principal,
            file,
            identity_of(recovery),
            &trust(args, recovery.receipts.clone())?,
        )
        .await?),
    }
}

fn print_plan(session: &Session, plan: entail::RestorePlan) {
    let entail::RestorePlan {
        backup,
        backup_at_ms,
        not_restored,
        seen,
        to_renew,
        organizations,
    } = plan;
    let plan = RestorePlan {
        dry_run: true,
        backup,
        backup_at_ms,
        not_restored,
        seen,
        to_renew: u64::try_from(to_renew).unwrap_or(u64::MAX),
        organizations,
    };
    if session.global.json {
        print_json(&plan);
        return;
    }
    out!(
        "the store would be as it was at revision {backup} ({})",
        time(backup_at_ms)
    );
    if let Some(undone) = undone(backup, seen) {
        out!("{undone} would be undone");
    }
    print_not_restored(&plan.not_restored);
    if plan.organizations.is_empty() {
        out!("{} would be sealed again", count(to_renew, "secret"));
    } else {
        let organizations = plan.organizations.join(", ");
        out!("this machine would get an identity that can open the secrets of {organizations}");
    }
    print_dry_run_notice();
}

/// The directory of a home that does not exist yet.
fn free_directory(session: &Session) -> Result<PathBuf, CliError> {
    let directory = session.home_directory()?;
    if !Home::exists(&directory) {
        return Ok(directory);
    }
    Err(CliError::new(
        ErrorCode::Unavailable,
        format!("{} is a home already", directory.display()),
    )
    .with_remedies(vec![
        "to restore over it, add --accept-rollback".to_owned(),
        "to create another home, add --home DIRECTORY".to_owned(),
    ]))
}

/// What is restored over the home.
fn request(args: &RestoreArgs, recovery: Option<&RecoveryKey>) -> Result<RestoreRequest, CliError> {
    Ok(RestoreRequest {
        backup: args.file.clone(),
        recovery: recovery.map(identity_of),
        trust: trust(args, Vec::new())?,
        signed: args.proposal.as_deref().map(read_proposal).transpose()?,
    })
}

async fn in_place(
    session: &Session,
    args: &RestoreArgs,
    target: &Target<'_>,
    recovery: Option<&RecoveryKey>,
) -> Result<entail::Restored, CliError> {
    if confirm::is_needed(session) {
        // What would fail is not asked about.
        plan(session, args, target).await?;
        confirm::ask(&[
            "the changes made after the backup are undone (see: --dry-run)".to_owned(),
        ])?;
    }
    let bar = Bar::new("sealing again");
    Ok(restore_in_place(
        &session.home()?,
        &session.principal,
        request(args, recovery)?,
        &mut |step| bar.step(step),
    )
    .await?)
}

async fn to_clean_machine(
    session: &Session,
    args: &RestoreArgs,
    target: &Target<'_>,
    copy: &Path,
    recovery: &RecoveryKey,
) -> Result<entail::Restored, CliError> {
    let directory = free_directory(session)?;
    let passphrase = if args.passphrase {
        plan(session, args, target).await?;
        Some(session.new_passphrase()?)
    } else {
        None
    };
    let bar = Bar::new("sealing again");
    Ok(restore_to_clean_machine(
        &directory,
        &session.principal,
        copy,
        identity_of(recovery),
        &trust(args, recovery.receipts.clone())?,
        passphrase.as_ref(),
        &mut |step| bar.step(step),
    )
    .await?)
}

/// Reads the recovery key, or combines the shares of one; `None` if there are no files.
fn read_recovery(files: &[PathBuf]) -> Result<Option<RecoveryKey>, CliError> {
    if files.is_empty() {
        return Ok(None);
    }
    let read = |file: &PathBuf| {
        let text = Secret::read_file(file, MAX_RECOVERY_BYTES)
            .map_err(|error| CliError::io(file.display(), &error))?
            .ok_or_else(|| {
                CliError::invalid(format!("{} is too large for a key", file.display()))
            })?;
        Ok((file.clone(), text))
    };
    let texts: Vec<_> = files.iter().map(read).collect::<Result<_, CliError>>()?;
    let key = RecoveryKey::from_texts(&texts).map_err(KeyError::from);
    Ok(Some(key.map_err(entail::Error::from)?))
}

/// The identity of a recovery key.
fn identity_of(recovery: &RecoveryKey) -> IdentitySource {
    IdentitySource::Given(recovery.identity.clone())
}

fn trust(args: &RestoreArgs, receipts: Vec<Receipt>) -> Result<Trust, CliError> {
    let owners = args.owner.iter().map(|owner| {
        owner.parse::<KeyId>().map_err(|error| {
            CliError::invalid(format!(
                "{} is not the fingerprint of an owner: {error}",
                quoted(owner)
            ))
        })
    });
    Ok(Trust {
        owners: owners.collect::<Result<_, _>>()?,
        receipts,
        at_least: args.at_least,
    })
}

/// The changes after a backup, as the subject of a sentence; `None` if there are none.
fn undone(backup: u64, seen: u64) -> Option<String> {
    let first = backup + 1;
    match seen.checked_sub(first)? {
        0 => Some(format!("the change of revision {first}")),
        _ => Some(format!("the changes of revisions {first} to {seen}")),
    }
}

fn print_not_restored(labels: &[String]) {
    if !labels.is_empty() {
        out!(
            "recipients that were removed since stay removed: {}",
            labels.join(", ")
        );
    }
}

fn print_restored(session: &Session, restored: &entail::Restored, is_new: bool) {
    let entail::Restored {
        backup,
        seen,
        backup_at_ms,
        not_restored,
        revision,
        renewal,
    } = restored;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let output = Restored {
        backup: *backup,
        backup_at_ms: *backup_at_ms,
        not_restored: not_restored.clone(),
        seen: *seen,
        revision: *revision,
        renewed: number(renewal.renewed),
        skipped: number(renewal.skipped.len()),
    };
    if session.global.json {
        print_json(&output);
        return;
    }
    out!(
        "the store is as it was at revision {backup} ({}); it is at revision {revision} now",
        time(*backup_at_ms)
    );
    if let Some(undone) = undone(*backup, *seen) {
        let were = choose(
            usize::try_from(seen - backup).unwrap_or(usize::MAX),
            "was",
            "were",
        );
        out!("{undone} {were} undone");
    }
    print_not_restored(not_restored);
    out!("renew the receipt in each recovery key or share: entail key receipt FILE…");
    let secrets = count(output.renewed, "secret");
    if is_new {
        let organizations = renewal.organizations.join(", ");
        out!("this machine's new identity can open the secrets of {organizations} too");
        out!(
            "if the old machine is lost, remove its key: entail key list, then entail key remove-recipient ID"
        );
    } else if output.renewed > 0 {
        let were = choose(output.renewed, "was", "were");
        out!("{secrets} {were} sealed again");
    }
    for skipped in &renewal.skipped {
        let reason = skipped.reason.as_ref().map(ToString::to_string);
        err!(Style::Warn => "note:"; " not sealed again: {} {}: {}",
            skipped.scope,
            skipped.credential,
            reason.unwrap_or_default()
        );
    }
}
