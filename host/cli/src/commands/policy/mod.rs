//! Commands about policies.

mod activate;
mod activation;
mod build;
mod candidate;
mod check;
mod component_args;
mod convert;
mod decide;
mod diff;
mod engine;
mod errors;
mod export;
mod install;
mod list;
mod lookup;
mod new;
mod remove;
mod replay;
mod rollback;
mod shadow;
mod show;
mod stored;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::CliError;
use crate::session::Session;

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Create a policy project in Rust, JavaScript or Python
    New(new::NewArgs),
    /// Build a policy from its sources, or a component from a core module
    Build(build::BuildArgs),
    /// Check whether a component can be a policy, and what it needs
    Check(check::CheckArgs),
    /// Run the test vectors of a policy
    Test(test::TestArgs),
    /// Decide facts given as JSON lines, and print the decisions as JSON lines; needs
    /// no home
    Decide(decide::DecideArgs),
    /// Decide the requests of the decision log again, and show what would change
    Replay(replay::ReplayArgs),
    /// Compare what every scope gets now with what it would get from another policy
    Diff(diff::DiffArgs),
    /// Admit a component and store it; nothing changes until it is activated
    Install(install::InstallArgs),
    /// List the installed policies, and where they are active
    List,
    /// Show the policy of an organization, or an installed one
    Show(show::ShowArgs),
    /// Write the component of an installed or the built-in policy to a file, or as an OCI
    /// image layout
    Export(export::ExportArgs),
    /// Activate a policy for an organization and all its projects
    Activate(activate::ActivateArgs),
    /// Activate the previous policy again
    Rollback(rollback::RollbackArgs),
    /// Run a policy beside the active one and only record its decisions; without a policy,
    /// show how the two compare
    Shadow(shadow::ShadowArgs),
    /// Remove an installed policy that is active nowhere
    Remove(remove::RemoveArgs),
}

/// Runs a command.
///
/// # Errors
///
/// Fails as the command does.
pub async fn policy(session: &Session, command: &PolicyCommand) -> Result<ExitCode, CliError> {
    match command {
        PolicyCommand::New(args) => new::new(session, args)?,
        PolicyCommand::Build(args) => build::build(session, args)?,
        PolicyCommand::Check(args) => check::check(session, args)?,
        PolicyCommand::Test(args) => test::test(session, args)?,
        PolicyCommand::Decide(args) => decide::decide(session, args)?,
        PolicyCommand::Replay(args) => return replay::replay(session, args),
        PolicyCommand::Diff(args) => return diff::diff(session, args).await,
        PolicyCommand::Install(args) => install::install(session, args).await?,
        PolicyCommand::List => list::list(session).await?,
        PolicyCommand::Show(args) => show::show(session, args).await?,
        PolicyCommand::Export(args) => export::export(session, args).await?,
        PolicyCommand::Activate(args) => return activate::activate(session, args).await,
        PolicyCommand::Rollback(args) => return rollback::roll_back(session, args).await,
        PolicyCommand::Shadow(args) => shadow::shadow(session, args).await?,
        PolicyCommand::Remove(args) => remove::remove(session, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
