//! Runs a command with the variables of what a scope gets.
//!
//! Which of the caller's variables the command keeps, and what it gets instead of the
//! others, the library says ([`entail::CommandEnvironment`]).
//!
//! Where no variable has to point to a file, the command takes the place of this
//! process, so exit code, signals and terminal are its own. Else this process waits,
//! forwards signals ([`child`]), and removes the files when the command has ended
//! ([`crate::secret_files`]).

mod aws_role;
mod child;
mod leases;
mod proxies;

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use entail::{CommandEnvironment, Secret, VariableValue};
use rustix::io::Errno;
use serde_json::{Value, json};

use self::child::{Signals, end_like};
use self::leases::{kept, leases};
use crate::args::{Format, RunArgs, VariablesArgs};
use crate::failure::Failure;
use crate::hardening::as_the_caller_had_it;
use crate::inquire::print_variable;
use crate::output::{Style, print_json, say, tell};
use crate::request_target::{self, command_tail};
use crate::secret_files::SecretFiles;
use crate::session::Session;

/// Variables that say where this program's own secrets are, which no command needs.
const OWN_VARIABLES: [&str; 2] = ["ENTAIL_PASSPHRASE_FILE", "ENTAIL_IDENTITY_FD"];

/// Runs a script that does not say by what.
const SHELL: &str = "/bin/sh";

pub async fn run(session: &Session, args: &RunArgs) -> Result<ExitCode, Failure> {
    let tail = command_tail(&args.command);
    let wanted = request_target::of_variables(session, "run", &args.wanted, &tail).await?;
    let entail = session.open_unlocked()?;
    let kept = kept(&entail, &wanted.keep)?;
    let leases = leases(session, &entail, &wanted).await?;
    let environment = CommandEnvironment::new(entail.catalog(), &leases, &kept)?;
    warn_of_unread(&environment);
    let mut changes = EnvironmentChanges {
        pristine: args.pristine,
        ..callers_part(session, args.pristine, &environment)?
    };
    let mut files = SecretFiles::default();
    // From the first file on a signal is waited for, so that the file is removed.
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
    let Some(signals) = signals else {
        // Only returns if it could not be done.
        let error = with_command(args, &changes, |command| -> Result<(), _> {
            Err(command.exec())
        });
        return Err(error
            .err()
            .unwrap_or_else(|| Failure::new(1, "io", "the command did not start")));
    };
    let child = with_command(args, &changes, Command::spawn)?;
    drop(changes);
    files.keep_for(&child);
    let status = signals.forward_to(&child)?;
    drop(files);
    Ok(end_like(status))
}

/// What of the environment of this process changes for the command.
#[derive(Default)]
struct EnvironmentChanges {
    pristine: bool,
    remove: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
}

impl EnvironmentChanges {
    fn apply(&self, command: &mut Command) {
        if self.pristine {
            command.env_clear();
        }
        for name in &self.remove {
            command.env_remove(name);
        }
        for (name, value) in &self.set {
            command.env(name, value);
        }
    }
}

/// Takes away what of the caller's the command does not get.
fn callers_part(
    session: &Session,
    pristine: bool,
    environment: &CommandEnvironment<'_>,
) -> Result<EnvironmentChanges, Failure> {
    let mut changes = EnvironmentChanges::default();
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OWN_VARIABLES.contains(&&*text) || !environment.passes(&text) {
            changes.remove.push(name);
        } else if pristine && environment.is_kept(&text) {
            changes.set.push((name, value));
        }
    }
    if Session::identity_is_from_systemd() {
        changes.remove.push("CREDENTIALS_DIRECTORY".into());
    }
    if !pristine && std::env::var_os("ENTAIL_HOME").is_some() {
        // The same home also when the command changes its directory.
        changes
            .set
            .push(("ENTAIL_HOME".into(), session.home_folder()?.into()));
    }
    Ok(changes)
}

/// Names what of the granted credentials a client does not find by itself: it would go
/// to the vendor's host, or do without.
fn warn_of_unread(environment: &CommandEnvironment<'_>) {
    for unread in environment.unread() {
        tell!(Style::Warn => "note:"; " {unread}");
    }
    for (fixed, other) in environment.withheld() {
        tell!(Style::Warn => "note:"; " {} is not set, since {other} is granted too; give --provider if only one is meant", fixed.name);
    }
}

pub async fn export_env(session: &Session, args: &VariablesArgs) -> Result<(), Failure> {
    session.check_output_is_free()?;
    let wanted = request_target::of_variables(session, "export-env", args, &[]).await?;
    let entail = session.open_unlocked()?;
    let kept = kept(&entail, &wanted.keep)?;
    let leases = leases(session, &entail, &wanted).await?;
    let environment = CommandEnvironment::new(entail.catalog(), &leases, &kept)?;
    warn_of_unread(&environment);
    if environment.assumed_role().is_some() {
        tell!(Style::Warn => "note:"; " the role is assumed by a private file, which only `entail run` can provide");
    }
    let variables = environment.variables();
    // One that would name a file is not set here, and so is unset.
    let is_set = |name: &str| {
        let value = variables.get(name);
        value.is_some_and(|value| !matches!(value, VariableValue::SecretFile(_)))
    };
    let stray: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| !environment.passes(name) && !is_set(name))
        .collect();
    for name in stray.iter().filter(|name| !is_shell_name(name)) {
        tell!(Style::Warn => "note:"; " no shell can unset the variable {name}, which a client reads; use entail run");
    }
    let bypass = proxies::bypass(&leases);
    if session.common.json {
        let mut values = serde_json::Map::new();
        for (name, value) in &bypass {
            values.insert(
                name.to_string_lossy().into(),
                value.to_string_lossy().into(),
            );
        }
        for (name, value) in &variables {
            let text: Value = match value {
                VariableValue::Public(text) => text.as_ref().into(),
                VariableValue::Secret(secret) => text_of(name, secret)?.into(),
                VariableValue::SecretFile(_) => continue,
            };
            values.insert((*name).to_owned(), text);
        }
        print_json(&json!({"unset": stray, "variables": values}));
        return Ok(());
    }
    for name in stray.iter().filter(|name| is_shell_name(name)) {
        say!("unset {name}");
    }
    for (name, value) in &bypass {
        let value = VariableValue::Public(value.to_string_lossy());
        print_variable(&name.to_string_lossy(), &value, Format::Shell)?;
    }
    for (name, value) in &variables {
        print_variable(name, value, Format::Shell)?;
    }
    Session::settle(&entail).await;
    Ok(())
}

/// Whether it is the name of a variable as shells have them.
fn is_shell_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(fits)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn text_of<'a>(name: &str, secret: &'a Secret) -> Result<&'a str, Failure> {
    secret
        .expose_text()
        .ok_or_else(|| Failure::invalid(format!("the value of {name} is not text")))
}

/// Starts the command, found in the caller's path: the one it gets may be empty. A script
/// that does not say by what it is run is run by the shell, as execvp(3) does.
fn with_command<T>(
    args: &RunArgs,
    changes: &EnvironmentChanges,
    mut start: impl FnMut(&mut Command) -> std::io::Result<T>,
) -> Result<T, Failure> {
    let (program, arguments) = args
        .command
        .split_first()
        .ok_or_else(|| Failure::new(2, "usage", "no command is given"))?;
    let file = find(program).unwrap_or_else(|| program.clone());
    let mut start = |mut command: Command| {
        command.args(arguments);
        changes.apply(&mut command);
        as_the_caller_had_it(|| start(&mut command))
    };
    let mut command = Command::new(&file);
    command.arg0(program);
    let started = match start(command) {
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            let mut shell = Command::new(SHELL);
            shell.arg(&file);
            start(shell)
        }
        started => started,
    };
    started.map_err(|error| not_started(program, &error))
}

fn find(program: &OsStr) -> Option<OsString> {
    if Path::new(program).components().count() > 1 {
        return None;
    }
    let executable = |file: &PathBuf| {
        std::fs::metadata(file)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(executable)
        .map(PathBuf::into_os_string)
}

/// By the convention of env(1): 127 not found, 126 not to be started.
fn not_started(program: &OsStr, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    let program = program.to_string_lossy();
    Failure::new(exit, "not-started", format!("{program}: {error}"))
}
