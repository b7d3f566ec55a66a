//! Files from outside, opened and read within a limit of bytes and of time.
//!
//! # Security
//!
//! A name may lead to anything: a sparse file of a terabyte, a link to `/dev/zero`, a
//! named pipe to which nobody writes. So:
//!
//! - The limit of bytes counts what is read, never what the metadata says, and no more
//!   memory is allocated than has been read.
//! - A file that the program found by itself ([`InputFile::open_regular`]: files of a
//!   home, of a directory of vectors, of an image layout) must be a regular file, or lead
//!   to one by links. Anything else is refused before it is opened.
//! - A file that a person named ([`InputFile::open_given`]) may also be a pipe or a
//!   terminal, since `--settings <(command)` and `/dev/stdin` are that. It is waited for,
//!   but for [`WITHIN`] at most.
//! - Opening never waits.
//!
//! Not covered: a file system that does not answer (a hung network mount) keeps whoever
//! asks waiting, in the kernel.

use std::fs::{File, FileType, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How long a pipe or a terminal may take to hand over everything. A password manager
/// behind `<(…)` may first ask its owner; a minute is enough to answer.
pub const WITHIN: Duration = Duration::from_mins(1);

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The system refuses.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// It is a pipe, a device, a directory or a socket.
    #[error("it is {found}, and only a regular file is read here")]
    NotRegular {
        /// What it is, in words.
        found: &'static str,
    },
    /// It is a directory, a socket or a block device.
    #[error("it is {found}; give a file, or a pipe")]
    NotReadable {
        /// What it is, in words.
        found: &'static str,
    },
    /// It has more bytes than are read.
    #[error("it has more than {limit} bytes, and no more are read")]
    TooLarge {
        /// How many are read.
        limit: usize,
    },
    /// Nobody wrote, or not all of it, in time.
    #[error("nothing more came from it within {} seconds", .within.as_secs())]
    TimedOut {
        /// How long it was waited for.
        within: Duration,
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

/// What a pipe or a terminal has to do within [`WITHIN`].
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Come to its end.
    Whole,
    /// Hand over the next piece.
    EachPiece,
}

/// A file that is open for reading, within a limit of time.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    is_regular: bool,
    pace: Pace,
    within: Duration,
    started: Instant,
}

impl InputFile {
    /// Opens a file that the program found by itself: a regular one, or a link to one.
    ///
    /// # Errors
    ///
    /// [`InputError::NotRegular`], [`InputError::System`].
    pub fn open_regular(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::metadata(path)?;
        Self::open(path, &found, OFlags::empty(), check_regular)
    }

    /// The same, but the file itself must not be a link. (A directory above may be.)
    ///
    /// # Errors
    ///
    /// [`InputError::NotRegular`], [`InputError::System`].
    pub fn open_regular_no_link(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::symlink_metadata(path)?;
        Self::open(path, &found, OFlags::NOFOLLOW, check_regular)
    }

    /// Opens a file that a person named: also a pipe or a terminal, which have to come to
    /// their end within [`WITHIN`].
    ///
    /// # Errors
    ///
    /// [`InputError::NotReadable`], [`InputError::System`].
    pub fn open_given(path: &Path) -> Result<Self, InputError> {
        let found = std::fs::metadata(path)?;
        Self::open(path, &found, OFlags::empty(), check_readable)
    }

    /// The same for what may go on for long and is read a piece at a time: a pipe has
    /// [`WITHIN`] for each piece.
    ///
    /// # Errors
    ///
    /// As [`InputFile::open_given`].
    pub fn open_stream(path: &Path) -> Result<Self, InputError> {
        let mut opened = Self::open_given(path)?;
        opened.pace = Pace::EachPiece;
        Ok(opened)
    }

    /// Takes a descriptor that this process was started with, and holds it to the limit
    /// of time.
    ///
    /// # Errors
    ///
    /// [`InputError::NotReadable`], [`InputError::System`].
    pub fn inherited(file: File) -> Result<Self, InputError> {
        let kind = file.metadata()?.file_type();
        // Sockets cannot be opened by name, but handed on.
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
        // To open a device can do something, such as rewind a tape.
        check(found.file_type())?;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        // The name may mean another file by now.
        let kind = file.metadata()?.file_type();
        check(kind)?;
        Ok(Self::new(file, kind))
    }

    fn new(file: File, kind: FileType) -> Self {
        InputFile {
            file,
            is_regular: kind.is_file(),
            pace: Pace::Whole,
            within: WITHIN,
            started: Instant::now(),
        }
    }

    /// What the system says of the file that is open.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.file.metadata()
    }

    /// Reads all of it.
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
        let within = self.within;
        InputError::TimedOut { within }.into()
    }

    /// Waits until something can be read, or the other end is closed. A named pipe that
    /// nobody has opened for writing yet is waited for as well.
    fn wait(&self) -> std::io::Result<()> {
        loop {
            let left = self.within.saturating_sub(self.started.elapsed());
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
                // Another reader took it. What looks like a regular file and makes its
                // readers wait, such as /proc/kmsg, is not waited for.
                Err(error)
                    if error.kind() == std::io::ErrorKind::WouldBlock && !self.is_regular => {}
                Ok(count) => {
                    if matches!(self.pace, Pace::EachPiece) {
                        self.started = Instant::now();
                    }
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Refuses what is no regular file.
pub(crate) fn check_regular(kind: FileType) -> Result<(), InputError> {
    match kind.is_file() {
        true => Ok(()),
        false => Err(InputError::NotRegular { found: name(kind) }),
    }
}

/// Refuses what can neither be read to its end nor be waited for.
fn check_readable(kind: FileType) -> Result<(), InputError> {
    match kind.is_file() || kind.is_fifo() || kind.is_char_device() {
        true => Ok(()),
        false => Err(InputError::NotReadable { found: name(kind) }),
    }
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

    use rustix::fs::{CWD, FileType as Made, Mode, mknodat};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    fn pipe(folder: &Path) -> std::path::PathBuf {
        let pipe = folder.join("pipe");
        mknodat(CWD, &pipe, Made::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        pipe
    }

    #[test]
    fn a_limit_counts_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
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
    fn an_endless_device_ends_at_the_limit_where_a_person_names_it() {
        let zero = Path::new("/dev/zero");
        let read = InputFile::open_given(zero).unwrap().read_to_limit(1 << 20);
        assert!(matches!(read, Err(InputError::TooLarge { .. })));
        let null = InputFile::open_given(Path::new("/dev/null")).unwrap();
        assert_eq!(null.read_to_limit(1).unwrap(), b"");
    }

    #[test]
    fn what_is_found_must_be_a_regular_file_and_nothing_else_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = pipe(folder.path());
        let link = folder.path().join("link");
        symlink("/dev/zero", &link).unwrap();
        for (path, expected) in [
            (&*pipe, "a named pipe"),
            (&link, "a device"),
            (folder.path(), "a directory"),
        ] {
            match InputFile::open_regular(path) {
                Err(InputError::NotRegular { found }) => assert_eq!(found, expected),
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        let file = folder.path().join("file");
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
    fn a_pipe_to_which_nobody_writes_is_waited_for_in_vain_only_so_long() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = pipe(folder.path());
        for has_writer in [false, true] {
            let mut opened = InputFile::open_given(&pipe).unwrap();
            opened.within = SHORT;
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
    fn a_pipe_that_trickles_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = pipe(folder.path());
        let mut opened = InputFile::open_given(&pipe).unwrap();
        opened.within = SHORT;
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        let trickling = std::thread::spawn(move || {
            while writer.write_all(b".").is_ok() {
                std::thread::sleep(SHORT / 20);
            }
        });
        let read = opened.read_to_limit(1 << 20);
        assert!(read.is_err_and(|error| error.to_string().contains("nothing more came")));
        trickling.join().unwrap();
    }

    #[test]
    fn a_pipe_is_read_to_its_end_also_by_a_late_writer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = pipe(folder.path());
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
    fn a_stream_has_the_time_for_each_piece() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = pipe(folder.path());
        let mut opened = InputFile::open_stream(&pipe).unwrap();
        opened.within = SHORT;
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
