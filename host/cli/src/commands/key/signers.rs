//! `entail key add-signer` and `remove-signer`.

use std::path::{Path, PathBuf};

use clap::Args;
use entail::store::{InputFile, LabelledKey, StoreSigner, Verifier};
use entail::{KeyChange, Renewal, ScopePath};

use super::changed::{dry_run, print_rotated};
use crate::args::dry_run::DryRun;
use crate::args::path;
use crate::confirm;
use crate::error::CliError;
use crate::session::Session;

/// The maximum size of a file with a public key.
const MAX_KEY_BYTES: usize = 64 * 1024;

#[derive(Args)]
pub struct AddSignerArgs {
    /// The file with the public key of the other machine: Ed25519, PEM
    #[arg(value_parser = path::parser())]
    pub file: PathBuf,
    /// A label for the signer
    #[arg(long, default_value = "another machine")]
    pub label: String,
    /// Only these scopes, with all below them [default: the whole store]; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<ScopePath>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Args)]
pub struct RemoveSignerArgs {
    /// Its fingerprint or label (see: entail key list)
    pub signer: String,
    #[command(flatten)]
    pub dry_run: DryRun,
}

pub async fn add(session: &Session, args: &AddSignerArgs) -> Result<(), CliError> {
    let scopes: Vec<String> = args.scopes.iter().map(ToString::to_string).collect();
    let signer = StoreSigner {
        key: LabelledKey::new(read_public_key(&args.file)?, &args.label),
        scopes: (!scopes.is_empty()).then_some(scopes),
    };
    let entail = session.open()?;
    if args.dry_run.dry_run {
        return dry_run(session, &entail, KeyChange::AddSigner(signer)).await;
    }
    let scopes = signer.scopes.as_ref();
    let what = scopes.map_or_else(|| "the store".to_owned(), |scopes| scopes.join(", "));
    entail.keys().add_signer(&session.principal, signer).await?;
    let what = format!("the signer was added; its machine may change {what} from now on");
    print_rotated(session, &Renewal::default(), &what);
    Ok(())
}

/// Reads the public key of another machine.
pub fn read_public_key(file: &Path) -> Result<Verifier, CliError> {
    let bytes = InputFile::open_given(file)
        .and_then(|opened| opened.read_to_limit(MAX_KEY_BYTES))
        .map_err(|error| CliError::io(file.display(), &error.into()))?;
    let key = String::from_utf8(bytes).ok();
    key.and_then(|pem| Verifier::from_pem(pem.trim()))
        .ok_or_else(|| {
            CliError::invalid(format!(
                "{} is not an Ed25519 public key in PEM form",
                file.display()
            ))
            .with_remedies(vec![
                "on the other machine: openssl pkey -in KEY.pem -pubout -out KEY.pub".to_owned(),
            ])
        })
}

pub async fn remove(session: &Session, args: &RemoveSignerArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let removal = KeyChange::RemoveSigner(args.signer.clone());
    if args.dry_run.dry_run {
        return dry_run(session, &entail, removal).await;
    }
    if confirm::is_needed(session) {
        entail.keys().plan(&session.principal, removal).await?;
        confirm::ask(&["the machine with that signer can change nothing any more".to_owned()])?;
    }
    entail
        .keys()
        .remove_signer(&session.principal, &args.signer)
        .await?;
    let what = "the signer was removed; what it signs from now on is refused";
    print_rotated(session, &Renewal::default(), what);
    super::rotate::print_receipt_notice(session);
    Ok(())
}
