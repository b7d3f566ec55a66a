//! `entail explain`: explains which credential a scope gets, and why.

use clap::Args;
use entail::{Entail, Principal};

use super::resolve::request;
use crate::args::request::RequestArgs;
use crate::error::CliError;
use crate::output::{Style, convert, err, print_explanation, print_json};
use crate::session::Session;
use crate::suggest::remedy::remedies;
use entail_api::decision::Outcome;
use entail_api::explain::Explanation;

#[derive(Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub request: RequestArgs,
    /// Show what the code of the scope itself would be told: not the names of credentials
    /// that are not for it
    #[arg(long)]
    pub as_project: bool,
}

pub async fn explain(session: &Session, args: &ExplainArgs) -> Result<(), CliError> {
    let request = request(session, "explain", &args.request, &[]).await?;
    let entail = session.open()?;
    let principal = if args.as_project {
        Principal::project(&request.scope)
    } else {
        session.principal.clone()
    };
    let explanation = entail.explain(&principal, &request).await?;
    let explanation = to_output(&entail, &explanation)?;
    if session.global.json {
        print_json(&explanation);
        return Ok(());
    }
    print_explanation(&explanation);
    let is_granted = matches!(explanation.decision.outcome, Outcome::Granted(_));
    if is_granted && !explanation.identity_open {
        err!(Style::Warn => "note:"; " the identity is locked or not here, so it is not known whether the secret can be opened");
    }
    Ok(())
}

/// The explanation for output.
///
/// # Errors
///
/// Fails if it cannot be expressed in the form of the output.
pub fn to_output(
    entail: &Entail,
    explanation: &entail::Explanation,
) -> Result<Explanation, CliError> {
    Ok(Explanation {
        revision: explanation.revision,
        policy: explanation.policy.to_string(),
        facts: convert(&*explanation.facts)?,
        decision: convert(&explanation.decision)?,
        hidden: u64::try_from(explanation.hidden.count).unwrap_or(u64::MAX),
        hidden_codes: (explanation.hidden.codes.iter())
            .map(ToString::to_string)
            .collect(),
        remedies: remedies(&explanation.hints()),
        identity_open: entail.can_unseal(),
    })
}
