//! The commands, one file each with its arguments, its code and its text output. What a
//! command prints as JSON is in [`entail_api`].

mod audit;
mod backup;
mod bundle;
mod change;
mod completions;
mod credential;
mod dev;
mod doctor;
mod dry_run;
mod explain;
mod export_env;
mod heartbeat;
pub mod help;
mod import;
mod inherit;
mod init;
pub mod key;
mod model;
pub mod policy;
mod principal;
mod project;
mod providers;
mod resolve;
mod restore;
mod run;
mod status;
mod use_scope;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use self::audit::AuditCommand;
use self::backup::BackupArgs;
use self::bundle::BundleCommand;
use self::completions::CompletionsArgs;
use self::credential::CredentialCommand;
use self::explain::ExplainArgs;
use self::heartbeat::HeartbeatCommand;
use self::help::HelpArgs;
use self::import::ImportArgs;
use self::inherit::InheritArgs;
use self::init::InitArgs;
use self::key::KeyCommand;
use self::model::ModelArgs;
use self::policy::PolicyCommand;
use self::principal::PrincipalCommand;
use self::project::ProjectCommand;
use self::providers::ProvidersArgs;
use self::resolve::ResolveArgs;
use self::restore::RestoreArgs;
use self::run::RunArgs;
use self::status::StatusArgs;
use self::use_scope::UseArgs;
use crate::args::request::VariablesArgs;
use crate::error::CliError;
use crate::session::Session;

#[derive(Subcommand)]
pub enum Command {
    /// Create a home, if there is none yet, and an organization in it
    Init(InitArgs),
    /// Import credentials from .env files, shell exports, JSON or the environment
    Import(ImportArgs),
    /// Add, list and remove projects
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Set, rotate, enable, disable, list and remove credentials
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Let a scope inherit credentials from its parent, or stop inheriting
    Inherit(InheritArgs),
    /// Set the default model of a scope
    Model(ModelArgs),
    /// Set the scope of a directory, so that other commands need none
    Use(UseArgs),
    /// Show the credential that a scope gets for a provider, secrets masked
    Resolve(ResolveArgs),
    /// Explain which credential a scope gets for a provider, and why
    Explain(ExplainArgs),
    /// Run a command with the credentials that a scope gets as variables
    Run(RunArgs),
    /// Print shell commands that set the variables `run` would set
    ExportEnv(VariablesArgs),
    /// Show what each scope gets for each provider, by resolving it
    Status(StatusArgs),
    /// List the providers, or show one
    Providers(ProvidersArgs),
    /// Write, check, test, install, activate and roll back policies
    #[command(subcommand)]
    Policy(Box<PolicyCommand>),
    /// List and rotate keys, and choose who can open secrets
    #[command(subcommand)]
    Key(KeyCommand),
    /// List who made changes, and erase names
    #[command(subcommand)]
    Principal(PrincipalCommand),
    /// Let machines notice that they are shown an old state of the store
    #[command(subcommand)]
    Heartbeat(HeartbeatCommand),
    /// Show and verify the decision log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Verify the whole store against its journal, and open every secret
    Verify,
    /// Write a copy of the store to a file, while others use the store
    Backup(BackupArgs),
    /// Restore a backup, here or on a clean machine
    Restore(RestoreArgs),
    /// Export what scopes need to resolve without this home, and resolve with such a file
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Check permissions, keys, the store and the log, and that every secret opens
    Doctor,
    /// Create a throwaway organization to try things out
    Dev,
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// List the commands by task, or show the help of one
    Help(HelpArgs),
}

impl Command {
    /// Whether the command adds a scope, so that it may name one that does not exist.
    pub fn adds_scope(&self) -> bool {
        matches!(
            self,
            Command::Project(ProjectCommand::Add(_)) | Command::Init(_)
        )
    }
}

/// Runs a command. `parser` makes the parser of the program, for help and completions.
///
/// # Errors
///
/// Fails if the command fails.
pub async fn dispatch(
    session: &Session,
    command: &Command,
    parser: fn() -> clap::Command,
) -> Result<ExitCode, CliError> {
    match command {
        Command::Init(args) => return init::init(session, args).await,
        Command::Project(command) => return project::project(session, command).await,
        Command::Credential(command) => return credential::credential(session, command).await,
        Command::Inherit(args) => return inherit::inherit(session, args).await,
        Command::Model(args) => return model::model(session, args).await,
        Command::Run(args) => return run::run(session, args).await,
        Command::Policy(command) => return policy::policy(session, command).await,
        Command::Import(args) => import::import(session, args).await?,
        Command::Use(args) => use_scope::use_scope(session, args).await?,
        Command::Resolve(args) => resolve::resolve(session, args).await?,
        Command::Explain(args) => explain::explain(session, args).await?,
        Command::ExportEnv(args) => export_env::export_env(session, args).await?,
        Command::Status(args) => status::status(session, args).await?,
        Command::Providers(args) => providers::providers(session, args)?,
        Command::Key(command) => key::key(session, command).await?,
        Command::Principal(command) => principal::principal(session, command).await?,
        Command::Heartbeat(command) => heartbeat::heartbeat(session, command).await?,
        Command::Audit(command) => audit::audit(session, command).await?,
        Command::Verify => verify::verify(session).await?,
        Command::Bundle(command) => bundle::bundle(session, command).await?,
        Command::Backup(args) => backup::backup(session, args).await?,
        Command::Restore(args) => restore::restore(session, args).await?,
        Command::Doctor => doctor::doctor(session).await?,
        Command::Dev => dev::dev(session).await?,
        Command::Completions(args) => completions::completions(args, parser()),
        Command::Help(args) => help::help(args, parser())?,
    }
    Ok(ExitCode::SUCCESS)
}
