//! `entail heartbeat`: lets machines notice that they are shown an old state of the store.

use clap::{Args, Subcommand};
use entail::Entail;

use crate::args::time::duration_ms;
use crate::error::CliError;
use crate::output::{out, print_json, time};
use crate::session::Session;
use entail_api::heartbeat::Heartbeats;

#[derive(Subcommand)]
pub enum HeartbeatCommand {
    /// Confirm that the present state of the store is the newest; run it from a timer
    Send,
    /// Require a heartbeat at least this often: without one, no machine resolves anything
    Require(RequireArgs),
}

#[derive(Args)]
pub struct RequireArgs {
    /// How long a state counts as the newest after a change or a heartbeat: 15m, 2h; 0 for ever
    pub duration: String,
}

pub async fn heartbeat(session: &Session, command: &HeartbeatCommand) -> Result<(), CliError> {
    let entail = session.open()?;
    match command {
        HeartbeatCommand::Send => {
            entail.keys().send_heartbeat(&session.principal).await?;
        }
        HeartbeatCommand::Require(args) => {
            let duration_ms = duration_ms(&args.duration)?;
            let fresh_for_ms = (duration_ms > 0).then_some(duration_ms);
            entail
                .keys()
                .require_heartbeats(&session.principal, fresh_for_ms)
                .await?;
        }
    }
    print(session, &entail).await
}

async fn print(session: &Session, entail: &Entail) -> Result<(), CliError> {
    let keyring = entail.keys().keyring(&session.principal).await?;
    let freshness = entail.keys().freshness(&session.principal).await?;
    let heartbeats = Heartbeats {
        fresh_for_ms: keyring.authority().fresh_for_ms,
        fresh_until_ms: freshness.until_ms(),
    };
    if session.global.json {
        print_json(&heartbeats);
        return Ok(());
    }
    match heartbeats.fresh_until_ms {
        Some(until_ms) => out!(
            "the state of the store counts as the newest until {}",
            time(until_ms)
        ),
        None => out!("no heartbeats are required: the state of the store always counts"),
    }
    Ok(())
}
