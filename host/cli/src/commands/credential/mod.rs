//! `entail credential`: sets, rotates, lists, shows and removes credentials.

mod changed;
mod enable;
mod list;
mod remove;
mod replaced;
mod restore;
mod rollback;
mod rotate;
mod serving;
mod set;
mod show;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

use self::list::ListArgs;
use self::remove::RemoveArgs;
use self::rollback::RollbackArgs;
use self::rotate::RotateArgs;
use self::set::SetArgs;
use crate::args::credential::{ChangeCredentialArgs, CredentialArgs};
use crate::error::CliError;
use crate::session::Session;

#[derive(Subcommand)]
pub enum CredentialCommand {
    /// Add a credential, or change only what is given; a replaced secret is kept for a
    /// while, and a new secret drops the expiry unless --expires sets one
    Set(Box<SetArgs>),
    /// Replace the secret of a credential; the new one is active at once, the old one is
    /// kept for a while, and the expiry is dropped unless --expires sets one
    Rotate(RotateArgs),
    /// Restore the previous secret of a credential; the current one is kept, so that a
    /// second rollback restores it
    Rollback(RollbackArgs),
    /// List the credentials of a scope
    List(ListArgs),
    /// Show a credential without its secret
    Show(CredentialArgs),
    /// Disable a credential
    Disable(ChangeCredentialArgs),
    /// Enable a credential
    Enable(ChangeCredentialArgs),
    /// Remove a credential; it is kept for a while, so that it can be restored
    Remove(RemoveArgs),
    /// Restore a credential that was removed
    Restore(ChangeCredentialArgs),
}

impl CredentialCommand {
    fn is_dry_run(&self) -> bool {
        match self {
            CredentialCommand::Set(args) => args.dry_run.dry_run,
            CredentialCommand::Rotate(args) => args.dry_run.dry_run,
            CredentialCommand::Rollback(args) => args.dry_run.dry_run,
            CredentialCommand::Remove(args) => args.dry_run.dry_run,
            CredentialCommand::Disable(args)
            | CredentialCommand::Enable(args)
            | CredentialCommand::Restore(args) => args.dry_run.dry_run,
            CredentialCommand::List(_) | CredentialCommand::Show(_) => false,
        }
    }
}

pub async fn credential(
    session: &Session,
    command: &CredentialCommand,
) -> Result<ExitCode, CliError> {
    let entail = session.open()?;
    if !command.is_dry_run() {
        session.destroy_due(&entail).await?;
    }
    match command {
        CredentialCommand::Set(args) => set::set(session, &entail, args).await,
        CredentialCommand::Rotate(args) => rotate::rotate(session, &entail, args).await,
        CredentialCommand::Rollback(args) => rollback::roll_back(session, &entail, args).await,
        CredentialCommand::List(args) => list::list(session, &entail, args).await,
        CredentialCommand::Show(args) => show::show(session, &entail, args).await,
        CredentialCommand::Disable(args) => enable::disable(session, &entail, args).await,
        CredentialCommand::Enable(args) => enable::enable(session, &entail, args).await,
        CredentialCommand::Remove(args) => remove::remove(session, &entail, args).await,
        CredentialCommand::Restore(args) => restore::restore(session, &entail, args).await,
    }
}
