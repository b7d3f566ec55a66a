//! How a policy is activated: shared by `policy activate` and `policy shadow`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use entail::policy::{self, Values};
use entail::{ActivatePolicy, ActivePolicy, Entail, ScopePath};
use entail_policy_tools::source::{read_limits, read_settings};

use super::convert::{PrincipalNames, policy_history};
use super::lookup::{PolicyNames, find_digest};
use crate::args::path as paths;
use crate::error::CliError;
use crate::output::{out, print_json};
use crate::session::Session;
use entail_api::policy::OrganizationPolicy;

#[derive(Args)]
pub struct ActivationArgs {
    /// The settings: a file with a JSON object [default: none]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    settings: Option<PathBuf>,
    /// Its limits, as JSON [default: those it was installed with]
    #[arg(long, value_name = "FILE", value_parser = paths::parser())]
    limits: Option<PathBuf>,
    /// What the calls of the policy share
    #[arg(long, value_enum, default_value = "per-call")]
    isolation: Isolation,
}

#[derive(Clone, Copy, ValueEnum)]
enum Isolation {
    /// Nothing: each call gets its own instance
    PerCall,
    /// One warm instance for all requests of the organization: faster where instances
    /// are slow to create, but the policy can then remember earlier requests
    PerOrganization,
}

impl ActivationArgs {
    /// Returns the activation of a policy with these settings.
    ///
    /// # Errors
    ///
    /// Fails if there is no such policy, or a file cannot be read.
    pub async fn activation(
        &self,
        session: &Session,
        entail: &Entail,
        policy: &str,
    ) -> Result<ActivatePolicy, CliError> {
        Ok(ActivatePolicy {
            component: find_digest(session, entail, policy).await?,
            settings: match &self.settings {
                Some(file) => read_settings(file)?,
                None => Values::new(),
            },
            limits: self.limits.as_deref().map(read_limits).transpose()?,
            isolation: match self.isolation {
                Isolation::PerCall => policy::Isolation::PerCall,
                Isolation::PerOrganization => policy::Isolation::PerOrganization,
            },
        })
    }
}

/// Returns the policies of an organization for JSON.
///
/// # Errors
///
/// Fails if the principals that activated them cannot be read.
pub async fn organization_policy(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    active: ActivePolicy,
    dry_run: bool,
) -> Result<OrganizationPolicy, CliError> {
    let principals = PrincipalNames::read(session, entail).await?;
    Ok(OrganizationPolicy {
        organization: organization.to_string(),
        policies: policy_history(active, &principals),
        dry_run,
    })
}

/// Prints which policy an organization uses now.
///
/// # Errors
///
/// Fails if the names of the policies cannot be read.
pub async fn print_active(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    active: ActivePolicy,
) -> Result<(), CliError> {
    let policy = organization_policy(session, entail, organization, active, false).await?;
    if session.global.json {
        print_json(&policy);
        return Ok(());
    }
    let names = PolicyNames::read(session, entail).await?;
    let name = names.name(policy.policies.active.component.as_deref());
    out!("{organization} now uses the policy {name}");
    out!("to roll back: entail policy rollback {organization}");
    Ok(())
}
