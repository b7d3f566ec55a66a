//! `entail audit archive` and `accept-loss`.

use std::path::PathBuf;

use clap::Args;
use entail::{accept_log_loss, archive_log};

use super::event::sentence;
use super::verify::journalled_heads;
use crate::args::path;
use crate::error::CliError;
use crate::output::{convert, out, print_json};
use crate::session::Session;
use entail_api::audit::{Archived, LogEvent};

#[derive(Args)]
pub struct ArchiveArgs {
    /// The directory to move them to
    #[arg(long, value_name = "DIR", value_parser = path::parser())]
    pub to: PathBuf,
    /// Only those before the file of this number [default: all that are full]
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
}

#[derive(Args)]
pub struct AcceptLossArgs {
    /// How the damage came about, for a person who verifies the log later
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub fn archive(session: &Session, args: &ArchiveArgs) -> Result<(), CliError> {
    let home = session.home()?;
    let event = archive_log(&home, &session.principal, &args.to, args.before)?;
    let archived = Archived {
        archived: convert(&event)?,
    };
    if session.global.json {
        print_json(&archived);
        return Ok(());
    }
    match &archived.archived {
        Some(event) => out!("{}", sentence(event)),
        None => out!("no such file of the log is full: there is nothing to archive"),
    }
    Ok(())
}

pub async fn accept_loss(session: &Session, args: &AcceptLossArgs) -> Result<(), CliError> {
    let home = session.home()?;
    let heads = journalled_heads(session, &home).await;
    let event = accept_log_loss(&home, &session.principal, &heads, &args.reason)?;
    let event: LogEvent = convert(&event)?;
    if session.global.json {
        print_json(&event);
        return Ok(());
    }
    out!("{}", sentence(&event));
    out!("restart programs that have the log open, such as a service");
    Ok(())
}
