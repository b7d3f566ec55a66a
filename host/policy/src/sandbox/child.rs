//! A child process: writes its input, reads its output and its standard error up to a
//! limit, and waits for its end until a deadline, all in the caller's thread.

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most that is kept of the standard error of a child.
const STDERR_BYTES: usize = 4096;

/// The size of one read from a pipe; the usual capacity of a pipe on Linux.
const CHUNK_BYTES: usize = 64 << 10;

/// The interval of polling for the end of a child that has closed its output.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A child that is killed and waited for on drop.
pub(super) struct ChildProcess(Child);

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Does nothing to a child that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a child ended.
pub(super) enum ChildOutcome {
    /// It exited or was killed by a signal.
    Exited(ExitStatus),
    /// It was still running at the deadline.
    DeadlineExceeded,
    /// It wrote more than the limit.
    OutputTooLarge,
}

/// How a child ended, and what it wrote.
pub(super) struct Finished {
    pub(super) outcome: ChildOutcome,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl ChildProcess {
    /// Takes over a child whose standard streams are pipes.
    pub(super) fn new(child: Child) -> Self {
        ChildProcess(child)
    }

    /// Writes the input and reads the output, until `deadline` at the latest.
    pub(super) fn communicate(
        &mut self,
        input: &[u8],
        output_limit: usize,
        deadline: Instant,
    ) -> std::io::Result<Finished> {
        let mut stdin = self.0.stdin.take();
        let mut stdout = self.0.stdout.take();
        let mut stderr = self.0.stderr.take();
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let mut rest = input;
        let mut output = LimitedBuffer::new(output_limit);
        let mut errors = LimitedBuffer::new(STDERR_BYTES);
        let mut chunk = vec![0; CHUNK_BYTES];
        let outcome = loop {
            if stdin.is_none() && stdout.is_none() && stderr.is_none() {
                break self.wait(deadline)?;
            }
            let pipes = [
                stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
                stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            ];
            let Some([stdin_ready, stdout_ready, stderr_ready]) = poll_pipes(pipes, deadline)?
            else {
                break ChildOutcome::DeadlineExceeded;
            };
            if stdin_ready && !write_some(stdin.as_mut(), &mut rest) {
                stdin = None;
            }
            if stdout_ready && !output.read_some(stdout.as_mut(), &mut chunk)? {
                stdout = None;
            }
            if stderr_ready && !errors.read_some(stderr.as_mut(), &mut chunk)? {
                stderr = None;
            }
            if output.is_truncated {
                break ChildOutcome::OutputTooLarge;
            }
        };
        Ok(Finished {
            outcome,
            stdout: output.bytes,
            stderr: errors.bytes,
        })
    }

    fn wait(&mut self, deadline: Instant) -> std::io::Result<ChildOutcome> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(ChildOutcome::Exited(status));
            }
            if Instant::now() >= deadline {
                return Ok(ChildOutcome::DeadlineExceeded);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Waits until a pipe is ready, and returns which are; `None` after `deadline`.
fn poll_pipes(
    pipes: [Option<(BorrowedFd<'_>, PollFlags)>; 3],
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
    let mut is_ready = polled.iter().map(|pipe| !pipe.revents().is_empty());
    Ok(Some(pipes.map(|pipe| {
        pipe.is_some() && is_ready.next().unwrap_or_default()
    })))
}

/// Writes as much as the pipe takes; returns whether there is more to write.
fn write_some(stdin: Option<&mut ChildStdin>, rest: &mut &[u8]) -> bool {
    let Some(stdin) = stdin else { return false };
    match stdin.write(rest) {
        Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // A child that ends before it has read everything reports why.
        Err(_) => return false,
    }
    !rest.is_empty()
}

/// The bytes read from a pipe, up to a limit.
struct LimitedBuffer {
    bytes: Vec<u8>,
    limit: usize,
    /// Whether bytes beyond the limit were dropped.
    is_truncated: bool,
}

impl LimitedBuffer {
    fn new(limit: usize) -> Self {
        LimitedBuffer {
            bytes: Vec::new(),
            limit,
            is_truncated: false,
        }
    }

    /// Reads once; returns whether there may be more.
    fn read_some(
        &mut self,
        pipe: Option<&mut impl Read>,
        chunk: &mut [u8],
    ) -> std::io::Result<bool> {
        let Some(pipe) = pipe else { return Ok(false) };
        let read = match pipe.read(chunk) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        let free = self.limit.saturating_sub(self.bytes.len());
        self.is_truncated |= read > free;
        self.bytes
            .extend_from_slice(chunk.get(..read.min(free)).unwrap_or_default());
        Ok(true)
    }
}
