//! Writing the decision log.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use entail_store::Digest;

use super::read::{last_line, log_files};
use super::record::{Line, Record};
use super::sink::{self, Sink};
use crate::error::Error;
use crate::settings::{DecisionLogSettings, Enough, SecondSink};

/// Room for an ordinary record.
const LINE_BYTES: usize = 2048;

/// How long a process may wait for another that begins its chain or a new file.
const LOCK_WITHIN: Duration = Duration::from_millis(400);

/// Between two looks whether the lock is free.
const PAUSE: Duration = Duration::from_millis(1);

/// The decision log of a home.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    path: PathBuf,
    settings: DecisionLogSettings,
    second: Option<Sink>,
    writer: Mutex<Writer>,
}

/// One chain of records.
#[derive(Debug)]
struct Writer {
    /// None if it could not be opened, and need not be.
    file: Option<File>,
    /// Names the chain.
    name: String,
    /// The number of the last record.
    sequence: u64,
    /// The digest of the line that the next record comes after.
    previous: Option<Digest>,
    /// The length at which the last whole line ended, as far as this process
    /// knows. A guess that is wrong only costs a look.
    whole: u64,
}

impl DecisionLog {
    /// Opens the log for appending, making it (mode 0600) if need be.
    pub(crate) fn open(path: &Path, settings: DecisionLogSettings) -> Result<Self, Error> {
        let failed = |error| Error::NotRecorded {
            file: path.to_owned(),
            error,
        };
        let file = match open(path) {
            Ok(file) => Some(file),
            // The other place is enough.
            Err(_) if settings.also_to.is_some() && settings.enough == Enough::Any => None,
            Err(error) => return Err(failed(error)),
        };
        let second = match settings.also_to.as_ref().map(Sink::open) {
            None => None,
            Some(Ok(sink)) => Some(sink),
            // The other place is enough.
            Some(Err(_)) if settings.enough == Enough::Any => None,
            Some(Err(error)) => {
                let file = second_name(&settings);
                return Err(Error::NotRecorded { file, error });
            }
        };
        if let Some(Sink::File(second)) = &second {
            let metadata = second.metadata().map_err(failed)?;
            if metadata.is_file() && metadata.mode() & 0o077 != 0 {
                let file = second_name(&settings);
                let shown = file.display().to_string();
                let error = format!("others can use it; run: chmod 600 {shown}");
                let error = std::io::Error::other(error);
                return Err(Error::NotRecorded { file, error });
            }
        }
        if let (Some(file), Some(Sink::File(second))) = (&file, &second) {
            let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
            if second.metadata().map(of).ok() == file.metadata().map(of).ok() {
                return Err(failed(std::io::Error::other(
                    "the settings name it as the second place as well",
                )));
            }
        }
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(DecisionLog {
            path: path.to_owned(),
            settings,
            second,
            writer: Mutex::new(Writer {
                file,
                name: format!("{:016x}", u64::from_ne_bytes(name)),
                sequence: 0,
                previous: None,
                whole: 0,
            }),
        })
    }

    /// Writes a record; when this returns, as many places have it as the settings ask
    /// for.
    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let failed = |error| Error::NotRecorded {
            file: self.path.clone(),
            error,
        };
        // A thread that panicked wrote its line whole or not at all.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // One that begins a chain looks back at the end of the log, and must not
        // miss the beginning of another.
        let _beginning = match &writer.file {
            Some(file) if writer.sequence == 0 => Some(Held::new(file).map_err(failed)?),
            _ => None,
        };
        let line = self.line(&mut writer, record).map_err(failed)?;
        let end = sink::deadline();
        let first = self.append(&mut writer, &line, end);
        let second = self.second.as_ref().map(|sink| sink.write(&line, end));
        let healthy = match (&first, &second) {
            (Ok(()), None | Some(Ok(()))) => true,
            (Ok(()), Some(Err(_))) | (Err(_), Some(Ok(()))) => self.settings.enough == Enough::Any,
            (Err(_), _) => false,
        };
        if !healthy {
            return Err(match (first, second) {
                (Err(error), _) => failed(error),
                (_, Some(Err(error))) => Error::NotRecorded {
                    file: second_name(&self.settings),
                    error,
                },
                _ => failed(std::io::Error::other("it was not taken")),
            });
        }
        writer.sequence += 1;
        writer.previous = Some(Digest::of(line.trim_ascii_end()));
        Ok(())
    }

    /// A record as the next line of its chain, with its newline.
    fn line(&self, writer: &mut Writer, record: &Record<'_>) -> std::io::Result<Vec<u8>> {
        if writer.sequence == 0 {
            writer.previous = self.end_of_log()?;
        }
        let mut line = Vec::with_capacity(LINE_BYTES);
        entail_text::json::to_writer(
            &mut line,
            &Line {
                writer: &writer.name,
                sequence: writer.sequence + 1,
                previous: writer.previous,
                record,
            },
        )?;
        line.push(b'\n');
        Ok(line)
    }

    /// The digest of the line that the log ends with, whosever it is.
    fn end_of_log(&self) -> std::io::Result<Option<Digest>> {
        for file in log_files(&self.path)?.iter().rev() {
            if let Some(line) = last_line(&file.path)? {
                return Ok(Some(Digest::of(&line)));
            }
        }
        Ok(None)
    }

    fn append(&self, writer: &mut Writer, line: &[u8], end: Instant) -> std::io::Result<()> {
        let unopened = || std::io::Error::other("it could not be opened");
        let mut metadata = writer.file.as_ref().ok_or_else(unopened)?.metadata()?;
        if metadata.is_file() && metadata.len() >= self.settings.max_bytes {
            self.begin_file(writer)?;
            metadata = writer.file.as_ref().ok_or_else(unopened)?.metadata()?;
        }
        if metadata.nlink() == 0 {
            return Err(std::io::Error::other(
                "it was removed while it was in use; start again to begin a new one",
            ));
        }
        let length = metadata.len();
        let file = writer.file.as_ref().ok_or_else(unopened)?;
        if ends_within_a_line(file, length, writer.whole)? {
            sink::write_line(file, &[b"\n", line].concat(), end)?;
        } else {
            sink::write_line(file, line, end)?;
        }
        writer.whole = length.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        Ok(())
    }

    /// Gives the full file its number, and begins a new one, unless another process
    /// did already.
    fn begin_file(&self, writer: &mut Writer) -> std::io::Result<()> {
        let Some(file) = &writer.file else {
            return Ok(());
        };
        // The lock is held already by one that begins its chain.
        let _lock = match writer.sequence {
            0 => None,
            _ => Some(Held::new(file)?),
        };
        let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let current = std::fs::metadata(&self.path).map(of).ok();
        if current == Some(of(file.metadata()?)) {
            let files = log_files(&self.path)?;
            let number = files.iter().filter_map(|file| file.number).max();
            let next = number.unwrap_or(0) + 1;
            let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
            let full = self.path.with_file_name(format!("{stem}.{next:06}.jsonl"));
            std::fs::rename(&self.path, full)?;
        }
        writer.file = Some(sink::open(&self.path)?);
        writer.whole = 0;
        Ok(())
    }
}

/// Holds off other processes that begin a chain or a file, until it is dropped.
struct Held(File);

impl Held {
    fn new(file: &File) -> std::io::Result<Self> {
        let file = file.try_clone()?;
        let end = Instant::now() + LOCK_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held(file)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It also ends with the file.
        let _ = self.0.unlock();
    }
}

/// What the second place is called, for errors.
fn second_name(settings: &DecisionLogSettings) -> PathBuf {
    match &settings.also_to {
        None => PathBuf::new(),
        Some(SecondSink::Syslog) => PathBuf::from("the system's log (/dev/log)"),
        Some(SecondSink::Stdout) => PathBuf::from("the standard output"),
        Some(SecondSink::File(file)) => file.clone(),
    }
}

/// Opens the first place, which is a file of the owner's alone, or a named pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let file = sink::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() && !metadata.file_type().is_fifo() {
        return Err(std::io::Error::other(
            "it is neither a file nor a named pipe",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(std::io::Error::other(format!(
            "others can use it; run: chmod 600 {shown}"
        )));
    }
    Ok(file)
}

/// Whether a file, which has `length` bytes, ends with a line that did not fit and was
/// left unfinished: the next one must not be a part of it. It does not if it ended
/// with a whole one at that length before.
fn ends_within_a_line(file: &File, length: u64, whole: u64) -> std::io::Result<bool> {
    // What is no regular file has no length, and nothing to read back.
    if length == 0 || length == whole {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last != [b'\n'])
}
