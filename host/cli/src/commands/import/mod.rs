//! `entail import`: imports credentials from `.env` files, shell exports, JSON and the
//! environment.
//!
//! It reads variables ([`sources`], [`variables`]), recognizes those of providers
//! ([`recognize`]), makes a plan ([`plan`]), shows it, asks for confirmation, and carries it
//! out. It changes only files of the home, and then reports which variables can be deleted.
//!
//! A credential that is set already is never replaced. Each change is a separate revision; an
//! import that was interrupted can be repeated.
//!
//! # Security
//!
//! Nothing is expanded, run or followed: a value that is not literal is reported by its name.
//! Values are shown masked, and compared by fingerprints with a random key. A key that may
//! belong to another host than the vendor's is not imported.

mod fingerprint;
mod known_variables;
mod plan;
mod present;
mod reader;
mod recognize;
mod show;
mod sources;
mod step;
mod variable;
mod variables;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use entail::{Entail, Provider, ProviderId, ScopePath};

use self::fingerprint::Fingerprints;
use self::plan::{Plan, Planning, set_applied};
use self::present::Present;
use self::recognize::recognize;
use self::sources::{SourceSelection, find};
use self::step::Step;
use crate::args::dry_run::DryRun;
use crate::commands::providers::unknown_provider;
use crate::error::CliError;
use crate::output::{out, print_dry_run_notice, print_json};
use crate::prompt;
use crate::session::Session;

#[derive(Args)]
pub struct ImportArgs {
    /// A project's directory, a directory of projects, or a file: .env, .envrc, a shell
    /// script, JSON [default: this directory]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The organization to import into [default: the only one]
    #[arg(long, value_name = "ORG")]
    pub org: Option<ScopePath>,
    /// Import the variables of the environment
    #[arg(long)]
    pub env: bool,
    /// Import this directory or file into this scope [default: ORG/NAME]
    #[arg(long, value_name = "PATH=SCOPE")]
    pub map: Vec<String>,
    /// Import only this provider's credentials [default: all that are known]
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub providers: Vec<ProviderId>,
    #[command(flatten)]
    pub dry_run: DryRun,
}

/// Imports credentials.
///
/// # Errors
///
/// Fails if a named source cannot be found, there is no terminal to ask at, or a change
/// fails.
pub async fn import(session: &Session, args: &ImportArgs) -> Result<(), CliError> {
    let global = &session.global;
    let dry_run = args.dry_run.dry_run;
    if !dry_run && !global.yes && (global.json || !std::io::stdin().is_terminal()) {
        return Err(
            CliError::invalid("there is no terminal to ask for confirmation").with_remedies(vec![
                "to see what would be changed: --dry-run".to_owned(),
                "to make the changes without confirmation: --yes".to_owned(),
            ]),
        );
    }
    let Plan { mut report, steps } = plan(session, args).await?;
    if !global.json {
        show::plan(&report);
    }
    if dry_run {
        if global.json {
            print_json(&report);
        } else {
            print_dry_run_notice();
        }
        return Ok(());
    }
    if !global.yes && !steps.is_empty() && !prompt::confirm("Continue?")? {
        out!("nothing was changed");
        return Ok(());
    }
    let entail = session.open()?;
    apply(session, &entail, steps).await?;
    set_applied(&mut report, session, &entail).await?;
    if global.json {
        print_json(&report);
    } else {
        show::done(&report);
    }
    Ok(())
}

/// Reads what was named, and makes the plan.
async fn plan(session: &Session, args: &ImportArgs) -> Result<Plan, CliError> {
    let catalog = session.home()?.catalog()?;
    for id in &args.providers {
        if catalog.get(id).is_none() {
            return Err(unknown_provider(id));
        }
    }
    let mut entail = session.open()?;
    let map = map(&args.map)?;
    let organization = organization(session, &entail, args, &map).await?;
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() && !args.env {
        &here
    } else {
        args.paths.as_slice()
    };
    let (projects, skipped) = find(
        session,
        &SourceSelection {
            paths,
            environment: args.env,
            organization: &organization,
            map: &map,
        },
    )?;
    let is_wanted =
        |provider: &Provider| args.providers.is_empty() || args.providers.contains(&provider.id);
    let fingerprints = Fingerprints::new()?;
    let mut found = Vec::new();
    for project in projects {
        let recognized = recognize(&project, &catalog, &is_wanted, &fingerprints)?;
        found.push((project, recognized));
    }
    let scopes = found.iter().map(|(project, _)| &project.scope);
    let present = Present::read(
        session,
        &entail,
        scopes.chain(std::iter::once(&organization)),
    )
    .await?;
    let has_to_compare = found.iter().any(|(project, recognized)| {
        recognized.candidates.iter().any(|candidate| {
            [&project.scope, &organization]
                .iter()
                .any(|scope| !present.credentials(scope, &candidate.provider).is_empty())
        })
    });
    if has_to_compare && !entail.can_unseal() {
        // Without the identity nothing is compared; the report notes this.
        entail = session.open_unlocked().unwrap_or(entail);
    }
    let planning = Planning {
        session,
        entail: &entail,
        organization: &organization,
        present: &present,
        dry_run: args.dry_run.dry_run,
    };
    planning.plan(found, skipped).await
}

/// Parses `PATH=SCOPE`.
fn map(texts: &[String]) -> Result<Vec<(PathBuf, ScopePath)>, CliError> {
    texts
        .iter()
        .map(|text| {
            let (path, scope) = text
                .rsplit_once('=')
                .ok_or_else(|| CliError::invalid("--map takes PATH=SCOPE"))?;
            let scope = scope.parse().map_err(entail::Error::from)?;
            Ok((PathBuf::from(path), scope))
        })
        .collect()
}

/// The organization to import into: the given one, that of the mapped scopes, or the only one
/// of the home.
async fn organization(
    session: &Session,
    entail: &Entail,
    args: &ImportArgs,
    map: &[(PathBuf, ScopePath)],
) -> Result<ScopePath, CliError> {
    let top = |scope: &ScopePath| scope.chain().last();
    let organization = match (&args.org, map.first()) {
        (Some(organization), _) if !organization.is_organization() => {
            return Err(CliError::invalid(format!(
                "{organization} is a project, and --org takes an organization"
            ))
            .with_remedies(vec![format!(
                "to import into that project: --map PATH={organization}"
            )]));
        }
        (Some(organization), _) => organization.clone(),
        (None, Some((_, scope))) => top(scope).unwrap_or_else(|| scope.clone()),
        (None, None) => {
            let scopes = entail.scopes(&session.principal, None).await?;
            let organizations: Vec<&ScopePath> = scopes
                .iter()
                .filter(|scope| scope.is_organization())
                .collect();
            match organizations.as_slice() {
                [only] => (*only).clone(),
                [] => {
                    return Err(
                        CliError::invalid("the home has no organization to import into")
                            .with_remedies(vec!["entail init ORG".to_owned()]),
                    );
                }
                several => {
                    return Err(CliError::invalid(
                        "the home has several organizations; choose the one to import into",
                    )
                    .with_remedies(
                        several
                            .iter()
                            .map(|organization| format!("add --org {organization}"))
                            .collect(),
                    ));
                }
            }
        }
    };
    match map
        .iter()
        .find(|(_, scope)| !organization.covers(scope.as_str()))
    {
        Some((_, scope)) => Err(CliError::invalid(format!(
            "--map names {scope}, which is not in {organization}; import into one organization at a time"
        ))),
        None => Ok(organization),
    }
}

/// Makes the changes in order.
async fn apply(session: &Session, entail: &Entail, steps: Vec<Step>) -> Result<(), CliError> {
    let total = steps.len();
    for (done, step) in steps.into_iter().enumerate() {
        if let Err(error) = entail.change(&session.principal, &step.change()).await {
            return Err(CliError::from(error)
                .with_details(vec![format!("{done} of {total} changes were made")])
                .with_remedies(vec![
                    "import again: changes that were made are not repeated".to_owned(),
                ]));
        }
    }
    Ok(())
}
