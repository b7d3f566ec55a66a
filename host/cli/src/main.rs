//! The `entail` program: a command line for the `entail` library. It parses arguments, asks
//! for secrets, and prints; it contains no rules.

mod args;
mod cli;
mod code_cache;
mod commands;
mod confirm;
mod directory_scope;
mod error;
mod exit_status;
mod global;
mod hardening;
mod output;
mod private_files;
mod prompt;
mod session;
mod suggest;
mod temporary;
mod unknown_providers;
mod usage;

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

use crate::cli::Cli;
use crate::commands::dispatch;
use crate::commands::key::save_proposal;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::output::{Style, err};
use crate::private_files::keeper;
use crate::session::Session;
use crate::suggest::complete::complete;

/// Overwrites memory when it is freed. Libraries buffer plaintext in ordinary memory: age does while
/// it encrypts a secret.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // This program starts itself as a child process for jobs and as a keeper of files.
    if let Some(exit) = entail::policy::run_compile_worker_with(&entail_policy_tools::JOBS) {
        return exit;
    }
    if let Some(exit) = keeper::run_if_requested() {
        return exit;
    }
    let warnings = hardening::harden();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => return finish(usage::print(&error).into(), None),
    };
    for warning in warnings {
        err!(Style::Warn => "warning:"; " {warning}");
    }
    let as_json = cli.global.json;
    match run(cli) {
        Ok(exit) => finish(exit, None),
        Err(error) => finish(error.code().exit_status().into(), Some((&error, as_json))),
    }
}

/// Runs the command in a session.
fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { global, command } = cli;
    let session = Session::new(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| CliError::io("the runtime", &error))?;
    runtime.block_on(async {
        match dispatch(&session, &command, cli::parser).await {
            Err(error) => {
                let error = save_proposal(&session, error);
                Err(complete(&session, error, command.adds_scope()).await)
            }
            done => done,
        }
    })
}

/// Prints the error, and returns the status with which the program ends. Output that could
/// not be written is an error too, unless the reader closed the pipe.
fn finish(exit: ExitCode, error: Option<(&CliError, bool)>) -> ExitCode {
    if let Some((error, as_json)) = error {
        output::print_error(error, as_json);
        return exit;
    }
    match output::failure_to_report() {
        None => exit,
        Some(failure) => {
            err!("error: standard output: {failure}");
            ExitStatus::OtherError.into()
        }
    }
}
