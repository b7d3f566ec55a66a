//! `policy diff`: compares what every scope gets now with what it would get from another
//! policy.

use std::process::ExitCode;

use clap::Args;
use entail::ScopePath;

use super::candidate::CandidateArgs;
use crate::args::attributes::AttributeArgs;
use crate::commands::dry_run::{comparison_exit, policy_reference};
use crate::error::CliError;
use crate::output::access::{access_comparison, print_access};
use crate::output::print_json;
use crate::session::Session;
use entail_api::access::AccessComparison;

#[derive(Args)]
pub struct DiffArgs {
    #[command(flatten)]
    candidate: CandidateArgs,
    /// Only this organization, or this project and those below it [default: all]
    #[arg(long, value_name = "ORG")]
    organization: Option<ScopePath>,
    #[command(flatten)]
    attributes: AttributeArgs,
}

/// Compares them. The exit status tells whether a request is widened.
///
/// # Errors
///
/// Fails if the policy is not admitted, or the scope does not exist.
pub async fn diff(session: &Session, args: &DiffArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let policy = args.candidate.admit(entail.policies().engine())?;
    let changes = entail
        .policies()
        .diff(
            &session.principal,
            &policy,
            args.organization.as_ref(),
            &args.attributes.parse()?,
        )
        .await?;
    let comparison = AccessComparison {
        policy: Some(policy_reference(&policy)),
        ..access_comparison(&changes)
    };
    if session.global.json {
        print_json(&comparison);
    } else {
        print_access(&comparison);
    }
    Ok(comparison_exit(&comparison.counts))
}
