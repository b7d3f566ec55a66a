//! The child of a [`Sandbox`]: limits itself, does one job, and ends.
//!
//! [`Sandbox`]: crate::Sandbox

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::sandbox::{ARGUMENT, EXIT_REFUSED, Job};
use crate::{compiled, compose, settings};

/// The exit code of a child that was not started by a parent.
const EXIT_USAGE: u8 = 2;

/// The longest reason, in bytes. Some repeat what is wrong with something long.
const REASON_BYTES: usize = 16 << 10;

/// How much the child gives way, on the scale of nice(1).
const GIVE_WAY: i32 = 10;

/// The jobs of this crate.
const JOBS: [Job; 4] = [
    compiled::COMPILE,
    compiled::COMPILE_COMPACT,
    compose::COMPOSE,
    settings::CHECK,
];

/// Does a job, if this process was started to do just that, and returns its exit code;
/// else does nothing. To be called first of all in the `main` of a program that uses
/// [`Sandbox::this_program`].
///
/// [`Sandbox::this_program`]: crate::Sandbox::this_program
pub fn serve() -> Option<ExitCode> {
    serve_with(&[])
}

/// The same, with jobs of the program's own.
pub fn serve_with(own: &[Job]) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let mut next = || arguments.next();
    let (name, memory, seconds) = (next(), number(next()), number(next()));
    let job = name.and_then(|name| {
        let mut jobs = JOBS.iter().chain(own);
        jobs.find(|job| name == job.name)
    });
    let (Some(job), Some(memory), Some(seconds)) = (job, memory, seconds) else {
        eprintln!("this is for the program's own use");
        return Some(ExitCode::from(EXIT_USAGE));
    };
    Some(match work(job, memory, seconds) {
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

fn work(job: &Job, memory: u64, seconds: u64) -> std::io::Result<ExitCode> {
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    // At the first one a signal tells that it was for the time.
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    limit(Resource::As, memory, memory)?;
    // Without it, it only is less polite.
    let _ = setpriority_process(None, GIVE_WAY);
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

/// Sets a limit, or leaves it where it is lower already.
fn limit(resource: Resource, current: u64, maximum: u64) -> std::io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(current.min(most)),
        maximum: Some(maximum.min(most)),
    };
    Ok(setrlimit(resource, limit)?)
}
