//! Work on foreign bytes in a process of its own.
//!
//! Neither deadlines nor limits of memory apply to compiling, and a small component can
//! be made that takes very long; the same holds for joining components, and for holding
//! settings against a schema. So a [`Job`] like that is done by a child process, which
//! the system stops when it takes more than its [`Bounds`].
//!
//! The child is the same program, started with an argument that [`serve`] knows.
//!
//! # Security
//!
//! The child gets its input by a pipe, no environment, and may write no file; it gives
//! way to all other processes. Its output and what it complains of are read up to a
//! limit. The parent starts no thread for it, so none can be missing.

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

/// The most that is kept of what a child complains of.
const COMPLAINT_BYTES: usize = 4096;

/// What is read from a pipe at once; the usual size of one on Linux.
const CHUNK_BYTES: usize = 64 << 10;

/// Between two looks whether a child that has said all has ended.
const PAUSE: Duration = Duration::from_millis(1);

/// How much longer than its processor time a child may take on a busy machine.
const SLOWER: u32 = 4;

/// The system's words for memory that it did not give, in an error of the compiler's.
const NO_MEMORY: &str = "os error 12";

/// The runtime's words for an allocation that failed, before it aborts.
const NO_ALLOCATION: &str = "memory allocation";

/// The signal by which the system ends a process that used up its time.
const SIGXCPU: i32 = 24;
/// The one by which a process ends itself when it gets no memory.
const SIGABRT: i32 = 6;

/// With less memory, a child may not even begin, and end in any way.
const TO_BEGIN_BYTES: u64 = 128 << 20;

/// Something that a child does: bytes in, bytes out.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Names it among the arguments of the child.
    pub name: &'static str,
    /// Does it. The error is a reason, which comes back as [`JobError::Refused`].
    pub run: fn(&[u8]) -> Result<Vec<u8>, String>,
}

/// What a child may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of address space, the program itself included.
    pub memory_bytes: u64,
    /// Processor time. It may take four times as long by the clock.
    pub time: Duration,
    /// Bytes that may come back.
    pub output_bytes: usize,
}

impl Bounds {
    /// What compiling may use up under `limits`, for what else is done to a whole
    /// component; so many bytes may come of it.
    pub fn of(limits: &Limits, output_bytes: usize) -> Self {
        Bounds {
            memory_bytes: limits.compile_memory_bytes,
            time: limits.compile_time,
            output_bytes,
        }
    }
}

/// Why a child did not do its job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is no child.
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
    /// More comes of it than may come back.
    #[error("more than {limit} bytes come of it")]
    Output {
        /// How many may.
        limit: usize,
    },
    /// It ended in some other way.
    #[error("the process for it did not survive: {0}")]
    Crashed(String),
    /// It is about something that cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// The program that does the jobs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// None is this very program.
    program: Option<PathBuf>,
}

impl Sandbox {
    /// This very program. Its `main` has to call [`serve`] before anything else, and its
    /// allocator must not reserve address space far ahead, which the limit of memory
    /// counts: a program with one that does (mimalloc, say) names another by
    /// [`Sandbox::program`].
    ///
    /// On Linux the system tells by `/proc` which program that is. Without it, whatever
    /// needs a child fails, and says so.
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

    /// Has a child do a job, and waits for it.
    ///
    /// # Errors
    ///
    /// [`JobError`].
    pub fn run(&self, job: Job, input: &[u8], bounds: &Bounds) -> Result<Vec<u8>, JobError> {
        let memory = Memory::of(bounds);
        let mut running = self.start(job.name, memory.bytes, bounds)?;
        let end = Instant::now() + bounds.time * SLOWER;
        let said = running
            .converse(input, bounds.output_bytes, end)
            .map_err(|error| JobError::NotStarted(format!("the process for it: {error}")))?;
        match said.ended {
            Ended::Overtime => Err(JobError::Time { limit: bounds.time }),
            Ended::TooMuchOutput => Err(JobError::Output {
                limit: bounds.output_bytes,
            }),
            Ended::By(status) if status.success() => Ok(said.output),
            Ended::By(status) => Err(why(status, &said, memory, bounds)),
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
                "{} could not be started to look at foreign code: {error}",
                program.display()
            ))),
        }
    }

    fn file(&self) -> Result<PathBuf, JobError> {
        if let Some(program) = &self.program {
            return Ok(program.clone());
        }
        // On Linux a name for it that holds also when its file was replaced.
        let own = Path::new("/proc/self/exe");
        if own.exists() {
            return Ok(own.to_owned());
        }
        std::env::current_exe().map_err(|error| {
            JobError::NotStarted(format!(
                "foreign code is looked at by a process of its own, and the file of this program is not known ({error}); mount /proc"
            ))
        })
    }
}

/// The memory of a child.
#[derive(Clone, Copy)]
struct Memory {
    bytes: u64,
    /// Whether that is less than was asked for, since this process has no more itself.
    is_cut: bool,
}

impl Memory {
    fn of(bounds: &Bounds) -> Self {
        match getrlimit(Resource::As).current {
            Some(own) if own < bounds.memory_bytes => Memory {
                bytes: own,
                is_cut: true,
            },
            _ => Memory {
                bytes: bounds.memory_bytes,
                is_cut: false,
            },
        }
    }
}

/// A child that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself is not there any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What came of a child.
struct Said {
    ended: Ended,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

enum Ended {
    By(ExitStatus),
    Overtime,
    TooMuchOutput,
}

impl Running {
    /// Gives a child its input and hears it out, until `end` at the latest.
    fn converse(&mut self, input: &[u8], limit: usize, end: Instant) -> std::io::Result<Said> {
        let mut stdin = self.0.stdin.take();
        let mut stdout = self.0.stdout.take();
        let mut stderr = self.0.stderr.take();
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let mut rest = input;
        let mut output = Incoming::new(limit);
        let mut complaint = Incoming::new(COMPLAINT_BYTES);
        let mut chunk = vec![0; CHUNK_BYTES];
        while stdin.is_some() || stdout.is_some() || stderr.is_some() {
            let Some(ready) = wait_for(
                [
                    stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
                    stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                    stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                ],
                end,
            )?
            else {
                return Ok(Said::of(Ended::Overtime, output, complaint));
            };
            let [writable, readable, complaining] = ready;
            if writable && !feed(stdin.as_mut(), &mut rest) {
                stdin = None;
            }
            if readable && !output.take(stdout.as_mut(), &mut chunk)? {
                stdout = None;
            }
            if complaining && !complaint.take(stderr.as_mut(), &mut chunk)? {
                stderr = None;
            }
            if output.has_more {
                return Ok(Said::of(Ended::TooMuchOutput, output, complaint));
            }
        }
        let ended = self.wait(end)?;
        Ok(Said::of(ended, output, complaint))
    }

    fn wait(&mut self, end: Instant) -> std::io::Result<Ended> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Ended::By(status));
            }
            if Instant::now() >= end {
                return Ok(Ended::Overtime);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Said {
    fn of(ended: Ended, output: Incoming, complaint: Incoming) -> Self {
        Said {
            ended,
            output: output.kept,
            complaint: complaint.kept,
        }
    }
}

/// Which of three pipes are ready; none when it is too late.
fn wait_for(
    pipes: [Option<(std::os::fd::BorrowedFd<'_>, PollFlags)>; 3],
    end: Instant,
) -> std::io::Result<Option<[bool; 3]>> {
    let mut polled: Vec<PollFd<'_>> = pipes
        .iter()
        .flatten()
        .map(|(pipe, events)| PollFd::from_borrowed_fd(*pipe, *events))
        .collect();
    loop {
        let left = end.saturating_duration_since(Instant::now());
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

/// Writes what the child takes; whether there is more to write.
fn feed(stdin: Option<&mut ChildStdin>, rest: &mut &[u8]) -> bool {
    let Some(stdin) = stdin else { return false };
    match stdin.write(rest) {
        Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // One that ends before it has read all has a reason, which it tells.
        Err(_) => return false,
    }
    !rest.is_empty()
}

/// What comes by a pipe, up to a limit.
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

    /// Reads what is there; whether there may be more.
    fn take(&mut self, pipe: Option<&mut impl Read>, chunk: &mut [u8]) -> std::io::Result<bool> {
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

/// What the end of a child says of its job.
fn why(status: ExitStatus, said: &Said, memory: Memory, bounds: &Bounds) -> JobError {
    use std::os::unix::process::ExitStatusExt as _;

    let too_much_memory = || match memory.is_cut {
        true => JobError::AddressSpace {
            limit: memory.bytes,
        },
        false => JobError::Memory {
            limit: memory.bytes,
        },
    };
    if status.code() == Some(EXIT_REFUSED.into()) {
        let reason = String::from_utf8_lossy(&said.output);
        return match reason.contains(NO_MEMORY) {
            true => too_much_memory(),
            false => JobError::Refused(reason.into_owned()),
        };
    }
    let complaint = String::from_utf8_lossy(&said.complaint);
    match status.signal() {
        Some(SIGXCPU) => JobError::Time { limit: bounds.time },
        Some(SIGABRT) if complaint.contains(NO_ALLOCATION) => too_much_memory(),
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

    /// A program that is no worker, run as if it were one.
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
    fn a_child_that_talks_while_it_reads_does_not_block() {
        let input = vec![b'x'; 900_000];
        assert_eq!(run("cat", &input).unwrap(), input);
    }

    #[test]
    fn a_child_is_heard_up_to_a_limit_however_much_it_says() {
        let limit = bounds().output_bytes;
        let talks = run("yes", b"");
        assert_eq!(talks, Err(JobError::Output { limit }));
        let complains = run("yes 2>/dev/null | head -c 9000000 >&2; printf done", b"");
        assert_eq!(complains.unwrap(), b"done");
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
    fn a_program_that_is_not_there_is_named() {
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
