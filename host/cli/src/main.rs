//! The `entail` program: a thin front of the `entail` library. It parses
//! arguments, asks for secrets, and prints; it holds no rules of its own.

mod args;
mod attributes;
mod audit;
mod backup;
mod build_record;
mod code_cache;
mod component_source;
mod confirm;
mod contract_difference;
mod dev;
mod directory_scope;
mod doctor;
mod failure;
mod hardening;
mod help;
mod import;
mod inherited;
mod input;
mod inquire;
mod keeper;
mod key;
mod manage;
mod nearest;
mod output;
mod paths;
mod policy;
mod policy_build;
mod policy_check;
mod policy_compare;
mod policy_new;
mod policy_problems;
mod policy_service;
mod policy_test;
mod progress;
mod prompt;
mod remedy;
mod replaced;
mod request_target;
mod run;
mod secret_files;
mod session;
mod suggest;
mod temporary;
mod times;
mod unknown_providers;
mod usage;
mod use_scope;
mod verify;
mod wasm_bindgen;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser as _};
use entail::policy::Job;

use crate::args::{Cli, Command, CredentialCommand, KeyCommand, PolicyCommand, ProjectCommand};
use crate::contract_difference::DIFFERENCES;
use crate::failure::Failure;
use crate::output::{Style, exactly, tell};
use crate::policy_build::COMPONENTIZE;
use crate::session::Session;

/// What this program does with foreign bytes in a process of its own, besides what the
/// library does.
const JOBS: [Job; 2] = [DIFFERENCES, COMPONENTIZE];

fn main() -> ExitCode {
    // Started by itself to look at foreign code, it does nothing else.
    if let Some(exit) = entail::policy::run_compile_worker_with(&JOBS) {
        return exit;
    }
    // Nor when it was started to remove what a run leaves behind.
    if let Some(exit) = keeper::keep() {
        return exit;
    }
    let unhardened = hardening::harden();
    // What an error or help needs besides takes time, and is not for every start.
    let parsed = Cli::try_parse().or_else(|_| {
        let mut matches = help::command().try_get_matches()?;
        Cli::from_arg_matches_mut(&mut matches)
    });
    let Cli { common, command } = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage::usage(&error),
    };
    for what in unhardened {
        tell!(Style::Warn => "warning:"; " {what}");
    }
    let json = common.json;
    let session = match Session::new(common) {
        Ok(session) => session,
        Err(failure) => return failure.report(json),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::io("the runtime", &error).report(json),
    };
    let is_adding = matches!(
        command,
        Command::Project(ProjectCommand::Add { .. }) | Command::Init(_)
    );
    match runtime.block_on(perform(&session, command)) {
        Ok(exit) => exit,
        Err(failure) => runtime
            .block_on(suggest::complete(&session, failure, is_adding))
            .report(json),
    }
}

/// Whether a command changes a home in a way that can be tried without changing it.
fn has_dry_run(command: &Command) -> bool {
    match command {
        Command::Init(_)
        | Command::Import(_)
        | Command::Inherit(_)
        | Command::Model(_)
        | Command::Restore(_) => true,
        Command::Project(command) => !matches!(command, ProjectCommand::List { .. }),
        Command::Credential(command) => !matches!(
            command,
            CredentialCommand::List { .. } | CredentialCommand::Show(_)
        ),
        Command::Key(command) => !matches!(command, KeyCommand::List),
        Command::Policy(command) => match &**command {
            PolicyCommand::Install(_)
            | PolicyCommand::Activate(_)
            | PolicyCommand::Rollback { .. }
            | PolicyCommand::Remove { .. } => true,
            PolicyCommand::Shadow(args) => args.policy.is_some() || args.off,
            _ => false,
        },
        _ => false,
    }
}

/// Whether a command asks requests that attributes can be said of.
fn takes_attributes(command: &Command, dry_run: bool) -> bool {
    match command {
        Command::Resolve(_) | Command::Explain(_) | Command::Run(_) | Command::ExportEnv(_) => true,
        Command::Policy(command) => match &**command {
            PolicyCommand::Diff(_) => true,
            PolicyCommand::Activate(_) | PolicyCommand::Rollback { .. } => dry_run,
            _ => false,
        },
        Command::Project(_) | Command::Credential(_) | Command::Inherit(_) | Command::Model(_) => {
            dry_run
        }
        _ => false,
    }
}

async fn perform(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    if session.common.dry_run && !has_dry_run(&command) {
        return Err(Failure::new(
            2,
            "usage",
            "there is no dry run of this: it changes nothing in a home",
        ));
    }
    if !session.common.attributes.is_empty() && !takes_attributes(&command, session.common.dry_run)
    {
        return Err(Failure::new(
            2,
            "usage",
            "--attribute goes with commands that ask for a credential, with policy diff, and with \
             --dry-run of what changes who gets what",
        ));
    }
    match command {
        Command::Import(args) => import::import(session, &args).await?,
        Command::Use(args) => use_scope::use_scope(session, &args).await?,
        Command::Help(args) => help::help(&args)?,
        Command::Init(args) => return manage::init(session, &args).await,
        Command::Project(command) => return manage::project(session, command).await,
        Command::Credential(command) => return manage::credential(session, command).await,
        Command::Inherit(args) => return manage::inherit(session, &args).await,
        Command::Model(args) => return manage::model(session, &args).await,
        Command::Resolve(args) => inquire::resolve(session, &args).await?,
        Command::Explain(args) => inquire::explain(session, &args).await?,
        Command::Run(args) => return run::run(session, &args).await,
        Command::ExportEnv(args) => run::export_env(session, &args).await?,
        Command::Status(args) => inquire::status(session, &args).await?,
        Command::Providers(args) => inquire::providers(session, &args)?,
        Command::Policy(command) => return policy::policy(session, &command).await,
        Command::Key(command) => key::key(session, command).await?,
        Command::Audit(command) => audit::audit(session, command)?,
        Command::Verify => verify::verify(session).await?,
        Command::Backup(args) => backup::backup(session, &args).await?,
        Command::Restore(args) => backup::restore(session, &args).await?,
        Command::Doctor => doctor::doctor(session).await?,
        Command::Dev => dev::dev(session).await?,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut help::command(), "entail", &mut script);
            exactly(String::from_utf8_lossy(&script).trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
