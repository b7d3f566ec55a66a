//! `entail key add-owner`, `remove-owner` and `require-owners`.

use std::path::PathBuf;

use clap::Args;
use entail::store::LabelledKey;
use entail::{Entail, KeyChange, Renewal};

use super::changed::{dry_run, print_rotated};
use super::rotate::print_receipt_notice;
use super::signers::read_public_key;
use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
use crate::output::{Style, err};
use crate::session::Session;

#[derive(Args)]
pub struct AddOwnerArgs {
    /// The file with the public key of the owner: Ed25519, PEM
    #[arg(value_parser = path::parser())]
    pub file: PathBuf,
    /// A label for the owner
    #[arg(long, default_value = "another owner")]
    pub label: String,
    /// How many owners must sign from then on [default: as many as before]
    #[arg(long, value_name = "COUNT")]
    pub required: Option<usize>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct RemoveOwnerArgs {
    /// Its fingerprint or label (see: entail key list)
    pub owner: String,
    /// How many owners must sign from then on [default: as many as before]
    #[arg(long, value_name = "COUNT")]
    pub required: Option<usize>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct RequireOwnersArgs {
    /// How many owners must sign
    pub count: usize,
    #[command(flatten)]
    pub dry_run: DryRun,
}

pub async fn add(session: &Session, args: &AddOwnerArgs) -> Result<(), CliError> {
    let owner = LabelledKey::new(read_public_key(&args.file)?, &args.label);
    let entail = session.open()?;
    let required = args.required;
    if args.dry_run.dry_run {
        return dry_run(session, &entail, KeyChange::AddOwner { owner, required }).await;
    }
    let keys = entail.keys();
    keys.add_owner(&session.principal, owner, required).await?;
    let what = "the owner was added; it may sign changes of keys and recipients from now on";
    print_rotated(session, &Renewal::default(), what);
    print_receipt_notice(session);
    note_all_required(session, &entail).await
}

/// Says so if every owner must sign.
async fn note_all_required(session: &Session, entail: &Entail) -> Result<(), CliError> {
    let keyring = entail.keys().keyring(&session.principal).await?;
    let owners = &keyring.authority().owners;
    if owners.threshold > 1 && owners.threshold == owners.keys.len() && !session.global.json {
        err!(Style::Warn => "note:"; " every owner must sign: if one key is lost, nobody can change keys and recipients any more");
    }
    Ok(())
}

pub async fn remove(session: &Session, args: &RemoveOwnerArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let removal = KeyChange::RemoveOwner {
        which: args.owner.clone(),
        required: args.required,
    };
    if args.dry_run.dry_run {
        return dry_run(session, &entail, removal).await;
    }
    if confirm::is_needed(session) {
        entail.keys().plan(&session.principal, removal).await?;
        confirm::ask(&["that owner can sign no change of keys any more".to_owned()])?;
    }
    let keys = entail.keys();
    keys.remove_owner(&session.principal, &args.owner, args.required)
        .await?;
    let what = "the owner was removed; what it signs from now on is refused";
    print_rotated(session, &Renewal::default(), what);
    print_receipt_notice(session);
    Ok(())
}

pub async fn require(session: &Session, args: &RequireOwnersArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    if args.dry_run.dry_run {
        let change = KeyChange::RequireOwners(args.count);
        return dry_run(session, &entail, change).await;
    }
    let keys = entail.keys();
    keys.require_owners(&session.principal, args.count).await?;
    let who = match args.count {
        1 => "one owner must sign each change".to_owned(),
        count => format!("{count} owners must sign each change"),
    };
    let what = format!("{who} of keys and recipients from now on");
    print_rotated(session, &Renewal::default(), &what);
    note_all_required(session, &entail).await
}
