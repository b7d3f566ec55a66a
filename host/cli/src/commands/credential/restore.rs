//! `entail credential restore`: restores a credential that was removed.

use std::process::ExitCode;

use entail::{Change, Entail};

use super::changed::{Changed, version};
use super::serving::serving;
use crate::args::credential::ChangeCredentialArgs;
use crate::commands::change::{Attempt, apply};
use crate::error::CliError;
use crate::session::Session;

pub async fn restore(
    session: &Session,
    entail: &Entail,
    args: &ChangeCredentialArgs,
) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let change = Change::RestoreCredential {
        credential: id.reference(),
    };
    let applied = match apply(session, entail, change, &args.dry_run).await? {
        Attempt::Made(applied) => applied,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let what = format!("is restored{}", version(&applied));
    Changed {
        id,
        applied: &applied,
        replaced: None,
        serves: serving(session, entail, id).await,
    }
    .print(session, &what);
    Ok(ExitCode::SUCCESS)
}
