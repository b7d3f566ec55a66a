//! Writing the decision log.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use entail_store::Digest;
use rustix::fs::{CWD, RenameFlags};

use super::files::{self, id_of};
use super::heads::{HeadFile, Heads, Held, Paths, max_gap, sync_directory};
use super::lines::MAX_LINE_BYTES;
use super::record::{Line, Record};
use super::second_place;
use super::sink::{self, Sink};
use crate::clock::Clock;
use crate::error::Error;
use crate::home::Home;
use crate::home::settings::{DecisionLogSettings, Enough, SecondSink};

/// Room for an ordinary record.
const LINE_BYTES: usize = 2048;

/// The decision log of a home.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    paths: Paths,
    settings: DecisionLogSettings,
    clock: Arc<dyn Clock>,
    second: Option<Sink>,
    writer: Mutex<Writer>,
}

/// One chain of records.
struct Writer {
    /// `None` if it could not be opened, and need not be.
    file: Option<File>,
    is_regular: bool,
    /// `None` before the first record, and if the log is no regular file.
    heads: Option<(HeadFile, Heads)>,
    /// Names the chain.
    name: String,
    /// The number of the last record.
    sequence: u64,
    /// The digest of the line that the next record comes after.
    previous: Option<Digest>,
    /// A file that is full now, and is yet to be on the disk, with the heads.
    full: Option<(File, HeadFile)>,
}

impl DecisionLog {
    /// Opens the log of a home for appending, making it (mode 0600) if need be.
    pub(crate) fn open(home: &Home, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let paths = Paths::of(home);
        let settings = home.settings()?.decision_log;
        let failed = |error| Error::NotRecorded {
            file: paths.log.clone(),
            error,
        };
        // Whatever is enough: nothing is written to a place that is none.
        let second = second_place::open(home, &settings)?;
        let file = match open(&paths.log) {
            Ok(file) => Some(file),
            // The other place is enough.
            Err(_) if settings.also_to.is_some() && settings.enough == Enough::Any => None,
            Err(error) => return Err(failed(error)),
        };
        let second = match second {
            None => None,
            Some(Ok(sink)) => Some(sink),
            // The other place is enough.
            Some(Err(_)) if settings.enough == Enough::Any => None,
            Some(Err(error)) => {
                let file = second_name(&settings);
                return Err(Error::NotRecorded { file, error });
            }
        };
        if let (Some(file), Some(Sink::File(second) | Sink::Special(second))) = (&file, &second) {
            let id = |file: &File| file.metadata().map(|metadata| id_of(&metadata)).ok();
            if id(second) == id(file) {
                return Err(failed(std::io::Error::other(
                    "the settings name it as the second place as well",
                )));
            }
        }
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(DecisionLog {
            settings,
            clock,
            second,
            writer: Mutex::new(Writer {
                is_regular: file.is_some(),
                file,
                heads: None,
                name: format!("{:016x}", u64::from_ne_bytes(name)),
                sequence: 0,
                previous: None,
                full: None,
            }),
            paths,
        })
    }

    /// Writes a record; when this returns, as many places have it as the settings ask
    /// for.
    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let failed = |error| Error::NotRecorded {
            file: self.paths.log.clone(),
            error,
        };
        let end = sink::deadline();
        // A thread that panicked wrote its line whole or not at all.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match writer.has_begun() {
            true => Ok(None),
            false => self.begin(&mut writer),
        };
        let line = writer.line(record).map_err(failed)?;
        let digest = Digest::of(line.trim_ascii_end());
        let sequence = writer.sequence;
        let first = held.and_then(|held| self.append(&mut writer, held, &line, digest, end));
        let second = self.second.as_ref().map(|sink| sink.write(&line, end));
        let healthy = match (&first, &second) {
            (Ok(()), None | Some(Ok(()))) => true,
            (Ok(()), Some(Err(_))) | (Err(_), Some(Ok(()))) => self.settings.enough == Enough::Any,
            (Err(_), _) => false,
        };
        if healthy && writer.sequence == sequence {
            writer.pass(digest);
        }
        let full = writer.full.take();
        drop(writer);
        if let Some((full, head_file)) = full {
            // Nobody waits for it but the one whose record is the first in the next file.
            // If it fails, the system tries again.
            let _ = full
                .sync_data()
                .and_then(|()| sync_directory(&self.paths.log))
                .and_then(|()| head_file.sync());
        }
        if healthy {
            return Ok(());
        }
        Err(match (first, second) {
            (Err(error), _) => failed(error),
            (_, Some(Err(error))) => Error::NotRecorded {
                file: second_name(&self.settings),
                error,
            },
            _ => failed(std::io::Error::other("it was not taken")),
        })
    }

    /// Looks where the log ends, and keeps others from writing until what it returns is
    /// dropped.
    fn begin(&self, writer: &mut Writer) -> std::io::Result<Option<Held>> {
        let file = writer.file.as_ref().ok_or_else(unopened)?;
        // What is no regular file has no end, and nothing to read back.
        writer.is_regular = file.metadata()?.is_file();
        if !writer.is_regular {
            return Ok(None);
        }
        let head_file = match &writer.heads {
            Some((head_file, _)) => head_file.clone(),
            None => HeadFile::open(&self.paths.heads)?,
        };
        let held = head_file.lock()?;
        if writer.heads.is_none() {
            let max_gap = max_gap(self.settings.max_bytes);
            let heads = Heads::begin(&self.paths, head_file.clone(), &*self.clock, max_gap)?;
            writer.heads = Some((head_file, heads));
            // It may have become a full one since it was opened.
            writer.file = Some(open(&self.paths.log)?);
        }
        self.find_end(writer)?;
        if writer.sequence == 0 {
            writer.previous = writer.heads.as_ref().and_then(|(_, heads)| heads.at().last);
        }
        Ok(Some(held))
    }

    fn append(
        &self,
        writer: &mut Writer,
        held: Option<Held>,
        line: &[u8],
        digest: Digest,
        end: Instant,
    ) -> std::io::Result<()> {
        let Some((head_file, _)) = &writer.heads else {
            let file = writer.file.as_ref().ok_or_else(unopened)?;
            sink::write_slowly(&mut &*file, line, end)?;
            writer.pass(digest);
            return Ok(());
        };
        let _held = match held {
            Some(held) => held,
            None => head_file.lock()?,
        };
        let within_a_line = self.find_end(writer)?;
        let file = writer.file.as_ref().ok_or_else(unopened)?;
        let (_, heads) = writer.heads.as_mut().ok_or_else(unopened)?;
        // A line that did not fit and was left unfinished: this one must not be a part of
        // it.
        match within_a_line {
            true => sink::write_whole(file, &[b"\n", line].concat())?,
            false => sink::write_whole(file, line)?,
        }
        let remembered = match within_a_line {
            true => heads.pass_all(file),
            false => heads.pass(digest, line.len() as u64),
        };
        // The log has it, also if that is not remembered.
        writer.pass(digest);
        remembered
    }

    /// Goes to the end of the log, and to a new file if the present one is full. Returns
    /// whether it ends within a line.
    fn find_end(&self, writer: &mut Writer) -> std::io::Result<bool> {
        let (_, heads) = writer.heads.as_mut().ok_or_else(unopened)?;
        if heads.refresh()? {
            writer.file = Some(open(&self.paths.log)?);
        }
        let mut is_rotated = false;
        loop {
            let file = writer.file.as_ref().ok_or_else(unopened)?;
            let (_, heads) = writer.heads.as_mut().ok_or_else(unopened)?;
            let metadata = file.metadata()?;
            if metadata.nlink() == 0 {
                return Err(std::io::Error::other(
                    "it was removed while it was in use; start again to begin a new one",
                ));
            }
            let length = metadata.len();
            let within_a_line = heads.catch_up(file, length, max_gap(self.settings.max_bytes))?;
            if length < self.settings.max_bytes || is_rotated {
                return Ok(within_a_line);
            }
            self.begin_file(writer)?;
            is_rotated = true;
        }
    }

    /// Gives the full file its number, and begins a new one.
    fn begin_file(&self, writer: &mut Writer) -> std::io::Result<()> {
        let file = writer.file.as_ref().ok_or_else(unopened)?;
        let (_, heads) = writer.heads.as_mut().ok_or_else(unopened)?;
        let own = id_of(&file.metadata()?);
        let is_own =
            |path: &Path| std::fs::metadata(path).map(|found| id_of(&found)).ok() == Some(own);
        let number = match heads.are_kept() {
            true => heads.at().file,
            // Nobody remembers what other processes have begun.
            false => next_number(&self.paths.log)?,
        };
        let full = files::numbered(&self.paths.log, number);
        if is_own(&self.paths.log) && number <= files::MAX_NUMBER {
            match rustix::fs::renameat_with(
                CWD,
                &self.paths.log,
                CWD,
                &full,
                RenameFlags::NOREPLACE,
            ) {
                Ok(()) => {}
                // Somebody else's file has that name. Better a log that is too long than
                // none.
                Err(rustix::io::Errno::EXIST) => return Ok(()),
                // Not every file system can look and rename in one step.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    if full.symlink_metadata().is_ok() {
                        return Ok(());
                    }
                    std::fs::rename(&self.paths.log, &full)?;
                }
                Err(error) => return Err(error.into()),
            }
            heads.close_file()?;
        } else if is_own(&self.paths.log) {
            return Ok(());
        } else if heads.are_kept() && is_own(&full) {
            // A process was stopped in between.
            heads.close_file()?;
        }
        let (head_file, _) = writer.heads.as_ref().ok_or_else(unopened)?;
        let head_file = head_file.clone();
        let full = writer.file.replace(open(&self.paths.log)?);
        writer.full = full.map(|full| (full, head_file));
        Ok(())
    }
}

impl Writer {
    /// Whether it is known where the log ends. The first record of a chain holds the
    /// digest of the line that it comes after, so nobody may write in between.
    fn has_begun(&self) -> bool {
        self.sequence > 0 && (self.heads.is_some() || !self.is_regular)
    }

    /// The chain has one record more.
    fn pass(&mut self, digest: Digest) {
        self.sequence += 1;
        self.previous = Some(digest);
    }

    /// A record as the next line of the chain, with its newline.
    fn line(&self, record: &Record<'_>) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(LINE_BYTES);
        entail_text::json::to_writer(
            &mut line,
            &Line {
                writer: &self.name,
                sequence: self.sequence + 1,
                previous: self.previous,
                record,
            },
        )?;
        if line.len() > MAX_LINE_BYTES {
            return Err(std::io::Error::other(format!(
                "the record has {} bytes, and one of more than {MAX_LINE_BYTES} cannot be read back",
                line.len()
            )));
        }
        line.push(b'\n');
        Ok(line)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

fn unopened() -> std::io::Error {
    std::io::Error::other("it could not be opened")
}

fn next_number(log: &Path) -> std::io::Result<u64> {
    let files = files::log_files(log)?;
    let newest = files.iter().filter_map(|file| file.number).max();
    Ok(newest.unwrap_or(0) + 1)
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
