//! `entail restore`: restores a backup.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{KeyError, KeyId, Receipt, RecoveryKey};
use entail::{
    IdentitySource, Secret, Trust, plan_restore_in_place, quoted, restore_in_place,
    restore_to_clean_machine,
};

use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
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
    /// Trust a backup of a store with this owner (see: entail key list)
    #[arg(long, value_name = "FINGERPRINT")]
    pub owner: Option<String>,
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
    let dry_run = args.dry_run.dry_run;
    if args.accept_rollback && dry_run {
        return print_plan(session, args).await;
    }
    let has_recovery = !args.recovery.is_empty();
    let restored = match (&args.file, has_recovery) {
        _ if args.accept_rollback => in_place(session, args).await?,
        (Some(_), true) if dry_run => {
            return Err(CliError::usage(
                "creating a home changes no other home; to try it, name another directory with --home",
            ));
        }
        (Some(file), true) => to_clean_machine(session, args, file).await?,
        (None, true) => return Err(CliError::usage("no backup is given")),
        _ => {
            return Err(CliError::invalid(
                "a backup may be older than what this home has seen: changes since then would be undone",
            )
            .with_remedies(vec![
                "to restore it anyway, add --accept-rollback".to_owned(),
                "on a clean machine, add --recovery FILE (for each share, if the recovery key has shares)".to_owned(),
            ]));
        }
    };
    print_restored(session, &restored, !args.accept_rollback);
    Ok(())
}

/// Shows what restoring in place would change.
async fn print_plan(session: &Session, args: &RestoreArgs) -> Result<(), CliError> {
    let trust = trust(args, Vec::new())?;
    let recovery = read_recovery(&args.recovery)?;
    let entail::RestorePlan {
        backup,
        backup_at_ms,
        not_restored,
        seen,
        to_renew,
    } = plan_restore_in_place(
        &session.home()?,
        args.file.as_deref(),
        recovery.map(|key| IdentitySource::Given(key.identity)),
        &trust,
    )
    .await?;
    let plan = RestorePlan {
        dry_run: true,
        backup,
        backup_at_ms,
        not_restored,
        seen,
        to_renew: u64::try_from(to_renew).unwrap_or(u64::MAX),
    };
    if session.global.json {
        print_json(&plan);
        return Ok(());
    }
    out!(
        "the store would be as it was at revision {backup} ({})",
        time(backup_at_ms)
    );
    if let Some(undone) = undone(backup, seen) {
        out!("{undone} would be undone");
    }
    print_not_restored(&plan.not_restored);
    out!("{} would be sealed again", count(to_renew, "secret"));
    print_dry_run_notice();
    Ok(())
}

async fn in_place(session: &Session, args: &RestoreArgs) -> Result<entail::Restored, CliError> {
    if confirm::is_needed(session) {
        confirm::ask(&[
            "the changes made after the backup are undone (see: --dry-run)".to_owned(),
        ])?;
    }
    let trust = trust(args, Vec::new())?;
    let recovery = read_recovery(&args.recovery)?;
    let bar = Bar::new("sealing again");
    Ok(restore_in_place(
        &session.home()?,
        args.file.as_deref(),
        recovery.map(|key| IdentitySource::Given(key.identity)),
        &trust,
        &mut |step| bar.step(step),
    )
    .await?)
}

async fn to_clean_machine(
    session: &Session,
    args: &RestoreArgs,
    copy: &Path,
) -> Result<entail::Restored, CliError> {
    let recovery = read_recovery(&args.recovery)?
        .ok_or_else(|| CliError::usage("no recovery key is given"))?;
    let trust = trust(args, recovery.receipts)?;
    let passphrase = if args.passphrase {
        Some(session.new_passphrase()?)
    } else {
        None
    };
    let bar = Bar::new("sealing again");
    Ok(restore_to_clean_machine(
        &session.home_directory()?,
        copy,
        IdentitySource::Given(recovery.identity),
        &trust,
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

fn trust(args: &RestoreArgs, receipts: Vec<Receipt>) -> Result<Trust, CliError> {
    let owner = args.owner.as_deref().map(|owner| {
        owner.parse::<KeyId>().map_err(|error| {
            CliError::invalid(format!(
                "{} is not the fingerprint of an owner: {error}",
                quoted(owner)
            ))
        })
    });
    Ok(Trust {
        owners: owner.transpose()?.into_iter().collect(),
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
