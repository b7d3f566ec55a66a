//! `entail project`: adds, lists and removes projects.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use entail::{Change, ScopePath};

use super::change::{Attempt, apply};
use crate::args::dry_run::AccessDryRun;
use crate::error::CliError;
use crate::output::{out, print_json};
use crate::session::Session;
use entail_api::project::{ProjectCreated, ProjectRemoved, Scopes};

#[derive(Subcommand)]
pub enum ProjectCommand {
    /// Add a project below an existing scope
    Add(ProjectArgs),
    /// List scopes
    List(ListArgs),
    /// Remove a project and destroy its credentials
    Remove(ProjectArgs),
}

#[derive(Args)]
pub struct ProjectArgs {
    /// The path of the project: acme/evals
    pub scope: ScopePath,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

#[derive(Args)]
pub struct ListArgs {
    /// Only this scope and those below it
    pub scope: Option<ScopePath>,
}

pub async fn project(session: &Session, command: &ProjectCommand) -> Result<ExitCode, CliError> {
    match command {
        ProjectCommand::Add(args) => add(session, args).await,
        ProjectCommand::List(args) => list(session, args).await,
        ProjectCommand::Remove(args) => remove(session, args).await,
    }
}

async fn add(session: &Session, args: &ProjectArgs) -> Result<ExitCode, CliError> {
    let scope = &args.scope;
    if scope.is_organization() {
        return Err(
            CliError::invalid(format!("{scope} is an organization, not a project"))
                .with_remedies(vec![format!("entail init {scope}")]),
        );
    }
    let entail = session.open()?;
    let change = Change::AddScope {
        scope: scope.clone(),
    };
    if let Attempt::DryRun(exit) = apply(session, &entail, change, &args.dry_run).await? {
        return Ok(exit);
    }
    if session.global.json {
        print_json(&ProjectCreated {
            project: scope.to_string(),
        });
    } else {
        out!("created the project {scope}; it inherits nothing yet");
        out!("next: entail inherit {scope} openai");
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, args: &ListArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let scopes = entail
        .scopes(&session.principal, args.scope.as_ref())
        .await?;
    if session.global.json {
        print_json(&Scopes {
            scopes: scopes.iter().map(ToString::to_string).collect(),
        });
        return Ok(ExitCode::SUCCESS);
    }
    for scope in &scopes {
        out!("{}{scope}", "  ".repeat(scope.depth()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(session: &Session, args: &ProjectArgs) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    let scope = &args.scope;
    let change = Change::RemoveProject {
        scope: scope.clone(),
    };
    if let Attempt::DryRun(exit) = apply(session, &entail, change, &args.dry_run).await? {
        return Ok(exit);
    }
    if session.global.json {
        print_json(&ProjectRemoved {
            removed: scope.to_string(),
        });
    } else {
        out!("removed {scope} and its credentials");
    }
    Ok(ExitCode::SUCCESS)
}
