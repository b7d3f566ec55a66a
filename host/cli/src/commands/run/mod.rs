//! `entail run`: runs a command with the credentials that a scope gets as variables
//! ([`entail::CommandEnvironment`]).
//!
//! If no variable has to name a file, the command replaces this process, so that exit
//! status, signals and terminal are its own. Otherwise this process waits, forwards signals
//! ([`child`]), and removes the files when the command has ended ([`crate::private_files`]).

mod aws_role;
mod child;
pub mod environment;
mod launch;
pub mod leases;
pub mod proxies;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;
use entail::{CommandEnvironment, Secret, VariableValue};

use self::child::{Signals, exit_as};
use self::environment::{EnvironmentChanges, text_of, warn_of_unread};
use self::launch::launch;
use self::leases::{kept, leases};
use crate::args::request::VariablesArgs;
use crate::args::request_target;
use crate::error::{CliError, ErrorCode};
use crate::private_files::PrivateFiles;
use crate::session::Session;
use crate::suggest::command_line::command_tail;

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub wanted: VariablesArgs,
    /// Pass none of the caller's variables to the command
    #[arg(long)]
    pub pristine: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

pub async fn run(session: &Session, args: &RunArgs) -> Result<ExitCode, CliError> {
    let tail = command_tail(&args.command);
    let wanted = request_target::of_variables(session, "run", &args.wanted, &tail).await?;
    let entail = session.open_unlocked()?;
    let kept = kept(&entail, &wanted.keep)?;
    let leases = leases(session, &entail, &wanted).await?;
    let environment = CommandEnvironment::new(entail.catalog(), &leases, &kept)?;
    warn_of_unread(&environment);
    let mut changes = EnvironmentChanges::of_caller(session, args.pristine, &environment)?;
    let mut files = PrivateFiles::default();
    // From the first file on, a signal is forwarded to the command and does not end this
    // process, so that the file is removed.
    let mut signals = None;
    let mut add_file = |secret: &Secret| {
        if signals.is_none() {
            signals = Some(Signals::catch()?);
        }
        files.add(secret)
    };
    for (name, value) in environment.variables() {
        let value = match value {
            VariableValue::Public(text) => OsString::from(&*text),
            VariableValue::Secret(secret) => text_of(name, secret)?.into(),
            VariableValue::SecretFile(secret) => add_file(secret)?.into(),
        };
        changes.set.push((name.into(), value));
    }
    if let Some(role) = environment.assumed_role() {
        aws_role::check_kept(&kept)?;
        let profile = aws_role::profile(&role)?;
        let file = add_file(&profile.configuration)?;
        changes.set.extend(profile.variables(&file));
    }
    changes.set.extend(proxies::bypass(&leases));
    drop(environment);
    drop((leases, entail));
    match signals {
        Some(signals) => run_child(&args.command, changes, files, signals),
        None => Err(replace_process(&args.command, &changes)),
    }
}

/// Replaces this process by the command. Returns only if that fails.
fn replace_process(command: &[OsString], changes: &EnvironmentChanges) -> CliError {
    let replaced = launch(command, changes, |command| -> Result<(), _> {
        Err(command.exec())
    });
    replaced
        .err()
        .unwrap_or_else(|| CliError::new(ErrorCode::Io, "the command did not start"))
}

/// Runs the command as a child, and removes the files when it has ended.
fn run_child(
    command: &[OsString],
    changes: EnvironmentChanges,
    mut files: PrivateFiles,
    signals: Signals,
) -> Result<ExitCode, CliError> {
    let child = launch(command, &changes, Command::spawn)?;
    drop(changes);
    files.keep_for(&child);
    let status = signals.wait_forwarding_signals(&child)?;
    drop(files);
    Ok(exit_as(status))
}
