//! `entail audit`: shows and verifies the decision log.

mod archive;
mod event;
mod records;
pub mod verify;

use clap::Subcommand;

use self::archive::{AcceptLossArgs, ArchiveArgs};
use self::records::{ShowArgs, TailArgs};
use crate::error::CliError;
use crate::session::Session;

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Show the last decisions
    Tail(TailArgs),
    /// Show decisions
    Show(ShowArgs),
    /// Verify that no record was changed or removed
    Verify,
    /// Move full files of the log to another directory, and note that they were moved
    Archive(ArchiveArgs),
    /// Accept what is wrong with the log, and continue it
    AcceptLoss(AcceptLossArgs),
}

pub async fn audit(session: &Session, command: &AuditCommand) -> Result<(), CliError> {
    match command {
        AuditCommand::Tail(args) => records::tail(session, args),
        AuditCommand::Show(args) => records::show(session, args),
        AuditCommand::Verify => verify::verify(session).await,
        AuditCommand::Archive(args) => archive::archive(session, args),
        AuditCommand::AcceptLoss(args) => archive::accept_loss(session, args).await,
    }
}
