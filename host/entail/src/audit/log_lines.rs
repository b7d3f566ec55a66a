//! The lines of a log across its files.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::files::{LogFile, file_id, log_files, open_to_read, with_path};
use super::lines::{FileReader, LineKind, Lines};

/// The lines of a log, oldest first, across its files. At the end it keeps its position,
/// and later continues with what was written since, also in the next file.
pub(crate) struct LogLines {
    current: PathBuf,
    /// The file that is being read and its number; `None` before the first file.
    reading: Option<(Lines<FileReader>, Option<u64>)>,
}

impl LogLines {
    /// All lines of the log whose current file is `current`.
    pub(crate) fn all(current: PathBuf) -> Self {
        LogLines {
            current,
            reading: None,
        }
    }

    /// The lines of `file` from `offset` on, and of the files after it.
    pub(super) fn from(current: PathBuf, file: File, number: Option<u64>, offset: u64) -> Self {
        LogLines {
            current,
            reading: Some((Lines::at(file, offset), number)),
        }
    }

    /// The same lines from here on, to be read independently.
    pub(super) fn fork(&self) -> std::io::Result<Self> {
        let reading = match &self.reading {
            None => None,
            Some((lines, number)) => {
                let file = lines.file().try_clone()?;
                Some((Lines::at(file, lines.offset()), *number))
            }
        };
        Ok(LogLines {
            current: self.current.clone(),
            reading,
        })
    }

    /// Reads the next line into `line`; `None` if there is none yet. Skips a line that was
    /// still incomplete when its file was full.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<Option<LineKind>> {
        loop {
            if let Some((lines, number)) = &mut self.reading {
                let kind = lines.next_complete(line)?;
                if kind != LineKind::Incomplete {
                    return Ok(Some(kind));
                }
                if number.is_none() && !self.is_rotated()? {
                    return Ok(None);
                }
                // More may have been written before the rotation.
                if let Some((lines, _)) = &mut self.reading {
                    match lines.next_complete(line)? {
                        LineKind::Incomplete => {}
                        kind => return Ok(Some(kind)),
                    }
                }
            }
            if !self.next_file()? {
                return Ok(None);
            }
        }
    }

    /// Whether the file that is being read is no longer the current one. Starts over if
    /// the file was truncated.
    fn is_rotated(&mut self) -> std::io::Result<bool> {
        let Some((lines, _)) = &mut self.reading else {
            return Ok(true);
        };
        let own = lines.file().metadata()?;
        if own.len() < lines.offset() {
            *lines = Lines::at(lines.file().try_clone()?, 0);
        }
        match std::fs::metadata(&self.current) {
            Ok(current) => Ok(file_id(&current) != file_id(&own)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(with_path(&self.current, error)),
        }
    }

    /// Opens the next file. Returns whether there is one.
    fn next_file(&mut self) -> std::io::Result<bool> {
        loop {
            let files = log_files(&self.current)?;
            let after = self.last_number(&files)?;
            let next = files.iter().find(|file| match (after, file.number) {
                (None, _) | (_, None) => true,
                (Some(after), Some(number)) => number > after,
            });
            let Some(next) = next else {
                return Ok(false);
            };
            let failed = |error| with_path(&next.path, error);
            let file = match open_to_read(&next.path) {
                // It was archived or rotated since it was listed.
                Err(error) if is_gone(&error, &next.path) => continue,
                opened => opened.map_err(failed)?,
            };
            if next.number.is_none() && has_rotated_since(&files, &file, &self.current)? {
                continue;
            }
            self.reading = Some((Lines::at(file, 0), next.number));
            return Ok(true);
        }
    }

    /// The number of the file that was read last. The current file may have got one since;
    /// if it has none and is gone, all numbered files are older.
    fn last_number(&self, files: &[LogFile]) -> std::io::Result<Option<u64>> {
        let lines = match &self.reading {
            None => return Ok(None),
            Some((_, Some(number))) => return Ok(Some(*number)),
            Some((lines, None)) => lines,
        };
        let own = file_id(&lines.file().metadata()?);
        let numbered = files.iter().rev().filter(|file| file.number.is_some());
        for file in numbered {
            if std::fs::metadata(&file.path).is_ok_and(|found| file_id(&found) == own) {
                return Ok(file.number);
            }
        }
        Ok(Some(u64::MAX))
    }
}

/// Whether a file could not be opened because it is gone. A dangling link is not gone.
pub(super) fn is_gone(error: &std::io::Error, path: &Path) -> bool {
    error.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err()
}

/// Whether the log was rotated since `files` were listed: then the opened current file may
/// have a number now, or older files may have been missed.
fn has_rotated_since(files: &[LogFile], opened: &File, current: &Path) -> std::io::Result<bool> {
    let found = std::fs::metadata(current).map(|found| file_id(&found)).ok();
    let is_same = found == Some(file_id(&opened.metadata()?));
    let newest = |files: &[LogFile]| files.iter().filter_map(|file| file.number).max();
    Ok(!is_same || newest(&log_files(current)?) != newest(files))
}
