//! Copies of the store, and the way back.

use std::path::Path;

use entail::store::KeyId;
use entail::{
    IdentitySource, RestorePlan, Restored, Secret, Trust, plan_restore_in_place, quoted,
    restore_in_place, restore_to_clean_machine,
};
use serde_json::json;

use crate::args::{BackupArgs, RestoreArgs};
use crate::confirm;
use crate::failure::Failure;
use crate::key::verifier_of;
use crate::output::{Style, print_json, say, say_dry_run, tell};
use crate::progress::Bar;
use crate::session::Session;

/// No recovery key is longer.
const MAX_RECOVERY_BYTES: usize = 64 * 1024;

pub async fn backup(session: &Session, args: &BackupArgs) -> Result<(), Failure> {
    let entail = session.open()?;
    let revision = entail.backup(&session.principal, &args.file).await?;
    if session.common.json {
        print_json(&json!({"file": args.file.to_string_lossy(), "revision": revision}));
        return Ok(());
    }
    say!(
        "{} is a copy of the store at revision {revision}",
        args.file.display()
    );
    let recipients = entail.recipients(&session.principal).await?;
    if recipients.recipients.len() < 2 {
        tell!(Style::Warn => "note:"; " only this home's identity opens it; make a recovery key: entail key add-recipient --recovery FILE"
        );
    }
    Ok(())
}

pub async fn restore(session: &Session, args: &RestoreArgs) -> Result<(), Failure> {
    if session.common.dry_run && args.accept_rollback {
        return dry_run(session, args).await;
    }
    let restored = match (&args.file, &args.recovery) {
        (file, recovery) if args.accept_rollback => {
            if confirm::is_wanted(session) {
                confirm::ask(&[
                    "what was changed after the copy was made is undone (see: --dry-run)"
                        .to_owned(),
                ])?;
            }
            in_place(session, args, file.as_deref(), recovery.as_deref()).await?
        }
        (Some(_), Some(_)) if session.common.dry_run => {
            return Err(Failure::new(
                2,
                "usage",
                "making a home changes none that is there; to try it, name another folder with --home",
            ));
        }
        (Some(file), Some(recovery)) => to_clean_machine(session, args, file, recovery).await?,
        (None, Some(_)) => {
            return Err(Failure::new(2, "usage", "say which copy to restore"));
        }
        _ => {
            return Err(Failure::invalid(
                "a copy may be older than what this home has seen: changes since then would be undone",
            )
            .with_remedies(vec![
                "to go back all the same, add --accept-rollback".to_owned(),
                "on a clean machine, add --recovery FILE".to_owned(),
            ]));
        }
    };
    report(session, &restored, !args.accept_rollback);
    Ok(())
}

/// Says what going back would come to, and does not.
async fn dry_run(session: &Session, args: &RestoreArgs) -> Result<(), Failure> {
    let trust = trust(args.verifier.as_deref().into_iter())?;
    let recovery = args.recovery.as_deref().map(read_recovery).transpose()?;
    let RestorePlan {
        backup: copy,
        seen,
        to_renew,
    } = plan_restore_in_place(
        &session.home()?,
        args.file.as_deref(),
        recovery.map(IdentitySource::Given),
        &trust,
    )
    .await?;
    if session.common.json {
        print_json(&json!({
            "dry_run": true, "copy": copy, "seen": seen, "to_renew": to_renew,
        }));
        return Ok(());
    }
    say!("the store would be as it was at revision {copy}");
    if seen > copy {
        say!("what was changed from revision {copy} to {seen} would be undone");
    }
    say!("{to_renew} secrets would be sealed again");
    say_dry_run();
    Ok(())
}

async fn in_place(
    session: &Session,
    args: &RestoreArgs,
    copy: Option<&Path>,
    recovery: Option<&Path>,
) -> Result<Restored, Failure> {
    let trust = trust(args.verifier.as_deref().into_iter())?;
    let recovery = recovery.map(read_recovery).transpose()?;
    let bar = Bar::new("sealing again");
    Ok(restore_in_place(
        &session.home()?,
        copy,
        recovery.map(IdentitySource::Given),
        &trust,
        &mut |step| bar.step(step),
    )
    .await?)
}

fn read_recovery(file: &Path) -> Result<Secret, Failure> {
    Secret::read_file(file, MAX_RECOVERY_BYTES)
        .map_err(|error| Failure::io(file.display(), &error))?
        .ok_or_else(|| Failure::invalid(format!("{} is too large for a key", file.display())))
}

async fn to_clean_machine(
    session: &Session,
    args: &RestoreArgs,
    copy: &Path,
    recovery: &Path,
) -> Result<Restored, Failure> {
    let text = read_recovery(recovery)?;
    let named = verifier_of(&text);
    let trust = trust(named.as_deref().into_iter().chain(args.verifier.as_deref()))?;
    let passphrase = match args.passphrase {
        true => Some(session.new_passphrase()?),
        false => None,
    };
    let bar = Bar::new("sealing again");
    Ok(restore_to_clean_machine(
        &session.home_folder()?,
        copy,
        IdentitySource::Given(text),
        &trust,
        passphrase.as_ref(),
        &mut |step| bar.step(step),
    )
    .await?)
}

fn trust<'a>(names: impl Iterator<Item = &'a str>) -> Result<Trust, Failure> {
    let verifiers = names
        .map(|name| {
            name.parse::<KeyId>().map_err(|error| {
                Failure::invalid(format!("{} names no key: {error}", quoted(name)))
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Trust { verifiers })
}

fn report(session: &Session, restored: &Restored, is_new: bool) {
    let Restored {
        backup: copy,
        seen,
        revision,
        renewal,
    } = restored;
    if session.common.json {
        print_json(&json!({
            "copy": copy, "seen": seen, "revision": revision,
            "renewed": renewal.renewed, "left": renewal.skipped.len(),
        }));
        return;
    }
    say!("the store is as it was at revision {copy}; it is at revision {revision} now");
    if seen > copy {
        say!("what was changed from revision {copy} to {seen} is undone");
    }
    if renewal.renewed > 0 && !is_new {
        say!("{} secrets are sealed again", renewal.renewed);
    }
    if renewal.renewed > 0 && is_new {
        say!(
            "{} secrets are sealed to this machine's new identity as well",
            renewal.renewed
        );
        say!(
            "take off the list whose machine is lost: entail key list, entail key remove-recipient ID"
        );
    }
    for left in &renewal.skipped {
        let reason = left.reason.as_ref().map(ToString::to_string);
        tell!(Style::Warn => "note:"; " not sealed again: {} {}: {}",
            left.scope,
            left.credential,
            reason.unwrap_or_default()
        );
    }
}
