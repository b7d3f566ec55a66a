//! Commands about keys, and about who secrets are sealed to.

use std::path::Path;

use entail::store::{KeyError, Keys, Recipient};
use entail::{Entail, KeyChange, Renewal, Secret, now_ms};
use serde_json::{Value, json};

use crate::args::{AddRecipientArgs, KeyCommand, RotateKeyCommand};
use crate::confirm;
use crate::failure::Failure;
use crate::output::{Cell, Style, Table, print_json, say, say_dry_run, tell};
use crate::progress::Bar;
use crate::session::Session;
use crate::times::time;

pub async fn key(session: &Session, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::List => list(session).await,
        KeyCommand::Rotate(RotateKeyCommand::Identity) => rotate_identity(session).await,
        KeyCommand::Rotate(RotateKeyCommand::Signer) => rotate_signer(session).await,
        KeyCommand::AddRecipient(args) => add_recipient(session, &args).await,
        KeyCommand::RemoveRecipient { recipient } => remove_recipient(session, &recipient).await,
        KeyCommand::Reseal => reseal(session).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let entail = session.open()?;
    let recipients = entail.recipients(&session.principal).await?;
    let keys = entail.keys();
    let own: Vec<&str> = keys.identity_ids().collect();
    let signer = match keys.signer() {
        Ok(signer) => signer.id().to_string(),
        Err(_) => "not here".to_owned(),
    };
    let verifiers: Vec<String> = entail
        .verifiers()
        .iter()
        .map(|verifier| verifier.id().to_string())
        .collect();
    let epoch = recipients.epoch;
    if session.common.json {
        let recipients: Vec<Value> = recipients
            .recipients
            .iter()
            .map(|recipient| {
                json!({
                    "id": recipient.id(), "recipient": recipient.key, "label": recipient.label,
                    "added_at_ms": recipient.added_at_ms, "own": own.contains(&&*recipient.id()),
                })
            })
            .collect();
        print_json(&json!({
            "epoch": epoch, "recipients": recipients,
            "identity": own, "locked": keys.is_locked(), "signer": signer, "verifiers": verifiers,
        }));
        return Ok(());
    }
    let identity = match (own.as_slice(), keys.is_locked()) {
        (_, true) => "under a passphrase".to_owned(),
        ([], _) => "not here: this node opens no secret".to_owned(),
        (own, _) => own.join(", "),
    };
    let mut table = Table::default();
    for (name, value) in [
        ("identity", identity),
        ("signer", signer),
        ("verifier", verifiers.join(", then ")),
    ] {
        table.row([Cell::new(name, Style::Faint), value.into()]);
    }
    table.print();
    say!("secrets are sealed to (list {epoch}):");
    let mut table = Table::with_headings(["ID", "LABEL", "ADDED", "RECIPIENT"]);
    for recipient in &recipients.recipients {
        table.row([
            recipient.id().into(),
            recipient.label.as_str().into(),
            time(recipient.added_at_ms).into(),
            recipient.key.as_str().into(),
        ]);
    }
    table.print();
    Ok(())
}

/// Says what a change would have to seal or sign again, and changes nothing.
async fn dry_run(session: &Session, entail: &Entail, change: KeyChange<'_>) -> Result<(), Failure> {
    let planned = entail.plan_key_change(&session.principal, change).await?;
    if session.common.json {
        print_json(&json!({
            "dry_run": true, "resumed": planned.resumed, "to_renew": planned.to_renew,
        }));
        return Ok(());
    }
    if planned.resumed {
        say!("would go on with what was begun earlier");
    }
    let what = match change {
        KeyChange::RotateSigner => "documents would be signed again",
        _ => "secrets would be sealed again",
    };
    say!("{} {what}; who gets what stays as it is", planned.to_renew);
    say_dry_run();
    Ok(())
}

/// Refuses to write a recovery key over a file, or where there is no folder for it.
fn check_free(file: &Path) -> Result<(), Failure> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let error = match (file.symlink_metadata(), folder.metadata()) {
        (Ok(_), _) => rustix::io::Errno::EXIST.into(),
        (Err(_), Ok(folder)) if folder.is_dir() => return Ok(()),
        (Err(error), _) => error,
    };
    let file = file.to_owned();
    Err(entail::Error::from(KeyError::File { file, error }).into())
}

async fn rotate_identity(session: &Session) -> Result<(), Failure> {
    let (entail, passphrase) = session.open_with_passphrase()?;
    if session.common.dry_run {
        return dry_run(session, &entail, KeyChange::RotateIdentity).await;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .rotate_identity(&session.principal, passphrase.as_ref(), &mut |step| {
            bar.step(step);
        })
        .await?;
    drop(bar);
    let what = match renewal.old_identity_kept {
        false => {
            "this node has a new identity; the old one opens nothing that is sealed from now on"
        }
        true => {
            "this node has a new identity; the old one is kept for what could not be sealed again: mend or remove that, and run this again"
        }
    };
    report(session, &renewal, what, "sealed to it");
    Ok(())
}

async fn rotate_signer(session: &Session) -> Result<(), Failure> {
    let entail = session.open()?;
    if session.common.dry_run {
        return dry_run(session, &entail, KeyChange::RotateSigner).await;
    }
    let bar = Bar::new("signing again");
    let renewal = entail
        .rotate_signer(&session.principal, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    report(
        session,
        &renewal,
        "this node has a new signer; what the old one signs is refused from now on",
        "signed by it",
    );
    Ok(())
}

async fn add_recipient(session: &Session, args: &AddRecipientArgs) -> Result<(), Failure> {
    let entail = session.open_unlocked()?;
    let keys = entail.keys();
    keys.check_can_write().map_err(entail::Error::from)?;
    let (recipient, said) = match (&args.recipient, &args.recovery) {
        (Some(key), _) => {
            let label = args.label.as_deref().unwrap_or("another machine");
            let recipient = Recipient::new(key, label, now_ms()).map_err(entail::Error::from)?;
            if session.common.dry_run {
                let change = KeyChange::AddRecipient(Some(&recipient));
                return dry_run(session, &entail, change).await;
            }
            (recipient, "the recipient is added".to_owned())
        }
        (None, Some(file)) => {
            if session.common.dry_run {
                check_free(file)?;
                return dry_run(session, &entail, KeyChange::AddRecipient(None)).await;
            }
            let label = args.label.as_deref().unwrap_or("recovery");
            let recipient = make_recovery(&entail, file, label)?;
            let said = format!(
                "the recovery key is in {0}; keep it and a backup away from here, and remove {0}",
                file.display()
            );
            (recipient, said)
        }
        (None, None) => return Err(Failure::new(2, "usage", "say which recipient to add")),
    };
    let bar = Bar::new("sealing again");
    let renewal = entail
        .add_recipient(&session.principal, recipient, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    report(session, &renewal, &said, "sealed to it as well");
    Ok(())
}

/// Makes a recovery key, and writes it to a new file together with the name of the
/// key whose signature a copy must have.
fn make_recovery(entail: &Entail, file: &Path, label: &str) -> Result<Recipient, Failure> {
    let verifiers = entail.verifiers();
    let verifier = verifiers
        .first()
        .map(|verifier| verifier.id().to_string())
        .unwrap_or_default();
    let recovery = Keys::make_recovery(file, &verifier).map_err(entail::Error::from)?;
    Ok(Recipient {
        label: label.to_owned(),
        added_at_ms: now_ms(),
        ..recovery
    })
}

async fn remove_recipient(session: &Session, which: &str) -> Result<(), Failure> {
    let entail = session.open_unlocked()?;
    if session.common.dry_run {
        return dry_run(session, &entail, KeyChange::RemoveRecipient(which)).await;
    }
    if confirm::is_wanted(session) {
        let change = KeyChange::RemoveRecipient(which);
        let plan = entail.plan_key_change(&session.principal, change).await?;
        confirm::ask(&[format!(
            "a recipient loses what it could open: {} secrets are sealed again, without it",
            plan.to_renew
        )])?;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .remove_recipient(&session.principal, which, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    report(
        session,
        &renewal,
        "the recipient is removed; it opens nothing that is sealed from now on, but may have copies of what was: renew those keys at their providers",
        "sealed to the others alone",
    );
    Ok(())
}

async fn reseal(session: &Session) -> Result<(), Failure> {
    let entail = session.open_unlocked()?;
    if session.common.dry_run {
        return dry_run(session, &entail, KeyChange::Reseal).await;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .reseal(&session.principal, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    report(
        session,
        &renewal,
        "every secret that can be opened here is sealed to the present recipients",
        "sealed again",
    );
    Ok(())
}

/// Says what renewing came to.
pub fn report(session: &Session, renewal: &Renewal, what: &str, how: &str) {
    let left: Vec<String> = renewal
        .skipped
        .iter()
        .map(|left| {
            let reason = left.reason.as_ref().map(ToString::to_string);
            format!(
                "{} {}: {}",
                left.scope,
                left.credential,
                reason.unwrap_or_else(|| "nobody tried".to_owned())
            )
        })
        .collect();
    if session.common.json {
        print_json(&json!({
            "resumed": renewal.resumed, "renewed": renewal.renewed, "left": left,
            "old_identity_kept": renewal.old_identity_kept,
        }));
        return;
    }
    if renewal.resumed {
        say!("went on with what had been begun earlier");
    }
    say!("{what}");
    say!("{} {how}", renewal.renewed);
    for left in left {
        tell!(Style::Warn => "note:"; " not renewed: {left}");
    }
}

/// The name of the key that a recovery file trusts.
pub fn verifier_of(recovery: &Secret) -> Option<String> {
    let text = recovery.expose_text()?.trim_start_matches('\u{feff}');
    let mut lines = text.lines();
    let named = lines.find_map(|line| line.strip_prefix(Keys::VERIFIER_COMMENT))?;
    Some(named.trim().to_owned())
}
