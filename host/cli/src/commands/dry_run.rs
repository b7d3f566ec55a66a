//! Dry runs of changes: who would get what.

use std::collections::BTreeMap;
use std::process::ExitCode;

use entail::policy::Policy;
use entail::{AccessChanges, AttributeName, AttributeValue, Change, Entail};

use crate::error::CliError;
use crate::output::access::{access_comparison, print_access};
use crate::output::{Style, out, print_dry_run_notice, print_json};
use crate::session::Session;
use entail_api::access::{AccessComparison, DifferenceCounts};
use entail_api::policy::PolicyReference;

/// A credential may be used that could not be used before. The status is used for nothing
/// else, so that a pipeline can stop for it alone.
const WIDENED: u8 = 20;

/// The policy would fail where a policy decides now.
const NOW_FAILING: u8 = 12;

/// Returns the exit status of a comparison.
pub fn comparison_exit(counts: &DifferenceCounts) -> ExitCode {
    if counts.widened > 0 {
        ExitCode::from(WIDENED)
    } else if counts.now_failing > 0 {
        ExitCode::from(NOW_FAILING)
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints who would get what after a change, without making it.
pub async fn dry_run(
    session: &Session,
    entail: &Entail,
    change: &Change,
    attributes: &BTreeMap<AttributeName, AttributeValue>,
) -> Result<ExitCode, CliError> {
    let changes = entail
        .preview(&session.principal, change, attributes)
        .await?;
    Ok(print_dry_run(session, &changes, None))
}

/// Prints who would get what if a policy were activated.
pub fn print_policy_dry_run(
    session: &Session,
    policy: &Policy,
    changes: &AccessChanges,
) -> ExitCode {
    print_dry_run(session, changes, Some(policy_reference(policy)))
}

fn print_dry_run(
    session: &Session,
    changes: &AccessChanges,
    policy: Option<PolicyReference>,
) -> ExitCode {
    let comparison = AccessComparison {
        policy,
        dry_run: true,
        ..access_comparison(changes)
    };
    if session.global.json {
        print_json(&comparison);
    } else {
        if let Some(policy) = &comparison.policy {
            out!("with the policy {} {}:", policy.name, policy.version);
        }
        print_access(&comparison);
        for note in &comparison.notes {
            out!(Style::Warn => "note:"; " {note}");
        }
        print_dry_run_notice();
    }
    comparison_exit(&comparison.counts)
}

/// Names a policy in JSON.
pub fn policy_reference(policy: &Policy) -> PolicyReference {
    let description = policy.description();
    PolicyReference {
        name: description.name.clone(),
        version: description.version.clone(),
        digest: policy.digest().to_string(),
    }
}
