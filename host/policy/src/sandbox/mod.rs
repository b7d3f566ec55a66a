//! Processes foreign bytes in a child process.
//!
//! Neither deadlines nor memory limits apply to compiling, and a small component can take
//! very long to compile; the same holds for composing components, and for validating
//! settings against a schema. So such a [`Job`] runs in a child process, the compile worker,
//! which the system stops when it exceeds its [`JobLimits`].
//!
//! The child is the same program, started with an argument that
//! [`run_compile_worker`](crate::run_compile_worker) recognizes.
//!
//! # Security
//!
//! The child gets its input by a pipe and an empty environment, cannot write files, and
//! runs at a low priority. Its output and its standard error are read up to a limit. The
//! parent needs no additional thread.

mod child;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::engine_errors::{is_allocation_failure, is_out_of_memory};
use crate::error::sanitize;
use crate::limits::Limits;
use child::{ChildOutcome, ChildProcess, Finished};

/// The first argument of a program that is started for a job.
pub(crate) const ARGUMENT: &str = "work-for-parent";

/// The exit code of a job that failed: its output is the reason.
pub(crate) const EXIT_REFUSED: u8 = 3;

/// A child may take this many times its processor time by the clock, on a busy machine.
const WALL_TIME_FACTOR: u32 = 4;

/// The signal for a process that exceeds its processor time.
const SIGXCPU: i32 = 24;
/// The signal by which the Rust runtime aborts.
const SIGABRT: i32 = 6;

/// With less memory than this, a child may fail to start in any way.
const STARTUP_BYTES: u64 = 128 << 20;

/// A function that runs in a child: bytes in, bytes out.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Its name in the arguments of the child.
    pub name: &'static str,
    /// The function. Its error is a reason, returned as [`JobError::Refused`].
    pub run: fn(&[u8]) -> Result<Vec<u8>, String>,
}

/// The limits of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Bytes of address space, including the program itself.
    pub memory_bytes: u64,
    /// Processor time. It may take four times as long by the clock.
    pub time: Duration,
    /// Bytes of output.
    pub output_bytes: usize,
}

impl JobLimits {
    /// Returns the limits for compiling, for a job that processes a whole component and
    /// returns at most `output_bytes`.
    pub fn of(limits: &Limits, output_bytes: usize) -> Self {
        JobLimits {
            memory_bytes: limits.compile_memory_bytes,
            time: limits.compile_time,
            output_bytes,
        }
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The child did not start.
    #[error("{0}")]
    NotStarted(String),
    /// It needs more memory than its limit.
    #[error("it takes more than {limit} bytes of memory")]
    Memory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It needs more memory than the system allows this process and its children.
    #[error(
        "it takes more than the {limit} bytes of address space that a process is given here (ulimit -v)"
    )]
    AddressSpace {
        /// The system's limit, in bytes.
        limit: u64,
    },
    /// It takes longer than its limit.
    #[error("it takes longer than {} ms", .limit.as_millis())]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// Its output is too long.
    #[error("its result has more than {limit} bytes")]
    Output {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The child ended in another way.
    #[error("the process for it crashed: {0}")]
    Crashed(String),
    /// The job itself returned an error.
    #[error("{0}")]
    Refused(String),
}

/// The program that runs jobs in a child process.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// `None` is this program.
    program: Option<PathBuf>,
}

impl Sandbox {
    /// This program. Its `main` must call [`run_compile_worker`] before anything else, and
    /// its allocator must not reserve address space far ahead, which the memory limit counts:
    /// a program with such an allocator (mimalloc, say) names another program by
    /// [`Sandbox::program`].
    ///
    /// On Linux its file is found by `/proc`. Without `/proc`, a job fails with
    /// [`JobError::NotStarted`].
    ///
    /// [`run_compile_worker`]: crate::run_compile_worker
    pub fn this_program() -> Self {
        Sandbox { program: None }
    }

    /// A program that calls [`run_compile_worker`].
    ///
    /// [`run_compile_worker`]: crate::run_compile_worker
    pub fn program(file: impl Into<PathBuf>) -> Self {
        Sandbox {
            program: Some(file.into()),
        }
    }

    /// Runs a job in a child, and waits for it.
    ///
    /// # Errors
    ///
    /// [`JobError`].
    pub fn run(&self, job: Job, input: &[u8], limits: &JobLimits) -> Result<Vec<u8>, JobError> {
        let memory = MemoryLimit::of(limits);
        let mut child = self.start(job.name, memory.bytes, limits)?;
        let deadline = Instant::now() + limits.time * WALL_TIME_FACTOR;
        let finished = child
            .communicate(input, limits.output_bytes, deadline)
            .map_err(|error| JobError::NotStarted(format!("the process for it: {error}")))?;
        match finished.outcome {
            ChildOutcome::DeadlineExceeded => Err(JobError::Time { limit: limits.time }),
            ChildOutcome::OutputTooLarge => Err(JobError::Output {
                limit: limits.output_bytes,
            }),
            ChildOutcome::Exited(status) if status.success() => Ok(finished.stdout),
            ChildOutcome::Exited(status) => Err(classify_exit(status, &finished, memory, limits)),
        }
    }

    fn start(&self, job: &str, memory: u64, limits: &JobLimits) -> Result<ChildProcess, JobError> {
        let program = self.file()?;
        let child = Command::new(&program)
            .arg(ARGUMENT)
            .arg(job)
            .arg(memory.to_string())
            .arg(limits.time.as_millis().div_ceil(1000).to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Ok(ChildProcess::new(child)),
            Err(error) => Err(JobError::NotStarted(format!(
                "{} could not be started to process foreign bytes: {error}",
                program.display()
            ))),
        }
    }

    fn file(&self) -> Result<PathBuf, JobError> {
        if let Some(program) = &self.program {
            return Ok(program.clone());
        }
        // On Linux this name stays valid when the file was replaced.
        let own = Path::new("/proc/self/exe");
        if own.exists() {
            return Ok(own.to_owned());
        }
        std::env::current_exe().map_err(|error| {
            JobError::NotStarted(format!(
                "foreign bytes are processed by a child process, and the file of this program is not known ({error}); mount /proc"
            ))
        })
    }
}

/// The memory limit of a child.
#[derive(Clone, Copy)]
struct MemoryLimit {
    bytes: u64,
    /// Whether the limit of this process is lower than the requested one.
    is_capped: bool,
}

impl MemoryLimit {
    fn of(limits: &JobLimits) -> Self {
        match getrlimit(Resource::As).current {
            Some(own) if own < limits.memory_bytes => MemoryLimit {
                bytes: own,
                is_capped: true,
            },
            _ => MemoryLimit {
                bytes: limits.memory_bytes,
                is_capped: false,
            },
        }
    }

    fn exceeded(self) -> JobError {
        let limit = self.bytes;
        if self.is_capped {
            JobError::AddressSpace { limit }
        } else {
            JobError::Memory { limit }
        }
    }
}

/// Classifies the exit of a child that did not succeed.
fn classify_exit(
    status: ExitStatus,
    finished: &Finished,
    memory: MemoryLimit,
    limits: &JobLimits,
) -> JobError {
    use std::os::unix::process::ExitStatusExt as _;

    if status.code() == Some(EXIT_REFUSED.into()) {
        let reason = String::from_utf8_lossy(&finished.stdout);
        return if is_out_of_memory(&reason) {
            memory.exceeded()
        } else {
            JobError::Refused(reason.into_owned())
        };
    }
    let stderr = String::from_utf8_lossy(&finished.stderr);
    match status.signal() {
        Some(SIGXCPU) => JobError::Time { limit: limits.time },
        Some(SIGABRT) if is_allocation_failure(&stderr) => memory.exceeded(),
        _ if memory.bytes < STARTUP_BYTES => memory.exceeded(),
        _ => JobError::Crashed(sanitize(&format!("{status}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn limits() -> JobLimits {
        JobLimits {
            memory_bytes: 1 << 30,
            time: Duration::from_millis(250),
            output_bytes: 1 << 20,
        }
    }

    /// Runs a shell script in place of a worker.
    fn run(script: &str, input: &[u8]) -> Result<Vec<u8>, JobError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("program");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&file, mode).unwrap();
        let job = Job {
            name: "any",
            run: |_| Ok(Vec::new()),
        };
        Sandbox::program(file).run(job, input, &limits())
    }

    #[test]
    fn a_child_that_writes_while_it_reads_does_not_block() {
        let input = vec![b'x'; 900_000];
        assert_eq!(run("cat", &input).unwrap(), input);
    }

    #[test]
    fn the_output_of_a_child_is_read_up_to_a_limit() {
        let limit = limits().output_bytes;
        let endless = run("yes", b"");
        assert_eq!(endless, Err(JobError::Output { limit }));
        let noisy = run("yes 2>/dev/null | head -c 9000000 >&2; printf done", b"");
        assert_eq!(noisy.unwrap(), b"done");
    }

    #[test]
    fn a_child_that_reads_nothing_or_never_ends_is_not_waited_for() {
        let limit = limits().time;
        let input = vec![0; 900_000];
        assert_eq!(run("sleep 60", &input), Err(JobError::Time { limit }));
        let closed = run("exec >&- 2>&-; sleep 60", &input);
        assert_eq!(closed, Err(JobError::Time { limit }));
        assert_eq!(run("exit 0", &input).unwrap(), b"");
    }

    #[test]
    fn a_missing_program_is_named() {
        let job = Job {
            name: "any",
            run: |_| Ok(Vec::new()),
        };
        let error = Sandbox::program("/nowhere").run(job, b"", &limits());
        assert!(
            matches!(&error, Err(JobError::NotStarted(text)) if text.contains("/nowhere")),
            "{error:?}"
        );
    }
}
