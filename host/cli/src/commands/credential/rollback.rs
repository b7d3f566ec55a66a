//! `entail credential rollback`: restores the previous secret of a credential.

use std::process::ExitCode;

use clap::Args;
use entail::{Change, Entail};

use super::changed::{Changed, version};
use super::replaced::Replaced;
use crate::args::credential::{CredentialArgs, GraceArgs};
use crate::args::dry_run::AccessDryRun;
use crate::args::time::duration_ms;
use crate::commands::change::Attempt;
use crate::error::CliError;
use crate::session::Session;

#[derive(Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub grace: GraceArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

pub async fn roll_back(
    session: &Session,
    entail: &Entail,
    args: &RollbackArgs,
) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let change = Change::RollBackCredential {
        credential: id.reference(),
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let attempt = Replaced::apply(session, entail, id, present, change, &args.dry_run).await?;
    let (applied, replaced) = match attempt {
        Attempt::Made(made) => made,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let fate = replaced.as_ref().map(|replaced| replaced.fate(&applied));
    let what = format!(
        "has its previous secret again{}; {}",
        version(&applied),
        fate.unwrap_or_default()
    );
    Changed {
        id,
        applied: &applied,
        replaced: replaced.as_ref(),
        serves: None,
    }
    .print(session, &what);
    Ok(ExitCode::SUCCESS)
}
