//! `entail init`: creates a home and an organization.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use entail::{Change, Home, ScopePath};

use super::change::{Attempt, apply};
use crate::args::dry_run::{AccessDryRun, DryRun};
use crate::error::CliError;
use crate::output::{out, print_dry_run_notice, print_json};
use crate::session::Session;
use entail_api::project::OrganizationCreated;

#[derive(Args)]
pub struct InitArgs {
    /// The organization
    #[arg(value_name = "ORG")]
    pub organization: ScopePath,
    /// Protect the identity with a passphrase
    #[arg(long)]
    pub passphrase: bool,
    #[command(flatten)]
    pub dry_run: DryRun,
}

pub async fn init(session: &Session, args: &InitArgs) -> Result<ExitCode, CliError> {
    let organization = &args.organization;
    if !organization.is_organization() {
        return Err(
            CliError::invalid(format!("{organization} is a project, not an organization"))
                .with_remedies(vec![format!("entail project add {organization}")]),
        );
    }
    let directory = session.home_directory()?;
    let dry_run = args.dry_run.dry_run;
    let home_created = !Home::exists(&directory);
    let created = OrganizationCreated {
        organization: organization.to_string(),
        home: directory.display().to_string(),
        home_created,
        dry_run,
    };
    if home_created && dry_run {
        Home::check_new(&directory)?;
        print(session, &created);
        return Ok(ExitCode::SUCCESS);
    }
    if home_created {
        create_home(session, args, &directory).await?;
    } else if args.passphrase {
        return Err(CliError::invalid(format!(
            "{} is a home already; --passphrase is for the identity of a new home",
            directory.display()
        )));
    }
    let entail = session.open()?;
    let change = Change::AddScope {
        scope: organization.clone(),
    };
    let dry_run = AccessDryRun {
        dry_run,
        attributes: Vec::new(),
    };
    if let Attempt::DryRun(exit) = apply(session, &entail, change, &dry_run).await? {
        return Ok(exit);
    }
    print(session, &created);
    Ok(ExitCode::SUCCESS)
}

/// Creates the home, unless another process is faster.
async fn create_home(session: &Session, args: &InitArgs, directory: &Path) -> Result<(), CliError> {
    let passphrase = if args.passphrase {
        Some(session.new_passphrase()?)
    } else {
        None
    };
    match Home::create(directory, passphrase.as_ref()).await {
        Err(_) if passphrase.is_none() && Home::exists(directory) => Ok(()),
        created => Ok(created.map(drop)?),
    }
}

fn print(session: &Session, created: &OrganizationCreated) {
    if session.global.json {
        print_json(created);
        return;
    }
    let OrganizationCreated {
        organization, home, ..
    } = created;
    if created.dry_run {
        out!("would create the home {home}");
        out!("would create the organization {organization}");
        print_dry_run_notice();
        return;
    }
    if created.home_created {
        out!("created the home {home} (keep a copy of its keys directory)");
    }
    out!("created the organization {organization}");
    out!("next: entail credential set {organization} openai");
}
