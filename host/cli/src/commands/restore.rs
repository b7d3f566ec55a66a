//! `entail restore`: restores a backup.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{KeyId, Keys};
use entail::{
    IdentitySource, Secret, Trust, plan_restore_in_place, quoted, restore_in_place,
    restore_to_clean_machine,
};

use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
use crate::output::progress::Bar;
use crate::output::{Style, choose, count, err, out, print_dry_run_notice, print_json};
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
    /// machine, or where this home's own identity does not open the backup
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub recovery: Option<PathBuf>,
    /// Accept a state older than what this home has seen
    #[arg(long)]
    pub accept_rollback: bool,
    /// Trust a backup that is signed by this key (see: entail key list)
    #[arg(long, value_name = "ID")]
    pub verifier: Option<String>,
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
    let restored = match (&args.file, &args.recovery) {
        _ if args.accept_rollback => in_place(session, args).await?,
        (Some(_), Some(_)) if dry_run => {
            return Err(CliError::usage(
                "creating a home changes no other home; to try it, name another directory with --home",
            ));
        }
        (Some(file), Some(recovery)) => to_clean_machine(session, args, file, recovery).await?,
        (None, Some(_)) => return Err(CliError::usage("no backup is given")),
        _ => {
            return Err(CliError::invalid(
                "a backup may be older than what this home has seen: changes since then would be undone",
            )
            .with_remedies(vec![
                "to restore it anyway, add --accept-rollback".to_owned(),
                "on a clean machine, add --recovery FILE".to_owned(),
            ]));
        }
    };
    print_restored(session, &restored, !args.accept_rollback);
    Ok(())
}

/// Shows what restoring in place would change.
async fn print_plan(session: &Session, args: &RestoreArgs) -> Result<(), CliError> {
    let trust = trust(args.verifier.as_deref().into_iter())?;
    let recovery = args.recovery.as_deref().map(read_recovery).transpose()?;
    let entail::RestorePlan {
        backup,
        seen,
        to_renew,
    } = plan_restore_in_place(
        &session.home()?,
        args.file.as_deref(),
        recovery.map(IdentitySource::Given),
        &trust,
    )
    .await?;
    let plan = RestorePlan {
        dry_run: true,
        backup,
        seen,
        to_renew: u64::try_from(to_renew).unwrap_or(u64::MAX),
    };
    if session.global.json {
        print_json(&plan);
        return Ok(());
    }
    out!("the store would be as it was at revision {backup}");
    if seen > backup {
        out!("the changes from revision {backup} to {seen} would be undone");
    }
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
    let trust = trust(args.verifier.as_deref().into_iter())?;
    let recovery = args.recovery.as_deref().map(read_recovery).transpose()?;
    let bar = Bar::new("sealing again");
    Ok(restore_in_place(
        &session.home()?,
        args.file.as_deref(),
        recovery.map(IdentitySource::Given),
        &trust,
        &mut |step| bar.step(step),
    )
    .await?)
}

async fn to_clean_machine(
    session: &Session,
    args: &RestoreArgs,
    copy: &Path,
    recovery: &Path,
) -> Result<entail::Restored, CliError> {
    let recovery = read_recovery(recovery)?;
    let verifier = verifier_of(&recovery);
    let given = args.verifier.as_deref();
    let trust = trust(verifier.as_deref().into_iter().chain(given))?;
    let passphrase = if args.passphrase {
        Some(session.new_passphrase()?)
    } else {
        None
    };
    let bar = Bar::new("sealing again");
    Ok(restore_to_clean_machine(
        &session.home_directory()?,
        copy,
        IdentitySource::Given(recovery),
        &trust,
        passphrase.as_ref(),
        &mut |step| bar.step(step),
    )
    .await?)
}

fn read_recovery(file: &Path) -> Result<Secret, CliError> {
    Secret::read_file(file, MAX_RECOVERY_BYTES)
        .map_err(|error| CliError::io(file.display(), &error))?
        .ok_or_else(|| CliError::invalid(format!("{} is too large for a key", file.display())))
}

/// The id of the key that a recovery file trusts.
fn verifier_of(recovery: &Secret) -> Option<String> {
    let text = recovery.expose_text()?.trim_start_matches('\u{feff}');
    let mut lines = text.lines();
    let id = lines.find_map(|line| line.strip_prefix(Keys::VERIFIER_COMMENT))?;
    Some(id.trim().to_owned())
}

fn trust<'a>(ids: impl Iterator<Item = &'a str>) -> Result<Trust, CliError> {
    let verifiers = ids
        .map(|id| {
            id.parse::<KeyId>().map_err(|error| {
                CliError::invalid(format!("{} is not the id of a key: {error}", quoted(id)))
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Trust { verifiers })
}

fn print_restored(session: &Session, restored: &entail::Restored, is_new: bool) {
    let entail::Restored {
        backup,
        seen,
        revision,
        renewal,
    } = restored;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let output = Restored {
        backup: *backup,
        seen: *seen,
        revision: *revision,
        renewed: number(renewal.renewed),
        skipped: number(renewal.skipped.len()),
    };
    if session.global.json {
        print_json(&output);
        return;
    }
    out!("the store is as it was at revision {backup}; it is at revision {revision} now");
    if seen > backup {
        out!("the changes from revision {backup} to {seen} were undone");
    }
    let secrets = count(output.renewed, "secret");
    if output.renewed > 0 && is_new {
        out!("this machine's new identity can open {secrets} too");
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
