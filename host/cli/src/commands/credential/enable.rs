//! `entail credential enable` and `disable`.

use std::process::ExitCode;

use entail::{Change, Entail};

use super::changed::Changed;
use super::serving::note_successor;
use crate::args::credential::ChangeCredentialArgs;
use crate::commands::change::{Attempt, apply};
use crate::error::CliError;
use crate::session::Session;

pub async fn enable(
    session: &Session,
    entail: &Entail,
    args: &ChangeCredentialArgs,
) -> Result<ExitCode, CliError> {
    set_enabled(session, entail, args, true).await
}

pub async fn disable(
    session: &Session,
    entail: &Entail,
    args: &ChangeCredentialArgs,
) -> Result<ExitCode, CliError> {
    set_enabled(session, entail, args, false).await
}

async fn set_enabled(
    session: &Session,
    entail: &Entail,
    args: &ChangeCredentialArgs,
    enabled: bool,
) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let change = Change::SetEnabled {
        credential: id.reference(),
        enabled,
    };
    let applied = match apply(session, entail, change, &args.dry_run).await? {
        Attempt::Made(applied) => applied,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let changed = Changed {
        id,
        applied: &applied,
        replaced: None,
        serves: None,
    };
    if enabled {
        changed.print(session, "is enabled");
    } else {
        changed.print(session, "is disabled");
        note_successor(session, entail, id).await;
    }
    Ok(ExitCode::SUCCESS)
}
