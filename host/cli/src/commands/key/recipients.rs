//! `entail key add-recipient`, `remove-recipient` and `reseal`.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{
    KeyError, PendingRecovery, Receipt, Recipient, RecipientError, RecoveryFiles, Split,
    check_label,
};
use entail::{Entail, Error, KeyChange, Renewal, ScopePath, now_ms};

use super::changed::{dry_run, print, print_rotated};
use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
use crate::output::progress::Bar;
use crate::output::{choose, count, out, print_json};
use crate::session::Session;
use entail_api::keys::ReceiptRenewed;

#[derive(Args)]
pub struct AddRecipientArgs {
    /// The age recipient: age1…
    #[arg(required_unless_present = "recovery", conflicts_with = "recovery")]
    pub recipient: Option<String>,
    /// Create a recovery key and write it to this file, to be kept elsewhere
    #[arg(long, value_name = "FILE", value_parser = path::parser())]
    pub recovery: Option<PathBuf>,
    /// Split the recovery key into this many shares (2 to 16), and write them to FILE.1,
    /// FILE.2, … instead
    #[arg(long, value_name = "COUNT", requires_all = ["recovery", "threshold"])]
    pub shares: Option<u8>,
    /// How many of the shares restore a backup; fewer reveal nothing
    #[arg(long, value_name = "COUNT", requires = "shares")]
    pub threshold: Option<u8>,
    /// A label for the recipient
    #[arg(long)]
    pub label: Option<String>,
    /// Only for the secrets of this organization [default: of all, also of later ones]
    #[arg(long, value_name = "ORG")]
    pub organization: Option<ScopePath>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct RemoveRecipientArgs {
    /// Its id, label or public key (see: entail key list)
    pub recipient: String,
    /// Only for the secrets of this organization [default: of all, also of later ones]
    #[arg(long, value_name = "ORG")]
    pub organization: Option<ScopePath>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

pub async fn add(session: &Session, args: &AddRecipientArgs) -> Result<(), CliError> {
    check_label(args.label.as_deref().unwrap_or_default()).map_err(Error::from)?;
    match (&args.recipient, args.recovery.as_deref()) {
        (Some(key), _) => add_key(session, args, key).await,
        (None, Some(file)) => add_recovery(session, args, file).await,
        (None, None) => Err(CliError::usage("no recipient is given")),
    }
}

async fn add_key(session: &Session, args: &AddRecipientArgs, key: &str) -> Result<(), CliError> {
    let entail = session.open_unlocked()?;
    let label = args.label.as_deref().unwrap_or("another machine");
    let recipient = Recipient::new(key, label, now_ms()).map_err(Error::from)?;
    let organization = args.organization.clone();
    if args.dry_run.dry_run {
        let change = KeyChange::AddRecipient {
            recipient: Some(recipient),
            organization,
        };
        return dry_run(session, &entail, change).await;
    }
    let keys = entail.keys();
    let renewal = keys
        .add_recipient(&session.principal, recipient, organization)
        .await?;
    print_rotated(session, &renewal, "the recipient was added");
    print_organizations(session, &renewal);
    Ok(())
}

/// Creates a recovery key and adds its recipient. If it is interrupted, or owners must sign the
/// change, the same command finishes it.
async fn add_recovery(
    session: &Session,
    args: &AddRecipientArgs,
    file: &Path,
) -> Result<(), CliError> {
    let split = match (args.shares, args.threshold) {
        (Some(shares), Some(threshold)) => Some(Split::new(shares, threshold)),
        _ => None,
    };
    let split = split
        .transpose()
        .map_err(|error| CliError::usage(format!("--shares and --threshold: {error}")))?;
    let recovery = RecoveryFiles::new(file, split);
    let entail = session.open_unlocked()?;
    let keys = entail.keys();
    let change = KeyChange::AddRecipient {
        recipient: None,
        organization: args.organization.clone(),
    };
    recovery.check().map_err(of_recovery_file)?;
    if args.dry_run.dry_run {
        return dry_run(session, &entail, change).await;
    }
    // Before a file is created.
    keys.plan(&session.principal, change).await?;
    let receipt = keys.receipt(&session.principal).await?;
    let label = args.label.as_deref().unwrap_or("recovery");
    let prepared = recovery.prepare(&receipt, label, now_ms());
    let PendingRecovery { recipient, resumed } = prepared.map_err(of_recovery_file)?;
    let added = keys
        .add_recipient(&session.principal, recipient, args.organization.clone())
        .await;
    let mut renewal = match added {
        // It was added before the interruption, or by the owners who signed.
        Err(Error::Recipient(RecipientError::Duplicate(_))) if resumed => Renewal::default(),
        // The proposal is for the key in the pending files.
        Err(error @ Error::OwnersRequired(_)) => {
            let file = file.display();
            let next = format!(
                "the key stays in {file}.pending; when the change is made, run this command again"
            );
            return Err(CliError::from(error).with_details(vec![next]));
        }
        added => added.inspect_err(|_| recovery.discard())?,
    };
    renewal.resumed = resumed;
    recovery.finish().map_err(of_recovery_file)?;
    // A backup from before is not sealed to the recovery key.
    renew_receipts(session, &entail, recovery.files()).await?;
    print_rotated(session, &renewal, &advice(split, recovery.files()));
    print_organizations(session, &renewal);
    Ok(())
}

/// Says whose secrets a new recipient can open.
fn print_organizations(session: &Session, renewal: &Renewal) {
    if session.global.json || renewal.resumed {
        return;
    }
    match renewal.organizations.as_slice() {
        [] => out!("it will open the secrets of organizations that are created from now on"),
        organizations => out!("it can open the secrets of {}", organizations.join(", ")),
    }
}

/// What to do with the files of a recovery key.
fn advice(split: Option<Split>, files: &[PathBuf]) -> String {
    match (split, files) {
        (Some(split), [first, .., last]) => format!(
            "the shares of the recovery key are in {} to {}, and any {} of them restore a backup; give each to another person, keep a backup in another place, and remove the shares here",
            first.display(),
            last.display(),
            split.threshold()
        ),
        (_, files) => {
            let file = files.first().map(|file| file.display().to_string());
            let file = file.unwrap_or_default();
            format!(
                "the recovery key is in {file}; keep it and a backup in another place, and remove {file}"
            )
        }
    }
}

pub async fn remove(session: &Session, args: &RemoveRecipientArgs) -> Result<(), CliError> {
    let entail = session.open_unlocked()?;
    let recipient = &args.recipient;
    let removal = KeyChange::RemoveRecipient {
        which: recipient.clone(),
        organization: args.organization.clone(),
    };
    if args.dry_run.dry_run {
        return dry_run(session, &entail, removal).await;
    }
    if confirm::is_needed(session) {
        let plan = entail.keys().plan(&session.principal, removal).await?;
        confirm::ask(&[format!(
            "the recipient loses access: {} {} sealed again without it",
            count(plan.to_renew, "secret"),
            choose(plan.to_renew, "is", "are")
        )])?;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .keys()
        .remove_recipient(
            &session.principal,
            recipient,
            args.organization.clone(),
            &mut |step| bar.step(step),
        )
        .await?;
    drop(bar);
    let what = "the recipient was removed; it cannot open what is sealed from now on, but it may have copies of earlier secrets: replace those at their providers";
    print(session, &renewal, what, |secrets| {
        format!(
            "only the other recipients can open {} now",
            count(secrets, "secret")
        )
    });
    Ok(())
}

async fn renew_receipts(
    session: &Session,
    entail: &Entail,
    files: &[PathBuf],
) -> Result<Receipt, CliError> {
    let keyring = entail.keys().keyring(&session.principal).await?;
    let receipt = entail.keys().receipt(&session.principal).await?;
    receipt.renew(files, &keyring).map_err(of_recovery_file)?;
    Ok(receipt)
}

/// The error of a file that the user named, which is none of this home's keys.
fn of_recovery_file(error: KeyError) -> CliError {
    match error {
        KeyError::File { file, error } => CliError::io(file.display(), &error),
        error => Error::from(error).into(),
    }
}

#[derive(Args)]
pub struct ReceiptArgs {
    /// The files with the recovery key, or with shares of it
    #[arg(required = true, value_name = "FILE", value_parser = path::parser())]
    pub files: Vec<PathBuf>,
}

pub async fn receipt(session: &Session, args: &ReceiptArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let receipt = renew_receipts(session, &entail, &args.files).await?;
    let files = args.files.iter().map(|file| file.display().to_string());
    let output = ReceiptRenewed {
        files: files.collect(),
        store: receipt.store.to_string(),
        revision: receipt.position.revision,
    };
    if session.global.json {
        print_json(&output);
        return Ok(());
    }
    for file in &output.files {
        out!("{file} names the store as of revision {}", output.revision);
    }
    Ok(())
}

pub async fn reseal(session: &Session, args: DryRun) -> Result<(), CliError> {
    let entail = session.open_unlocked()?;
    if args.dry_run {
        return dry_run(session, &entail, KeyChange::Reseal).await;
    }
    let bar = Bar::new("sealing again");
    let renewal = entail
        .keys()
        .reseal(&session.principal, &mut |step| bar.step(step))
        .await?;
    drop(bar);
    let what = "every secret that can be opened here is sealed to the present recipients";
    print(session, &renewal, what, |secrets| {
        format!(
            "{} {} sealed again",
            count(secrets, "secret"),
            choose(secrets, "was", "were")
        )
    });
    Ok(())
}
