//! `entail import`: takes over the credentials that people have in `.env` files, shell
//! exports, JSON and the environment.
//!
//! It reads ([`sources`], [`variables`]), recognizes what is some provider's
//! ([`recognize`]), makes one plan ([`plan`]), shows it, asks, and carries it out. It
//! changes no file but those of the home; afterwards it says what can be deleted where.
//!
//! What is set already is never replaced. Each change is a revision of its own; stopped
//! half-way, it goes on when it is called again.
//!
//! # Security
//!
//! Nothing is expanded, run or followed: a value that is not written out is reported by its
//! name. Values are shown masked, and compared by fingerprints under a key of the run. A
//! key that may belong to another host than the vendor's is not imported.

mod fingerprint;
mod known_variables;
mod plan;
mod recognize;
mod show;
mod sources;
mod variables;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use entail::{Entail, Provider, ProviderId, ScopePath};
use serde_json::json;

use self::fingerprint::Fingerprints;
use self::plan::{Plan, Planning, Present};
use self::recognize::recognize;
use self::sources::{Wanted, find};
use crate::failure::Failure;
use crate::output::{print_json, say, say_dry_run};
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
}

/// Imports credentials.
///
/// # Errors
///
/// Fails if a source that was named cannot be found, nobody can be asked, or a change
/// fails.
pub async fn import(session: &Session, args: &ImportArgs) -> Result<(), Failure> {
    let common = &session.common;
    if !common.dry_run && !common.yes && (common.json || !std::io::stdin().is_terminal()) {
        return Err(
            Failure::invalid("there is no terminal to ask at before credentials are set")
                .with_remedies(vec![
                    "to see what would be done: --dry-run".to_owned(),
                    "to do it without being asked: --yes".to_owned(),
                ]),
        );
    }
    let Plan { mut report, steps } = plan(session, args).await?;
    if !common.json {
        show::plan(&report);
    }
    if common.dry_run {
        if common.json {
            print_json(&json!(report));
        } else {
            say_dry_run();
        }
        return Ok(());
    }
    if !common.yes
        && !steps.is_empty()
        && !prompt::confirm(&format!("Make these {} changes?", steps.len()))?
    {
        say!("nothing is changed");
        return Ok(());
    }
    let entail = session.open()?;
    apply(session, &entail, steps).await?;
    report.set_applied(session, &entail).await?;
    if common.json {
        print_json(&json!(report));
    } else {
        show::done(&report);
    }
    Ok(())
}

/// Reads what was named, and makes the plan.
async fn plan(session: &Session, args: &ImportArgs) -> Result<Plan, Failure> {
    let catalog = session.home()?.catalog()?;
    for id in &args.providers {
        if catalog.get(id).is_none() {
            return Err(
                Failure::new(18, "not-found", format!("there is no provider {id}"))
                    .with_remedies(vec!["entail providers".to_owned()]),
            );
        }
    }
    let mut entail = session.open()?;
    let map = map(&args.map)?;
    let organization = organization(session, &entail, args, &map).await?;
    let here = [PathBuf::from(".")];
    let paths = match args.paths.is_empty() && !args.env {
        true => &here,
        false => args.paths.as_slice(),
    };
    let (projects, skipped) = find(
        session,
        &Wanted {
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
        // Without the identity nothing is compared, and the report says so.
        entail = session.open_unlocked().unwrap_or(entail);
    }
    let planning = Planning {
        session,
        entail: &entail,
        organization: &organization,
        present: &present,
    };
    planning.plan(found, skipped).await
}

/// Takes `PATH=SCOPE` apart.
fn map(texts: &[String]) -> Result<Vec<(PathBuf, ScopePath)>, Failure> {
    texts
        .iter()
        .map(|text| {
            let (path, scope) = text
                .rsplit_once('=')
                .ok_or_else(|| Failure::invalid("--map takes PATH=SCOPE"))?;
            let scope = scope.parse().map_err(entail::Error::from)?;
            Ok((PathBuf::from(path), scope))
        })
        .collect()
}

/// The organization that is meant: the one given, the one of the scopes that are mapped,
/// or the only one of the home.
async fn organization(
    session: &Session,
    entail: &Entail,
    args: &ImportArgs,
    map: &[(PathBuf, ScopePath)],
) -> Result<ScopePath, Failure> {
    let top = |scope: &ScopePath| scope.chain().last();
    let organization = match (&args.org, map.first()) {
        (Some(organization), _) if !organization.is_organization() => {
            return Err(Failure::invalid(format!(
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
                        Failure::invalid("the home has no organization to import into")
                            .with_remedies(vec!["entail init ORG".to_owned()]),
                    );
                }
                several => {
                    return Err(Failure::invalid(
                        "the home has several organizations; say which one to import into",
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
        Some((_, scope)) => Err(Failure::invalid(format!(
            "--map names {scope}, which is not in {organization}; import into one organization at a time"
        ))),
        None => Ok(organization),
    }
}

/// Makes the changes, in their order.
async fn apply(session: &Session, entail: &Entail, steps: Vec<plan::Step>) -> Result<(), Failure> {
    let total = steps.len();
    for (done, step) in steps.into_iter().enumerate() {
        if let Err(error) = entail.change(&session.principal, &step.change()).await {
            return Err(Failure::from(error)
                .with_details(vec![format!("{done} of {total} changes were made")])
                .with_remedies(vec![
                    "import again: what is done is not done twice".to_owned(),
                ]));
        }
    }
    Ok(())
}
