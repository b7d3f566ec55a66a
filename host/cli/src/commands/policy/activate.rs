//! `policy activate`: activates a policy for an organization and all its projects.

use std::process::ExitCode;

use clap::Args;
use entail::ScopePath;

use super::activation::{ActivationArgs, print_active};
use crate::args::dry_run::AccessDryRun;
use crate::commands::dry_run::print_policy_dry_run;
use crate::confirm;
use crate::error::CliError;
use crate::session::Session;

#[derive(Args)]
pub struct ActivateArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    organization: ScopePath,
    /// The policy: its digest, the first digits of it, its name, or built-in
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    activation: ActivationArgs,
    #[command(flatten)]
    dry_run: AccessDryRun,
}

/// Activates it, after asking if it changes who gets what.
///
/// # Errors
///
/// Fails if there is no such policy or organization, or the policy does not accept the
/// settings.
pub async fn activate(session: &Session, args: &ActivateArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let organization = &args.organization;
    let activation = &args.activation;
    let activate = activation
        .activation(session, &entail, &args.policy)
        .await?;
    if args.dry_run.dry_run || confirm::is_needed(session) {
        let attributes = args.dry_run.attributes()?;
        let (policy, changes) = entail
            .policies()
            .plan_activate(&session.principal, organization, &activate, &attributes)
            .await?;
        if args.dry_run.dry_run {
            return Ok(print_policy_dry_run(session, &policy, &changes));
        }
        confirm::ask(&confirm::access(&changes, None))?;
    }
    let active = entail
        .policies()
        .activate(&session.principal, organization, activate)
        .await?;
    print_active(session, &entail, organization, active).await?;
    Ok(ExitCode::SUCCESS)
}
