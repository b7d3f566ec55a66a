//! `entail inherit`: lets a scope inherit credentials from its parent, or stops it.

use std::process::ExitCode;

use clap::Args;
use entail::policy::{self, Outcome};
use entail::{Change, Entail, ProviderId, Request, ScopePath};

use super::change::{Attempt, apply};
use crate::args::dry_run::AccessDryRun;
use crate::error::CliError;
use crate::output::{Style, out, print_json};
use crate::session::Session;
use crate::suggest::remedy::remedies;
use entail_api::decision::Inheritance;
use entail_api::project::InheritanceSet;

#[derive(Args)]
pub struct InheritArgs {
    /// The scope that inherits
    pub scope: ScopePath,
    /// The provider [default: every provider]
    pub provider: Option<ProviderId>,
    /// Stop inheriting
    #[arg(long, conflicts_with = "fall_back")]
    pub off: bool,
    /// Inherit also if all of the scope's own credentials are unusable
    #[arg(long)]
    pub fall_back: bool,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

pub async fn inherit(session: &Session, args: &InheritArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let (inheritance, output) = match (args.off, args.fall_back) {
        (true, _) => (policy::Inheritance::Isolated, Inheritance::Isolated),
        (_, true) => (policy::Inheritance::FallBack, Inheritance::FallBack),
        _ => (policy::Inheritance::Inherit, Inheritance::Inherit),
    };
    let Some(parent) = args.scope.parent() else {
        // If the scope does not exist, its organization may be missing in the path.
        entail.scope(&session.principal, &args.scope).await?;
        return Err(CliError::invalid(format!(
            "{} is an organization; it has no parent to inherit from",
            args.scope
        )));
    };
    let change = Change::SetInheritance {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        inheritance,
    };
    if let Attempt::DryRun(exit) = apply(session, &entail, change, &args.dry_run).await? {
        return Ok(exit);
    }
    let obstacle = match inheritance {
        policy::Inheritance::Isolated => None,
        _ => find_obstacle(session, &entail, &args.scope, args.provider.as_ref()).await?,
    };
    let set = InheritanceSet {
        scope: args.scope.to_string(),
        provider: args.provider.as_ref().map(ToString::to_string),
        inheritance: output,
        no_effect_yet: obstacle.as_ref().map(|obstacle| obstacle.reason.clone()),
    };
    if session.global.json {
        print_json(&set);
    } else {
        print_text(&set, parent.as_str());
        for remedy in obstacle.iter().flat_map(|obstacle| &obstacle.remedies) {
            out!(Style::Faint => "  try:"; " {remedy}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(set: &InheritanceSet, parent: &str) {
    let scope = &set.scope;
    let provider = set.provider.as_deref();
    match set.inheritance {
        Inheritance::Isolated => {
            let provider = provider.unwrap_or("any provider");
            out!("{scope} no longer inherits from {parent} for {provider}");
        }
        Inheritance::Inherit => {
            let provider = provider.unwrap_or("every provider");
            out!(
                "{scope} now uses the credentials of {parent} for {provider} if it has no credential itself"
            );
        }
        Inheritance::FallBack => {
            let provider = provider.unwrap_or("every provider");
            out!(
                "{scope} now uses the credentials of {parent} for {provider} if it has no usable credential itself"
            );
        }
    }
    if let Some(reason) = &set.no_effect_yet {
        out!(Style::Warn => "note:"; " it has no effect yet: {reason}");
    }
}

/// Why a scope that inherits still gets no credential by it.
struct Obstacle {
    reason: String,
    remedies: Vec<String>,
}

/// Finds why a scope that inherits still gets no credential by it: a scope above does not
/// inherit, no scope above holds a credential, or the policy refuses. For every provider
/// together, only a scope above that does not inherit is found.
async fn find_obstacle(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
    provider: Option<&ProviderId>,
) -> Result<Option<Obstacle>, CliError> {
    let own = entail.scope(&session.principal, scope).await?;
    if provider.is_some_and(|provider| own.credentials_for(provider).next().is_some()) {
        // The scope's credential takes precedence.
        return Ok(None);
    }
    for path in scope.chain().skip(1) {
        let held = entail.scope(&session.principal, &path).await?;
        let (holds, inherits) = match provider {
            Some(provider) => (
                held.credentials_for(provider).next().is_some(),
                held.inheritance(provider) != policy::Inheritance::Isolated,
            ),
            None => (
                !held.credentials.is_empty(),
                std::iter::once(&held.default_inheritance)
                    .chain(held.inheritance.values())
                    .any(|inheritance| *inheritance != policy::Inheritance::Isolated),
            ),
        };
        if holds {
            break;
        }
        let for_provider = provider.map_or(String::new(), |provider| format!(" for {provider}"));
        let Some(parent) = path.parent() else {
            return Ok(Some(Obstacle {
                reason: format!("{path} has no credential{for_provider} yet"),
                remedies: provider
                    .map(|provider| format!("entail credential set {path} {provider}"))
                    .into_iter()
                    .collect(),
            }));
        };
        if !inherits {
            let argument = provider.map_or(String::new(), |provider| format!(" {provider}"));
            return Ok(Some(Obstacle {
                reason: format!(
                    "{path} has no credential{for_provider} and does not inherit from {parent}"
                ),
                remedies: vec![format!("entail inherit {path}{argument}")],
            }));
        }
    }
    match provider {
        Some(provider) => Ok(find_refusal(session, entail, scope, provider).await),
        None => Ok(None),
    }
}

/// The refusal of the policy, if it refuses a request without a model. Errors are left to
/// the first request: the change is made already.
async fn find_refusal(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
    provider: &ProviderId,
) -> Option<Obstacle> {
    let request = Request::new(scope.clone(), provider.clone());
    let explanation = entail.explain(&session.principal, &request).await.ok()?;
    match &explanation.decision.outcome {
        // Each request chooses its model.
        Outcome::Refused(refusal) if refusal.code != "model-required" => Some(Obstacle {
            reason: refusal.message.shown().to_string(),
            remedies: remedies(&explanation.hints()),
        }),
        _ => None,
    }
}
