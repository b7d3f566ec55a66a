//! `entail model`: sets the default model of a scope.

use std::process::ExitCode;

use clap::Args;
use entail::{Change, ModelId, ProviderId, ScopePath};

use super::change::{Attempt, apply};
use crate::args::dry_run::AccessDryRun;
use crate::error::CliError;
use crate::output::{out, print_json};
use crate::session::Session;
use entail_api::project::ModelSet;

#[derive(Args)]
pub struct ModelArgs {
    /// The scope
    pub scope: ScopePath,
    /// The provider
    pub provider: ProviderId,
    /// The model [default: remove the setting]
    pub model: Option<ModelId>,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

pub async fn model(session: &Session, args: &ModelArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let change = Change::SetModel {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        model: args.model.clone(),
    };
    if let Attempt::DryRun(exit) = apply(session, &entail, change, &args.dry_run).await? {
        return Ok(exit);
    }
    print(
        session,
        &ModelSet {
            scope: args.scope.to_string(),
            provider: args.provider.to_string(),
            model: args.model.as_ref().map(ToString::to_string),
        },
    );
    Ok(ExitCode::SUCCESS)
}

fn print(session: &Session, set: &ModelSet) {
    if session.global.json {
        print_json(set);
        return;
    }
    let ModelSet {
        scope, provider, ..
    } = set;
    match &set.model {
        Some(model) => {
            out!("{scope} now uses {model} for {provider} if a request names no model");
        }
        None => out!("{scope} now sets no default model for {provider}"),
    }
}
