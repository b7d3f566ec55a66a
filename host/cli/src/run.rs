//! Runs a command with the variables of what a scope gets.
//!
//! The command gets the caller's variables, less those that the provider file
//! lists, plus those of what was granted: a key that lies around in the caller's
//! environment is not used by mistake, nor is a granted one sent to a base URL that
//! lies around there.
//!
//! Where no variable has to point to a file, the command takes the place of this
//! process, so exit code, signals and terminal are its own. Else this process
//! waits, passes signals on, and removes the files when the command has ended
//! ([`crate::secret_files`]).

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};

use entail::policy::Code;
use entail::{Entail, Error, Lease, Provider, ProviderId, Request, Secret, VariableValue};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use signal_hook::consts::signal::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGKILL, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use crate::args::{Format, RunArgs, VariablesArgs};
use crate::failure::Failure;
use crate::hardening::as_the_caller_had_it;
use crate::inquire::{UNREMARKABLE, attributes, granted, print_variables};
use crate::output::{Style, print_json, say, tell};
use crate::request_target::{self, Wanted, command_tail};
use crate::secret_files::SecretFiles;
use crate::session::Session;

/// Variables that say where this program's own secrets are, which no command needs.
const OWN_VARIABLES: [&str; 2] = ["ENTAIL_PASSPHRASE_FILE", "ENTAIL_IDENTITY_FD"];

pub async fn run(session: &Session, args: &RunArgs) -> Result<ExitCode, Failure> {
    let tail = command_tail(&args.command);
    let wanted = request_target::of_variables(session, "run", &args.wanted, &tail).await?;
    let entail = session.open_unlocked()?;
    let leases = leases(session, &entail, &wanted).await?;
    let mut command = command(args)?;
    if args.pristine {
        command.env_clear();
    } else {
        for variable in cleared(&entail, &leases) {
            command.env_remove(variable);
        }
    }
    for own in OWN_VARIABLES {
        command.env_remove(own);
    }
    if Session::identity_is_from_systemd() {
        command.env_remove("CREDENTIALS_DIRECTORY");
    }
    if !args.pristine && std::env::var_os("ENTAIL_HOME").is_some() {
        // The same home also when the command changes its folder.
        command.env("ENTAIL_HOME", session.home_folder()?);
    }
    let mut files = SecretFiles::default();
    // From the first file on a signal is waited for, so that it is removed.
    let mut signals = None;
    for lease in &leases {
        let provider = entail.provider(lease.provider())?;
        for (name, value) in lease.environment(provider) {
            match value {
                VariableValue::Public(text) => command.env(name, text),
                VariableValue::Secret(secret) => command.env(name, text_of(name, secret)?),
                VariableValue::SecretFile(secret) => {
                    if signals.is_none() {
                        signals = Some(watch_signals()?);
                    }
                    command.env(name, files.add(secret)?)
                }
            };
        }
    }
    drop((leases, entail));
    let Some(signals) = signals else {
        // Only returns if it could not be done.
        let error = as_the_caller_had_it(|| command.exec());
        return Err(not_started(args, &error));
    };
    let child =
        as_the_caller_had_it(|| command.spawn()).map_err(|error| not_started(args, &error))?;
    files.keep_for(&child);
    drop(command);
    let status = attend(child, signals)?;
    drop(files);
    Ok(end_like(status))
}

pub async fn export_env(session: &Session, args: &VariablesArgs) -> Result<(), Failure> {
    session.check_output_is_free()?;
    let wanted = request_target::of_variables(session, "export-env", args, &[]).await?;
    let entail = session.open_unlocked()?;
    let leases = leases(session, &entail, &wanted).await?;
    let stray: Vec<&str> = cleared(&entail, &leases)
        .filter(|variable| std::env::var_os(variable).is_some())
        .collect();
    if session.common.json {
        print_json(&json!({"unset": stray, "variables": variables(&entail, &leases)?}));
        return Ok(());
    }
    for variable in stray {
        say!("unset {variable}");
    }
    for lease in &leases {
        print_variables(lease, entail.provider(lease.provider())?, Format::Shell)?;
    }
    Session::settle(&entail).await;
    Ok(())
}

/// The variables of leases by name, but for those that name a file.
fn variables(entail: &Entail, leases: &[Lease]) -> Result<serde_json::Map<String, Value>, Failure> {
    let mut variables = serde_json::Map::new();
    for lease in leases {
        for (name, value) in lease.environment(entail.provider(lease.provider())?) {
            let text = match value {
                VariableValue::Public(text) => text,
                VariableValue::Secret(secret) => text_of(name, secret)?,
                VariableValue::SecretFile(_) => continue,
            };
            variables.insert(name.to_owned(), text.into());
        }
    }
    Ok(variables)
}

/// The variables to take away: all that any known provider's clients read, but for
/// the caller's own identity where a credential is used with it.
fn cleared<'a>(entail: &'a Entail, leases: &'a [Lease]) -> impl Iterator<Item = &'a str> {
    let kept = |provider: &Provider, variable: &str| {
        leases
            .iter()
            .filter(|lease| lease.provider() == &provider.id)
            .filter_map(|lease| provider.mode(lease.mode()))
            .any(|mode| mode.keeps.iter().any(|kept| kept == variable))
    };
    entail.catalog().iter().flat_map(move |provider| {
        provider
            .variables()
            .filter(move |variable| !kept(provider, variable))
    })
}

/// What `scope` gets: for the providers that were named, or for all that are
/// granted, of which there must be one.
async fn leases(
    session: &Session,
    entail: &Entail,
    wanted: &Wanted,
) -> Result<Vec<Lease>, Failure> {
    let Wanted {
        scope,
        providers: named,
        model,
        attributes: said,
    } = wanted;
    let attributes = attributes(said)?;
    let request = |provider: &ProviderId| Request {
        model: model.clone(),
        attributes: attributes.clone(),
        ..Request::new(scope.clone(), provider.clone())
    };
    let mut leases = Vec::new();
    if !named.is_empty() {
        for provider in named {
            leases.push(granted(entail, &session.principal, &request(provider)).await?);
        }
        return Ok(leases);
    }
    let mut refused: Vec<(ProviderId, Code)> = Vec::new();
    for provider in entail.catalog().iter() {
        match entail
            .resolve(&session.principal, &request(&provider.id))
            .await
        {
            Ok(lease) => leases.push(lease),
            Err(Error::Refused { refusal, .. }) => {
                refused.push((provider.id.clone(), refusal.code));
            }
            // A fault of the store, the policy or the log is no refusal.
            Err(error) => return Err(error.into()),
        }
    }
    if leases.is_empty() {
        // The one that says most: a broken key before a missing opt-in before nothing.
        let rank = |code: &str| {
            UNREMARKABLE
                .iter()
                .rev()
                .position(|known| *known == code)
                .map_or(0, |at| at + 1)
        };
        let telling = refused.iter().min_by_key(|(_, code)| rank(code.as_str()));
        if let Some((provider, _)) = telling.filter(|(_, code)| *code != "no-credential") {
            granted(entail, &session.principal, &request(provider)).await?;
        }
        return Err(Failure::new(
            10,
            "no-credential",
            format!("{scope} gets no credential for any provider"),
        )
        .with_remedies(vec![format!("entail status {scope}")]));
    }
    for (provider, code) in refused
        .iter()
        .filter(|(_, code)| !UNREMARKABLE.contains(&code.as_str()))
    {
        tell!(Style::Warn => "note:"; " {provider} is refused: {code}; see: entail explain {scope} {provider}"
        );
    }
    Ok(leases)
}

fn text_of<'a>(name: &str, secret: &'a Secret) -> Result<&'a str, Failure> {
    secret
        .expose_text()
        .ok_or_else(|| Failure::invalid(format!("the value of {name} is not text")))
}

/// The command, found in the caller's path: the one it gets may be empty.
fn command(args: &RunArgs) -> Result<Command, Failure> {
    let (program, arguments) = args
        .command
        .split_first()
        .ok_or_else(|| Failure::new(2, "usage", "no command is given"))?;
    let mut command = Command::new(find(program).unwrap_or_else(|| program.clone()));
    command.arg0(program).args(arguments);
    Ok(command)
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
fn not_started(args: &RunArgs, error: &std::io::Error) -> Failure {
    let program = args
        .command
        .first()
        .map(|program| program.to_string_lossy())
        .unwrap_or_default();
    let exit = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Failure::new(exit, "not-started", format!("{program}: {error}"))
}

/// Waits for signals that would end this process, or that people send to theirs.
/// Those that the caller ignores stay ignored, as under nohup(1).
fn watch_signals() -> Result<SignalsInfo<WithOrigin>, Failure> {
    let watched = [
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU,
        SIGXFSZ, SIGIO,
    ];
    let ignored = ignored_signals();
    SignalsInfo::new(
        watched
            .iter()
            .filter(|signal| ignored & (1 << (*signal - 1)) == 0),
    )
    .map_err(|error| Failure::io("signals", &error))
}

/// The signals that this process ignores, as a bit each, the first for signal 1;
/// none where the system does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Waits for the command, and passes signals on to it.
fn attend(mut child: Child, mut signals: SignalsInfo<WithOrigin>) -> Result<ExitStatus, Failure> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let handle = signals.handle();
    let passing_on = std::thread::Builder::new().spawn(move || {
        for origin in signals.forever() {
            // What is typed at the terminal, the kernel sends to the command too.
            let typed = matches!(origin.signal, SIGINT | SIGQUIT);
            if typed && origin.cause == Cause::Kernel {
                continue;
            }
            if let Some((pid, signal)) = pid.zip(Signal::from_named_raw(origin.signal)) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, signal);
            }
        }
    });
    let passing_on = match passing_on {
        Ok(passing_on) => passing_on,
        Err(error) => {
            // Nobody could stop it any more.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::io("a thread that passes signals on", &error));
        }
    };
    let status = child
        .wait()
        .map_err(|error| Failure::io("the command", &error));
    handle.close();
    let _ = passing_on.join();
    status
}

/// Ends as the command did: with the same code, or by the same signal. One that
/// leaves a core behind is only reported: the core would be of this process.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        if matches!(
            signal,
            SIGHUP | SIGINT | SIGTERM | SIGKILL | SIGALRM | SIGUSR1 | SIGUSR2
        ) {
            // Does not return for a signal that ends a process.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    )
}
