//! `entail bundle`: files that resolve without a home.

mod export;
mod file;
mod inspect;
mod resolve;

use clap::Subcommand;

use self::export::ExportArgs;
use self::file::{BundleFileArg, TrustArgs};
use self::resolve::{BundleExplainArgs, BundleResolveArgs};
use crate::error::CliError;
use crate::session::Session;

#[derive(Subcommand)]
pub enum BundleCommand {
    /// Write what scopes need to resolve elsewhere to a signed file, sealed to recipients
    Export(ExportArgs),
    /// Show what a bundle says, without trusting it
    Inspect(BundleFileArg),
    /// Verify the signature of a bundle, its expiry, and every sealed secret
    Verify(TrustArgs),
    /// Show the credential that a scope gets from a bundle, secrets masked
    Resolve(BundleResolveArgs),
    /// Explain which credential a scope gets from a bundle, and why
    Explain(BundleExplainArgs),
}

pub async fn bundle(session: &Session, command: &BundleCommand) -> Result<(), CliError> {
    match command {
        BundleCommand::Export(args) => export::export(session, args).await,
        BundleCommand::Inspect(args) => inspect::inspect(session, args),
        BundleCommand::Verify(args) => inspect::verify(session, args),
        BundleCommand::Resolve(args) => resolve::resolve(session, args),
        BundleCommand::Explain(args) => resolve::explain(session, args),
    }
}
