//! `entail credential remove`: removes a credential.

use std::process::ExitCode;

use clap::Args;
use entail::{Change, Entail};

use super::changed::Changed;
use super::replaced::Replaced;
use super::serving::note_successor;
use crate::args::credential::{CredentialArgs, GraceArgs};
use crate::args::dry_run::AccessDryRun;
use crate::args::time::duration_ms;
use crate::commands::change::Attempt;
use crate::error::CliError;
use crate::output::out;
use crate::session::Session;
use crate::suggest::command_line::name_option;

#[derive(Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub grace: GraceArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

pub async fn remove(
    session: &Session,
    entail: &Entail,
    args: &RemoveArgs,
) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let change = Change::RemoveCredential {
        credential: id.reference(),
        grace_ms: duration_ms(&args.grace.grace)?,
    };
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let attempt = Replaced::apply(session, entail, id, present, change, &args.dry_run).await?;
    let (applied, removed) = match attempt {
        Attempt::Made(made) => made,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let fate = removed.as_ref().map(|removed| removed.fate(&applied));
    let what = format!("is removed; {}", fate.unwrap_or_default());
    Changed {
        id,
        applied: &applied,
        replaced: removed.as_ref(),
        serves: None,
    }
    .print(session, &what);
    note_successor(session, entail, id).await;
    if applied.retired_until_ms.is_some() && !session.global.json {
        out!(
            "to restore it: entail credential restore {} {}{}",
            id.scope,
            id.provider,
            name_option(id.name.as_str())
        );
    }
    Ok(ExitCode::SUCCESS)
}
