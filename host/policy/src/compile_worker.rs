//! The compile worker, the child process of a [`Sandbox`]: sets its own limits, runs one job,
//! and exits.
//!
//! [`Sandbox`]: crate::Sandbox

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::sandbox::{ARGUMENT, EXIT_REFUSED, Job};
use crate::{compiled, compose, settings};

/// The exit code for wrong arguments: only a parent starts a child.
const EXIT_USAGE: u8 = 2;

/// The longest error of a job, in bytes. Some quote a long input.
const REASON_BYTES: usize = 16 << 10;

/// The priority of the child, on the scale of nice(1).
const NICENESS: i32 = 10;

/// The jobs of this crate.
const JOBS: [Job; 4] = [
    compiled::COMPILE,
    compiled::COMPILE_COMPACT,
    compose::COMPOSE,
    settings::CHECK,
];

/// Runs a job, if this process was started as the child of a [`Sandbox`], and returns its
/// exit code; returns `None` otherwise. The `main` of a program that uses
/// [`Sandbox::this_program`] must call it before anything else.
///
/// [`Sandbox`]: crate::Sandbox
///
/// [`Sandbox::this_program`]: crate::Sandbox::this_program
pub fn run_compile_worker() -> Option<ExitCode> {
    run_compile_worker_with(&[])
}

/// The same, with additional jobs of the program.
pub fn run_compile_worker_with(additional: &[Job]) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let mut next = || arguments.next();
    let (name, memory, seconds) = (next(), number(next()), number(next()));
    let job = name.and_then(|name| {
        let mut jobs = JOBS.iter().chain(additional);
        jobs.find(|job| name == job.name)
    });
    let (Some(job), Some(memory), Some(seconds)) = (job, memory, seconds) else {
        eprintln!("this argument is for internal use");
        return Some(ExitCode::from(EXIT_USAGE));
    };
    Some(match run_job(job, memory, seconds) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn number(argument: Option<OsString>) -> Option<u64> {
    argument?.to_str()?.parse().ok()
}

fn run_job(job: &Job, memory: u64, seconds: u64) -> std::io::Result<ExitCode> {
    lower_limit(Resource::Core, 0, 0)?;
    lower_limit(Resource::Fsize, 0, 0)?;
    // Reaching the soft limit sends SIGXCPU, which tells a timeout from a kill.
    lower_limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    lower_limit(Resource::As, memory, memory)?;
    // The job also runs at the ordinary priority.
    let _ = setpriority_process(None, NICENESS);
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let (output, exit) = match (job.run)(&input) {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(mut reason) => {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES));
            (reason.into_bytes(), ExitCode::from(EXIT_REFUSED))
        }
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&output)?;
    stdout.flush()?;
    Ok(exit)
}

/// Lowers a limit of this process. Keeps a limit that is lower already.
fn lower_limit(resource: Resource, current: u64, maximum: u64) -> std::io::Result<()> {
    let max = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(current.min(max)),
        maximum: Some(maximum.min(max)),
    };
    Ok(setrlimit(resource, limit)?)
}
