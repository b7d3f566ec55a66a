//! Input files, opened and read within a limit of bytes and of time.
//!
//! # Security
//!
//! A path can lead to anything: a sparse file of a terabyte, a link to `/dev/zero`, a named
//! pipe without a writer. Therefore:
//!
//! - The byte limit applies to the bytes read, not to the size in the metadata, and memory
//!   is allocated only as bytes arrive.
//! - A file that the program found itself ([`InputFile::open_regular`]: files of a home, of
//!   a directory of vectors, of an image layout) must be a regular file or a link to one.
//!   Anything else is refused before it is opened.
//! - A file that a user named ([`InputFile::open_given`]) may also be a pipe or a terminal,
//!   so that `--settings <(command)` and `/dev/stdin` work. Reading it fails after
//!   [`INPUT_TIMEOUT`].
//! - Opening never waits.
//!
//! Not covered: a file system that does not respond (a hung network mount) blocks the
//! caller in the kernel.

use std::fs::{File, FileType, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How long a pipe or a terminal may take to deliver everything. A password manager behind
/// `<(…)` may prompt its user first; a minute is enough for that.
pub const INPUT_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The system reports an error.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The file is a pipe, a device, a directory or a socket.
    #[error("it is {found}, not a regular file")]
    NotRegular {
        /// The file type, in words.
        found: &'static str,
    },
    /// The file is a directory, a socket or a block device.
    #[error("it is {found}, not a file or a pipe")]
    NotReadable {
        /// The file type, in words.
        found: &'static str,
    },
    /// The file is larger than the limit.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file did not end in time.
    #[error("it did not end within {} seconds", .timeout.as_secs())]
    TimedOut {
        /// The timeout.
        timeout: Duration,
    },
}

impl From<InputError> for std::io::Error {
    fn from(error: InputError) -> Self {
        let kind = match error {
            InputError::System(error) => return error,
            InputError::NotRegular { .. } | InputError::NotReadable { .. } => {
                std::io::ErrorKind::InvalidInput
            }
            InputError::TooLarge { .. } => std::io::ErrorKind::FileTooLarge,
            InputError::TimedOut { .. } => std::io::ErrorKind::TimedOut,
        };
        std::io::Error::new(kind, error)
    }
}

/// What a pipe or a terminal must do within [`INPUT_TIMEOUT`].
#[derive(Clone, Copy, Debug)]
enum Deadline {
    /// Deliver everything.
    Everything,
    /// Deliver the next piece.
    EachPiece,
}

/// A file that is open for reading with a timeout.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    is_regular: bool,
    deadline: Deadline,
    timeout: Duration,
    started: Instant,
}

impl InputFile {
    /// Opens a file that the program found itself: a regular file or a link to one.
    ///
    /// # Errors
    ///
    /// [`InputError::NotRegular`], [`InputError::System`].
    pub fn open_regular(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::metadata(path)?;
        Self::open(path, &found, OFlags::empty(), check_regular)
    }

    /// Like [`open_regular`](Self::open_regular), but the file itself must not be a link. A
    /// parent directory may be one.
    ///
    /// # Errors
    ///
    /// [`InputError::NotRegular`], [`InputError::System`].
    pub fn open_regular_no_link(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::symlink_metadata(path)?;
        Self::open(path, &found, OFlags::NOFOLLOW, check_regular)
    }

    /// Opens a file that a user named. It may be a pipe or a terminal, which must end within
    /// [`INPUT_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`InputError::NotReadable`], [`InputError::System`].
    pub fn open_given(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::metadata(path)?;
        Self::open(path, &found, OFlags::empty(), check_readable)
    }

    /// Like [`open_given`](Self::open_given), for streams that are read in pieces: a pipe has
    /// [`INPUT_TIMEOUT`] for each piece.
    ///
    /// # Errors
    ///
    /// The same as [`InputFile::open_given`].
    pub fn open_stream(path: &Path) -> Result<Self, InputError> {
        let mut opened = Self::open_given(path)?;
        opened.deadline = Deadline::EachPiece;
        Ok(opened)
    }

    /// Reads from a descriptor that this process inherited, with the timeout.
    ///
    /// # Errors
    ///
    /// [`InputError::NotReadable`], [`InputError::System`].
    pub fn inherited(file: File) -> Result<Self, InputError> {
        let kind = file.metadata()?.file_type();
        // A socket cannot be opened by path, but it can be inherited.
        if !kind.is_socket() {
            check_readable(kind)?;
        }
        Ok(Self::new(file, kind))
    }

    fn open(
        path: &Path,
        found: &Metadata,
        flags: OFlags,
        check: fn(FileType) -> Result<(), InputError>,
    ) -> Result<Self, InputError> {
        // Opening a device can have side effects, such as rewinding a tape.
        check(found.file_type())?;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        // Another file may have the name now.
        let kind = file.metadata()?.file_type();
        check(kind)?;
        Ok(Self::new(file, kind))
    }

    fn new(file: File, kind: FileType) -> Self {
        InputFile {
            file,
            is_regular: kind.is_file(),
            deadline: Deadline::Everything,
            timeout: INPUT_TIMEOUT,
            started: Instant::now(),
        }
    }

    /// The metadata of the open file.
    ///
    /// # Errors
    ///
    /// Any error of the system.
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.file.metadata()
    }

    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// [`InputError::TooLarge`] if there are more than `limit` bytes,
    /// [`InputError::TimedOut`], [`InputError::System`].
    pub fn read_to_limit(self, limit: usize) -> Result<Vec<u8>, InputError> {
        let more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        self.take(more).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(InputError::TooLarge { limit });
        }
        Ok(bytes)
    }

    fn timed_out(&self) -> std::io::Error {
        let timeout = self.timeout;
        InputError::TimedOut { timeout }.into()
    }

    /// Waits until bytes can be read or the other end is closed. Also waits for the first
    /// writer of a named pipe.
    fn wait(&self) -> std::io::Result<()> {
        loop {
            let left = self.timeout.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Err(self.timed_out());
            }
            let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
            let mut waiting = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut waiting, Some(&left)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if !self.is_regular {
                self.wait()?;
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // Another reader was faster. Files such as /proc/kmsg look regular but make readers
                // wait; those are not waited for.
                Err(error)
                    if error.kind() == std::io::ErrorKind::WouldBlock && !self.is_regular => {}
                Ok(count) => {
                    if matches!(self.deadline, Deadline::EachPiece) {
                        self.started = Instant::now();
                    }
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Fails if the file is not a regular file.
pub(crate) fn check_regular(kind: FileType) -> Result<(), InputError> {
    if kind.is_file() {
        return Ok(());
    }
    Err(InputError::NotRegular { found: name(kind) })
}

/// Fails if the file can neither be read to its end nor polled.
fn check_readable(kind: FileType) -> Result<(), InputError> {
    if kind.is_file() || kind.is_fifo() || kind.is_char_device() {
        return Ok(());
    }
    Err(InputError::NotReadable { found: name(kind) })
}

fn name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType as NodeType, Mode, mknodat};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    fn pipe(directory: &Path) -> std::path::PathBuf {
        let pipe = directory.join("pipe");
        mknodat(CWD, &pipe, NodeType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        pipe
    }

    #[test]
    fn the_limit_applies_to_the_bytes_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        let read = |limit| InputFile::open_regular(&file).unwrap().read_to_limit(limit);
        assert_eq!(read(5).unwrap(), b"12345");
        assert!(matches!(read(4), Err(InputError::TooLarge { limit: 4 })));
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(40 << 30)
            .unwrap();
        assert!(matches!(read(1 << 20), Err(InputError::TooLarge { .. })));
    }

    #[test]
    fn an_endless_device_is_read_up_to_the_limit_if_a_user_named_it() {
        let zero = Path::new("/dev/zero");
        let read = InputFile::open_given(zero).unwrap().read_to_limit(1 << 20);
        assert!(matches!(read, Err(InputError::TooLarge { .. })));
        let null = InputFile::open_given(Path::new("/dev/null")).unwrap();
        assert_eq!(null.read_to_limit(1).unwrap(), b"");
    }

    #[test]
    fn only_regular_files_are_opened_unless_a_user_named_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(directory.path());
        let link = directory.path().join("link");
        symlink("/dev/zero", &link).unwrap();
        for (path, expected) in [
            (&*pipe, "a named pipe"),
            (&link, "a device"),
            (directory.path(), "a directory"),
        ] {
            match InputFile::open_regular(path) {
                Err(InputError::NotRegular { found }) => assert_eq!(found, expected),
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        let file = directory.path().join("file");
        std::fs::write(&file, "text").unwrap();
        std::fs::remove_file(&link).unwrap();
        symlink(&file, &link).unwrap();
        let linked = InputFile::open_regular(&link).unwrap();
        assert_eq!(linked.read_to_limit(9).unwrap(), b"text");
        assert!(matches!(
            InputFile::open_regular_no_link(&link),
            Err(InputError::NotRegular { found: "a link" })
        ));
        assert!(InputFile::open_regular_no_link(&file).is_ok());
    }

    #[test]
    fn reading_a_pipe_without_a_writer_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(directory.path());
        for has_writer in [false, true] {
            let mut opened = InputFile::open_given(&pipe).unwrap();
            opened.timeout = SHORT;
            let writer = has_writer.then(|| File::options().write(true).open(&pipe).unwrap());
            let read = opened.read_to_limit(9);
            assert!(
                matches!(&read, Err(InputError::System(error))
                    if error.kind() == std::io::ErrorKind::TimedOut),
                "{read:?}"
            );
            drop(writer);
        }
    }

    #[test]
    fn reading_a_slow_pipe_times_out() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(directory.path());
        let mut opened = InputFile::open_given(&pipe).unwrap();
        opened.timeout = SHORT;
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        let trickling = std::thread::spawn(move || {
            while writer.write_all(b".").is_ok() {
                std::thread::sleep(SHORT / 20);
            }
        });
        let read = opened.read_to_limit(1 << 20);
        assert!(read.is_err_and(|error| error.to_string().contains("did not end within")));
        trickling.join().unwrap();
    }

    #[test]
    fn a_pipe_is_read_to_its_end_even_if_the_writer_is_late() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(directory.path());
        let opened = InputFile::open_given(&pipe).unwrap();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            let mut writer = File::options().write(true).open(&pipe).unwrap();
            writer.write_all(b"first, ").unwrap();
            std::thread::sleep(SHORT);
            writer.write_all(b"second").unwrap();
        });
        assert_eq!(opened.read_to_limit(99).unwrap(), b"first, second");
        writing.join().unwrap();
    }

    #[test]
    fn a_stream_has_the_timeout_for_each_piece() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(directory.path());
        let mut opened = InputFile::open_stream(&pipe).unwrap();
        opened.timeout = SHORT;
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        let writing = std::thread::spawn(move || {
            for _ in 0..5 {
                writer.write_all(b".").unwrap();
                std::thread::sleep(SHORT / 2);
            }
        });
        assert_eq!(opened.read_to_limit(99).unwrap(), b".....");
        writing.join().unwrap();
    }
}
