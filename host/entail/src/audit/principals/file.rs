//! The file, its lines, and the lock that processes take to change it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use entail_store::RandomId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::audit::files::{check_private, file_id, sync_directory};
use crate::audit::lines::FileRange;
use crate::audit::lock::LogLock;
use crate::home::Home;
use crate::principal::{Principal, PrincipalKind};

/// The largest file that is used: some hundred thousand principals.
const MAX_BYTES: u64 = 64 << 20;

/// How long a process waits for others: with the lock of the log, within the time that
/// recording a decision may take.
const LOCK_WITHIN: Duration = Duration::from_millis(500);

/// When what was written is on the disk without a sync, in seconds: the kernel writes it back after
/// half a minute.
const DURABLE_AFTER_S: i64 = 60;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    id: RandomId,
    /// The name of the kind, which only a newer version may know.
    kind: String,
    issuer: String,
    subject: String,
}

impl Line {
    fn new(id: RandomId, principal: &Principal) -> Self {
        Line {
            id,
            kind: principal.kind().as_str().to_owned(),
            issuer: principal.issuer().to_owned(),
            subject: principal.subject().to_owned(),
        }
    }

    /// Parses a line without its newline; `None` if it is malformed.
    fn parse(line: &[u8]) -> Option<Self> {
        // An array would be accepted in place of an object.
        let is_object = line.starts_with(b"{");
        is_object.then(|| serde_json::from_slice(line).ok())?
    }

    fn principal(&self) -> Option<Principal> {
        let kind = PrincipalKind::find(&self.kind)?;
        Principal::new(kind, &self.issuer, &self.subject).ok()
    }

    fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        entail_text::json::to_writer(&mut line, self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The state of the file: it differs after each change of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            file: file_id(metadata),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file was changed long enough ago to be on the disk, as for the heads of the log.
    pub(super) fn is_durable(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs().cast_signed());
        now.saturating_sub(self.changed.0) > DURABLE_AFTER_S
    }
}

/// The file of a home.
#[derive(Clone, Debug)]
pub(super) struct MappingFile(PathBuf);

impl MappingFile {
    pub(super) fn of(home: &Home) -> Self {
        MappingFile(home.principals_file())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The present state; `None` if the file does not exist or cannot be looked at.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let metadata = self.0.symlink_metadata().ok()?;
        Some(Stamp::of(&metadata))
    }

    /// Opens the file for reading; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if it is not a regular file that only its owner can use.
    pub(super) fn open(&self) -> std::io::Result<Option<OpenMapping>> {
        let mut options = File::options();
        if_exists(self.open_with(options.read(true)))
    }

    fn open_with(&self, options: &mut OpenOptions) -> std::io::Result<OpenMapping> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = match options.mode(0o600).custom_flags(flags).open(&self.0) {
            Err(_) if self.0.is_symlink() => {
                return Err(std::io::Error::other("it is a link; move it away"));
            }
            opened => opened?,
        };
        check_private(&self.0, &file)?;
        Ok(OpenMapping(Arc::new(file)))
    }

    /// Locks out other processes that change the file. Creates it (mode 0600) if needed.
    ///
    /// # Errors
    ///
    /// As [`MappingFile::open`]; fails if another process has the lock for long.
    pub(super) fn lock(&self) -> std::io::Result<LockedMapping<'_>> {
        loop {
            let mut options = File::options();
            let open = self.open_with(options.read(true).append(true).create(true))?;
            if let Some(locked) = self.lock_opened(open)? {
                return Ok(locked);
            }
        }
    }

    /// Locks out other processes that change the file; `None` if it does not exist.
    fn lock_existing(&self) -> std::io::Result<Option<LockedMapping<'_>>> {
        loop {
            let mut options = File::options();
            let open = self.open_with(options.read(true).append(true));
            let Some(open) = if_exists(open)? else {
                return Ok(None);
            };
            if let Some(locked) = self.lock_opened(open)? {
                return Ok(Some(locked));
            }
        }
    }

    /// `None` if the file was replaced before it was locked.
    fn lock_opened(&self, open: OpenMapping) -> std::io::Result<Option<LockedMapping<'_>>> {
        let lock = LogLock::take(&open.0, LOCK_WITHIN)?;
        let own = file_id(&open.0.metadata()?);
        let found = self.0.symlink_metadata();
        let is_current = found.is_ok_and(|found| file_id(&found) == own);
        Ok(is_current.then(|| LockedMapping {
            path: &self.0,
            open,
            _lock: lock,
        }))
    }

    /// Who the ids are. Of two lines with one id, the first counts.
    ///
    /// # Errors
    ///
    /// As [`MappingFile::open`]; a missing file names nobody.
    pub(super) fn principals(&self) -> std::io::Result<BTreeMap<RandomId, Principal>> {
        let mut all = BTreeMap::new();
        if let Some(open) = self.open()? {
            for (id, principal) in open.principals()? {
                all.entry(id).or_insert(principal);
            }
        }
        Ok(all)
    }

    /// Erases all lines of a principal, and all that are malformed, which may contain a part of
    /// its name. Returns the erased ids. After that, the file is on the disk without them.
    ///
    /// # Errors
    ///
    /// As [`MappingFile::open`]; fails if another process has the lock for long, or the file
    /// cannot be replaced. Then it is unchanged.
    pub(super) fn erase(&self, erased: &Principal) -> std::io::Result<Vec<RandomId>> {
        let Some(locked) = self.lock_existing()? else {
            return Ok(Vec::new());
        };
        let mut ids = Vec::new();
        let mut kept = Vec::new();
        let bytes = locked.open.read()?;
        for text in bytes.split(|byte| *byte == b'\n') {
            let Some(line) = Line::parse(text) else {
                continue;
            };
            if line.principal().as_ref() == Some(erased) {
                ids.push(line.id);
            } else {
                kept.extend_from_slice(text);
                kept.push(b'\n');
            }
        }
        locked.remove_leftover()?;
        if kept != bytes {
            locked.replace(&kept)?;
        }
        Ok(ids)
    }

    /// Waits until the file and its name are on the disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        File::open(&self.0)?.sync_data()?;
        sync_directory(&self.0)
    }
}

/// The open file. It may have been replaced since.
pub(super) struct OpenMapping(Arc<File>);

impl OpenMapping {
    pub(super) fn file(&self) -> &Arc<File> {
        &self.0
    }

    pub(super) fn stamp(&self) -> std::io::Result<Stamp> {
        Ok(Stamp::of(&self.0.metadata()?))
    }

    /// Who the ids are, in the order of the lines. Skips malformed lines, and those of kinds
    /// that only a newer version knows.
    pub(super) fn principals(&self) -> std::io::Result<Vec<(RandomId, Principal)>> {
        let bytes = self.read()?;
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(Line::parse);
        Ok(lines
            .filter_map(|line| Some((line.id, line.principal()?)))
            .collect())
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        FileRange::new(&self.0, 0, MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(std::io::Error::other(format!(
                "it has more than {MAX_BYTES} bytes"
            )));
        }
        Ok(bytes)
    }
}

/// The file while other processes are locked out.
pub(super) struct LockedMapping<'a> {
    path: &'a Path,
    pub(super) open: OpenMapping,
    _lock: LogLock,
}

impl LockedMapping<'_> {
    /// Adds a line.
    pub(super) fn add(&self, id: RandomId, principal: &Principal) -> std::io::Result<()> {
        let mut line = Line::new(id, principal).encode()?;
        let mut file = self.open.file().as_ref();
        let bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(before) = bytes.checked_sub(1) {
            file.read_exact_at(&mut last, before)?;
        }
        if last != [b'\n'] {
            // End the incomplete line of a process that was stopped.
            line.insert(0, b'\n');
        }
        file.write_all(&line)
    }

    /// Where the new contents are prepared.
    fn new_path(&self) -> PathBuf {
        self.path.with_extension("jsonl.new")
    }

    /// Removes what a process left behind that was stopped while it replaced the contents:
    /// there may be names in it.
    fn remove_leftover(&self) -> std::io::Result<()> {
        if_exists(std::fs::remove_file(self.new_path())).map(drop)
    }

    /// Replaces the contents. A reader sees the old or the new ones, also after a power cut.
    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        let new = self.new_path();
        let replaced = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&new, self.path));
        if replaced.is_err() {
            let _ = std::fs::remove_file(&new);
            return replaced;
        }
        sync_directory(self.path)
    }
}

/// `None` if a file does not exist.
fn if_exists<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
