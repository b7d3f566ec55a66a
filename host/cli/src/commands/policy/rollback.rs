//! `policy rollback`: activates the previous policy again.

use std::process::ExitCode;

use clap::Args;
use entail::ScopePath;

use super::activation::print_active;
use crate::args::dry_run::AccessDryRun;
use crate::commands::dry_run::print_policy_dry_run;
use crate::confirm;
use crate::error::CliError;
use crate::session::Session;

#[derive(Args)]
pub struct RollbackArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    organization: ScopePath,
    #[command(flatten)]
    dry_run: AccessDryRun,
}

/// Activates it, after asking if it changes who gets what.
///
/// # Errors
///
/// Fails if there is no previous policy.
pub async fn roll_back(session: &Session, args: &RollbackArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let organization = &args.organization;
    let failed = |error| no_previous_policy(error, organization);
    if args.dry_run.dry_run || confirm::is_needed(session) {
        let (policy, changes) = entail
            .policies()
            .plan_roll_back(
                &session.principal,
                organization,
                &args.dry_run.attributes()?,
            )
            .await
            .map_err(failed)?;
        if args.dry_run.dry_run {
            return Ok(print_policy_dry_run(session, &policy, &changes));
        }
        confirm::ask(&confirm::access(&changes, None))?;
    }
    let active = entail
        .policies()
        .roll_back(&session.principal, organization)
        .await
        .map_err(failed)?;
    print_active(session, &entail, organization, active).await?;
    Ok(ExitCode::SUCCESS)
}

fn no_previous_policy(error: entail::Error, organization: &ScopePath) -> CliError {
    match error {
        entail::Error::Invalid(_) => CliError::from(error).with_remedies(vec![
            "entail policy list".to_owned(),
            format!("entail policy activate {organization} POLICY"),
        ]),
        other => other.into(),
    }
}
