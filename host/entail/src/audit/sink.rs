//! The secondary sink of the decision log, and writing with a deadline to files that may
//! block.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How long recording a decision may take, in all sinks together.
const WITHIN: Duration = Duration::from_millis(1_500);

/// Bytes that a pipe takes atomically, and has room for when `poll` reports it writable
/// (`PIPE_BUF` on Linux).
const PIPE_BYTES: usize = 4096;

/// The socket of the system log.
const SYSLOG: &str = "/dev/log";

/// Facility 10 (security), severity 6 (information), as RFC 3164 counts them.
const SYSLOG_PRIORITY: u8 = 10 * 8 + 6;

/// The secondary sink.
#[derive(Debug)]
pub(super) enum Sink {
    /// A regular file.
    File(File),
    /// A named pipe, or a device.
    Special(File),
    Stdout,
    Syslog(UnixDatagram),
}

impl Sink {
    /// Connects to the system log.
    pub(super) fn syslog() -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SYSLOG)?;
        Ok(Sink::Syslog(socket))
    }

    /// Writes a line, which ends with its newline, before `end`.
    pub(super) fn write(&self, line: &[u8], end: Instant) -> std::io::Result<()> {
        match self {
            Sink::File(file) => write_line(file, line),
            Sink::Special(file) => write_until(&mut &*file, line, end),
            Sink::Stdout => write_until(&mut std::io::stdout(), line, end),
            Sink::Syslog(socket) => {
                // A timeout of zero is an error.
                let left = end.saturating_duration_since(Instant::now());
                socket.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
                let mut message = format!("<{SYSLOG_PRIORITY}>entail: ").into_bytes();
                message.extend_from_slice(line.trim_ascii_end());
                socket.send(&message).map(drop)
            }
        }
    }
}

/// The deadline for a record that is written now.
pub(super) fn deadline() -> Instant {
    Instant::now() + WITHIN
}

/// Opens a log for appending, and creates it (mode 0600) if needed. A named pipe is opened
/// for writing only, so it must have a reader.
pub(super) fn open(file: &Path) -> std::io::Result<File> {
    let is_pipe = std::fs::metadata(file).is_ok_and(|metadata| metadata.file_type().is_fifo());
    File::options()
        .append(true)
        .read(!is_pipe)
        .create(!is_pipe)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(file)
}

/// Writes a line to a regular file with one system call.
pub(super) fn write_line(mut file: &File, line: &[u8]) -> std::io::Result<()> {
    let written = file.write(line)?;
    if written == line.len() {
        return Ok(());
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::WriteZero,
        "only a part of the line could be written",
    ))
}

/// Writes a line to a file that may block; fails at the deadline.
pub(super) fn write_until(
    to: &mut (impl Write + AsFd),
    line: &[u8],
    end: Instant,
) -> std::io::Result<()> {
    let mut rest = line;
    while !rest.is_empty() {
        wait_writable(to.as_fd(), end)?;
        let piece = rest.get(..PIPE_BYTES).unwrap_or(rest);
        match to.write(piece).and_then(|written| {
            to.flush()?;
            Ok(written)
        }) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) && Instant::now() < end => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(to: BorrowedFd<'_>, end: Instant) -> std::io::Result<()> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        let mut waiting = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
        match poll(&mut waiting, Some(&left)) {
            Ok(0) => {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "there is no reader",
                ));
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
