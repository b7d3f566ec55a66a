//! `policy remove`: removes an installed policy.

use clap::Args;
use entail::{Entail, InstalledPolicy, ScopePath};

use super::lookup::find;
use crate::args::dry_run::DryRun;
use crate::confirm;
use crate::error::CliError;
use crate::output::{Style, out, print_dry_run_notice, print_json};
use crate::session::Session;
use entail_api::policy::RemovedPolicy;

#[derive(Args)]
pub struct RemoveArgs {
    /// The policy: its digest, the first digits of it, or its name
    policy: String,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Removes it, after asking.
///
/// # Errors
///
/// Fails if it is active somewhere, or built in.
pub async fn remove(session: &Session, args: &RemoveArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let Some(installed) = find(session, &entail, &args.policy).await? else {
        return Err(CliError::invalid(
            "the built-in policy is part of the program, and cannot be removed; only installed ones can",
        )
        .with_remedies(vec!["entail policy list".to_owned()]));
    };
    let name = format!("{} {}", installed.name, installed.version);
    let loses_rollback = lose_rollback(session, &entail, &installed).await?;
    let removed = RemovedPolicy {
        removed: installed.component.to_string(),
        loses_rollback: loses_rollback.iter().map(ToString::to_string).collect(),
        dry_run: args.dry_run.dry_run,
    };
    if !args.dry_run.dry_run {
        if confirm::is_needed(session) {
            let mut consequences = vec![format!("the component of {name} is destroyed")];
            consequences.extend(
                removed
                    .loses_rollback
                    .iter()
                    .map(|organization| format!("{organization} can no longer roll back to it")),
            );
            confirm::ask(&consequences)?;
        }
        entail
            .policies()
            .remove(&session.principal, installed.component)
            .await?;
    }
    print(session, &name, &removed);
    Ok(())
}

/// Returns the organizations that can no longer roll back to it.
async fn lose_rollback(
    session: &Session,
    entail: &Entail,
    installed: &InstalledPolicy,
) -> Result<Vec<ScopePath>, CliError> {
    let component = installed.component;
    Ok(entail
        .policies()
        .plan_remove(&session.principal, component)
        .await?)
}

fn print(session: &Session, name: &str, removed: &RemovedPolicy) {
    if session.global.json {
        print_json(&removed);
        return;
    }
    if !removed.dry_run {
        out!("removed {name}");
        return;
    }
    out!("would remove {name}");
    for organization in &removed.loses_rollback {
        out!(Style::Warn => "note:"; " {organization} could no longer roll back to it");
    }
    print_dry_run_notice();
}
