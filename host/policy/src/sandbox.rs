//! Processing foreign bytes in a child process.
//!
//! Neither deadlines nor memory limits apply to compiling, and a small component can take
//! very long to compile; the same holds for composing components, and for validating
//! settings against a schema. So such a [`Job`] runs in a child process, which the system
//! stops when it exceeds its [`Bounds`].
//!
//! The child is the same program, started with an argument that [`serve`](crate::serve)
//! recognizes.
//!
//! # Security
//!
//! The child gets its input by a pipe and an empty environment, cannot write files, and
//! runs at a low priority. Its output and its standard error are read up to a limit. The
//! parent needs no thread for it.

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};

use crate::failure::plain;
use crate::limits::Limits;

/// The first argument of a program that is started for a job.
pub(crate) const ARGUMENT: &str = "work-for-parent";

/// The exit code of a job that gives a reason in place of its output.
pub(crate) const EXIT_REFUSED: u8 = 3;

/// The most that is kept of the standard error of a child.
const STDERR_BYTES: usize = 4096;

/// The size of one read from a pipe; the usual capacity of a pipe on Linux.
const CHUNK_BYTES: usize = 64 << 10;

/// The interval of polling for the end of a child that has closed its output.
const PAUSE: Duration = Duration::from_millis(1);

/// A child may take this many times its processor time by the clock, on a busy machine.
const SLOWER: u32 = 4;

/// How an error of the compiler names a failed mapping of memory (ENOMEM).
const NO_MEMORY: &str = "os error 12";

/// What the Rust runtime prints before it aborts for a failed allocation.
const NO_ALLOCATION: &str = "memory allocation";

/// The signal for a process that exceeds its processor time.
const SIGXCPU: i32 = 24;
/// The signal by which the Rust runtime aborts.
const SIGABRT: i32 = 6;

/// With less memory than this, a child may fail to start in any way.
const TO_BEGIN_BYTES: u64 = 128 << 20;

/// A function that runs in a child: bytes in, bytes out.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Its name in the arguments of the child.
    pub name: &'static str,
    /// The function. Its error is a reason, returned as [`JobError::Refused`].
    pub run: fn(&[u8]) -> Result<Vec<u8>, String>,
}

/// What a child may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of address space, the program itself included.
    pub memory_bytes: u64,
    /// Processor time. It may take four times as long by the clock.
    pub time: Duration,
    /// Bytes of output.
    pub output_bytes: usize,
}

impl Bounds {
    /// The limits for compiling, applied to a job that processes a whole component and
    /// returns at most `output_bytes`.
    pub fn of(limits: &Limits, output_bytes: usize) -> Self {
        Bounds {
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
    /// It needs more memory than it was given.
    #[error("it takes more than {limit} bytes of memory")]
    Memory {
        /// How many it was given.
        limit: u64,
    },
    /// It needs more memory than the system gives this process and its children.
    #[error(
        "it takes more than the {limit} bytes of address space that a process is given here (ulimit -v)"
    )]
    AddressSpace {
        /// How many they are.
        limit: u64,
    },
    /// It takes longer than it may.
    #[error("it takes longer than {} ms", .limit.as_millis())]
    Time {
        /// How long it may take.
        limit: Duration,
    },
    /// Its output is too long.
    #[error("its result has more than {limit} bytes")]
    Output {
        /// How many it may have.
        limit: usize,
    },
    /// The child ended in another way.
    #[error("the process for it crashed: {0}")]
    Crashed(String),
    /// The job itself returned an error.
    #[error("{0}")]
    Refused(String),
}

/// Where foreign components are compiled and composed, and their settings validated.
#[derive(Clone, Debug, Default)]
pub enum Compile {
    /// Nowhere: foreign components are rejected. What the program itself carries
    /// ([`Engine::admit_own`](crate::Engine::admit_own)) is not foreign.
    #[default]
    Nowhere,
    /// In a child process, under limits.
    InSandbox(Sandbox),
    /// In this process. Nothing limits the time and the memory of compiling: a component of
    /// a few kilobytes can take all memory, or never end, and a fault of the compiler is a
    /// fault of this process. For components that are trusted as much as the program.
    UnsafeInThisProcess,
}

impl Compile {
    /// The sandbox; `None` is this process.
    pub(crate) fn place(&self) -> Result<Option<&Sandbox>, NotCompiled> {
        match self {
            Compile::Nowhere => Err(NotCompiled),
            Compile::InSandbox(sandbox) => Ok(Some(sandbox)),
            Compile::UnsafeInThisProcess => Ok(None),
        }
    }
}

/// An engine was not told where it may compile foreign components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this program compiles no foreign components: it is set up with no sandbox for them (entail_policy::Compile)"
)]
pub struct NotCompiled;

/// The program that runs jobs in a child process.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// `None` is this program.
    program: Option<PathBuf>,
}

impl Sandbox {
    /// This program. Its `main` must call [`serve`] before anything else, and its
    /// allocator must not reserve address space far ahead, which the memory limit counts:
    /// a program with such an allocator (mimalloc, say) names another program by
    /// [`Sandbox::program`].
    ///
    /// On Linux its file is found by `/proc`. Without `/proc`, a job fails with
    /// [`JobError::NotStarted`].
    ///
    /// [`serve`]: crate::serve
    pub fn this_program() -> Self {
        Sandbox { program: None }
    }

    /// A program that calls [`serve`].
    ///
    /// [`serve`]: crate::serve
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
    pub fn run(&self, job: Job, input: &[u8], bounds: &Bounds) -> Result<Vec<u8>, JobError> {
        let memory = Memory::of(bounds);
        let mut running = self.start(job.name, memory.bytes, bounds)?;
        let end = Instant::now() + bounds.time * SLOWER;
        let exchange = running
            .exchange(input, bounds.output_bytes, end)
            .map_err(|error| JobError::NotStarted(format!("the process for it: {error}")))?;
        match exchange.end {
            End::Overtime => Err(JobError::Time { limit: bounds.time }),
            End::TooMuchOutput => Err(JobError::Output {
                limit: bounds.output_bytes,
            }),
            End::Exit(status) if status.success() => Ok(exchange.stdout),
            End::Exit(status) => Err(classify(status, &exchange, memory, bounds)),
        }
    }

    fn start(&self, job: &str, memory: u64, bounds: &Bounds) -> Result<Running, JobError> {
        let program = self.file()?;
        let child = Command::new(&program)
            .arg(ARGUMENT)
            .arg(job)
            .arg(memory.to_string())
            .arg(bounds.time.as_millis().div_ceil(1000).to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Ok(Running(child)),
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

/// The memory of a child.
#[derive(Clone, Copy)]
struct Memory {
    bytes: u64,
    /// Whether the limit of this process is lower than what was asked for.
    is_capped: bool,
}

impl Memory {
    fn of(bounds: &Bounds) -> Self {
        match getrlimit(Resource::As).current {
            Some(own) if own < bounds.memory_bytes => Memory {
                bytes: own,
                is_capped: true,
            },
            _ => Memory {
                bytes: bounds.memory_bytes,
                is_capped: false,
            },
        }
    }
}

/// A child that is killed and waited for on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing to a child that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a child wrote, and how it ended.
struct Exchange {
    end: End,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

enum End {
    Exit(ExitStatus),
    Overtime,
    TooMuchOutput,
}

impl Running {
    /// Writes the input and reads the output, until `deadline` at the latest.
    fn exchange(
        &mut self,
        input: &[u8],
        limit: usize,
        deadline: Instant,
    ) -> std::io::Result<Exchange> {
        let mut stdin = self.0.stdin.take();
        let mut stdout = self.0.stdout.take();
        let mut stderr = self.0.stderr.take();
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let mut rest = input;
        let mut output = Incoming::new(limit);
        let mut errors = Incoming::new(STDERR_BYTES);
        let mut chunk = vec![0; CHUNK_BYTES];
        while stdin.is_some() || stdout.is_some() || stderr.is_some() {
            let Some(ready) = wait_for(
                [
                    stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
                    stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                    stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                ],
                deadline,
            )?
            else {
                return Ok(Exchange::new(End::Overtime, output, errors));
            };
            let [stdin_ready, stdout_ready, stderr_ready] = ready;
            if stdin_ready && !feed(stdin.as_mut(), &mut rest) {
                stdin = None;
            }
            if stdout_ready && !output.read(stdout.as_mut(), &mut chunk)? {
                stdout = None;
            }
            if stderr_ready && !errors.read(stderr.as_mut(), &mut chunk)? {
                stderr = None;
            }
            if output.has_more {
                return Ok(Exchange::new(End::TooMuchOutput, output, errors));
            }
        }
        let end = self.wait(deadline)?;
        Ok(Exchange::new(end, output, errors))
    }

    fn wait(&mut self, deadline: Instant) -> std::io::Result<End> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(End::Exit(status));
            }
            if Instant::now() >= deadline {
                return Ok(End::Overtime);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Exchange {
    fn new(end: End, output: Incoming, errors: Incoming) -> Self {
        Exchange {
            end,
            stdout: output.kept,
            stderr: errors.kept,
        }
    }
}

/// Which of the pipes are ready; `None` after `deadline`.
fn wait_for(
    pipes: [Option<(std::os::fd::BorrowedFd<'_>, PollFlags)>; 3],
    deadline: Instant,
) -> std::io::Result<Option<[bool; 3]>> {
    let mut polled: Vec<PollFd<'_>> = pipes
        .iter()
        .flatten()
        .map(|(pipe, events)| PollFd::from_borrowed_fd(*pipe, *events))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut happened = polled.iter().map(|pipe| !pipe.revents().is_empty());
    Ok(Some(pipes.map(|pipe| {
        pipe.is_some() && happened.next().unwrap_or_default()
    })))
}

/// Writes as much as the pipe takes; returns whether there is more to write.
fn feed(stdin: Option<&mut ChildStdin>, rest: &mut &[u8]) -> bool {
    let Some(stdin) = stdin else { return false };
    match stdin.write(rest) {
        Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // A child that ends before it has read all reports why.
        Err(_) => return false,
    }
    !rest.is_empty()
}

/// What was read from a pipe, up to a limit.
struct Incoming {
    kept: Vec<u8>,
    limit: usize,
    has_more: bool,
}

impl Incoming {
    fn new(limit: usize) -> Self {
        Incoming {
            kept: Vec::new(),
            limit,
            has_more: false,
        }
    }

    /// Reads what is there; returns whether there may be more.
    fn read(&mut self, pipe: Option<&mut impl Read>, chunk: &mut [u8]) -> std::io::Result<bool> {
        let Some(pipe) = pipe else { return Ok(false) };
        let read = match pipe.read(chunk) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        let room = self.limit.saturating_sub(self.kept.len());
        self.has_more |= read > room;
        self.kept
            .extend_from_slice(chunk.get(..read.min(room)).unwrap_or_default());
        Ok(true)
    }
}

/// What the exit status of a child means.
fn classify(status: ExitStatus, exchange: &Exchange, memory: Memory, bounds: &Bounds) -> JobError {
    use std::os::unix::process::ExitStatusExt as _;

    let too_much_memory = || match memory.is_capped {
        true => JobError::AddressSpace {
            limit: memory.bytes,
        },
        false => JobError::Memory {
            limit: memory.bytes,
        },
    };
    if status.code() == Some(EXIT_REFUSED.into()) {
        let reason = String::from_utf8_lossy(&exchange.stdout);
        return match reason.contains(NO_MEMORY) {
            true => too_much_memory(),
            false => JobError::Refused(reason.into_owned()),
        };
    }
    let stderr = String::from_utf8_lossy(&exchange.stderr);
    match status.signal() {
        Some(SIGXCPU) => JobError::Time { limit: bounds.time },
        Some(SIGABRT) if stderr.contains(NO_ALLOCATION) => too_much_memory(),
        _ if memory.bytes < TO_BEGIN_BYTES => too_much_memory(),
        _ => JobError::Crashed(plain(&format!("{status}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            memory_bytes: 1 << 30,
            time: Duration::from_millis(250),
            output_bytes: 1 << 20,
        }
    }

    /// Runs a shell script in place of a worker.
    fn run(script: &str, input: &[u8]) -> Result<Vec<u8>, JobError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&file, mode).unwrap();
        let job = Job {
            name: "any",
            run: |_| Ok(Vec::new()),
        };
        Sandbox::program(file).run(job, input, &bounds())
    }

    #[test]
    fn a_child_that_writes_while_it_reads_does_not_block() {
        let input = vec![b'x'; 900_000];
        assert_eq!(run("cat", &input).unwrap(), input);
    }

    #[test]
    fn the_output_of_a_child_is_read_up_to_a_limit() {
        let limit = bounds().output_bytes;
        let endless = run("yes", b"");
        assert_eq!(endless, Err(JobError::Output { limit }));
        let noisy = run("yes 2>/dev/null | head -c 9000000 >&2; printf done", b"");
        assert_eq!(noisy.unwrap(), b"done");
    }

    #[test]
    fn a_child_that_reads_nothing_or_never_ends_is_not_waited_for() {
        let limit = bounds().time;
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
        let error = Sandbox::program("/nowhere").run(job, b"", &bounds());
        assert!(
            matches!(&error, Err(JobError::NotStarted(text)) if text.contains("/nowhere")),
            "{error:?}"
        );
    }
}
