//! The heads as a writer updates them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use entail_store::Digest;

use super::checkpoint::{Checkpoint, CheckpointKind, MachineTime};
use super::file::{HeadFile, closed_slot};
use super::key::{LogKey, Written, write_key};
use super::position::Position;
use super::recovery::{end_of_log, intact_length, surviving_part};
use crate::audit::files::{LogPaths, numbered_path, open_if_exists, sync_directory, with_path};
use crate::audit::lines::MAX_LINE_BYTES;
use crate::clock::Clock;

/// How long the kernel may take to write data to the disk: twice the usual thirty seconds.
const DURABLE_AFTER: Duration = Duration::from_mins(1);

/// The most that a writer reads of other processes' records before it writes its own,
/// regardless of the size of a file: half a second's worth.
const MAX_GAP_BYTES: u64 = 512 * 1024 * 1024;

/// The heads. Every method must be called while the lock is held.
pub(in crate::audit) struct Heads {
    file: HeadFile,
    /// `None` if no key can be created: then no head is stored.
    stored: Option<StoredHeads>,
    at: Position,
    /// When this process began, by the machine's uptime and by its monotonic clock.
    began: (MachineTime, Instant),
}

/// The checkpoints that a writer needs, and the key for them.
struct StoredHeads {
    key: LogKey,
    begin: Checkpoint,
    /// The head as this process wrote or read it last.
    head: (Checkpoint, Written),
    next_durable: Checkpoint,
}

impl Heads {
    /// The key of the log; `None` if none can be created.
    pub(in crate::audit) fn key(&self) -> Option<&LogKey> {
        self.stored.as_ref().map(|stored| &stored.key)
    }

    /// Continues from the stored head; starts new heads if there is none.
    pub(in crate::audit) fn load(
        paths: &LogPaths,
        file: HeadFile,
        clock: &dyn Clock,
        max_gap: u64,
    ) -> std::io::Result<Self> {
        let key = LogKey::read(&paths.key).map_err(|error| with_path(&paths.key, error))?;
        let mut heads = Heads::without_head(file, clock);
        let mut lost = 0;
        if let Some(key) = &key {
            if let Some(stored) = StoredHeads::read(&heads.file, key)? {
                heads.at = stored.head.0.at;
                heads.stored = Some(stored);
                heads.finish_rotation(paths, max_gap)?;
                heads.recover_after_reboot(paths)?;
                return Ok(heads);
            }
            // The key is created after the first head, so a head existed.
            lost = 1;
        }
        heads.at = end_of_log(paths, heads.at)?;
        heads.start(paths, key, lost)?;
        Ok(heads)
    }

    fn without_head(file: HeadFile, clock: &dyn Clock) -> Self {
        Heads {
            file,
            stored: None,
            at: Position::start(),
            began: (MachineTime::of(clock.uptime()), Instant::now()),
        }
    }

    /// Where the log ends.
    pub(in crate::audit) fn at(&self) -> &Position {
        &self.at
    }

    /// Whether a head is stored.
    pub(in crate::audit) fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// Writes the first checkpoints, and a key if there is none. The key comes last: a
    /// home with a key must have heads.
    fn start(&mut self, paths: &LogPaths, key: Option<LogKey>, lost: u64) -> std::io::Result<()> {
        let (key, text) = if let Some(key) = key {
            (key, None)
        } else {
            let (key, text) = LogKey::generate()?;
            (key, Some(text))
        };
        // Remove the checkpoints of earlier heads.
        self.file.clear()?;
        let begin = Checkpoint {
            count: lost,
            ..self.checkpoint(CheckpointKind::Begin)
        };
        let head = self.checkpoint(CheckpointKind::Head);
        let mut stored = StoredHeads {
            head: (head, key.encode(&head)),
            next_durable: self.checkpoint(CheckpointKind::NextDurable),
            begin,
            key,
        };
        stored.put(&self.file, begin)?;
        stored.put(&self.file, self.checkpoint(CheckpointKind::Durable))?;
        stored.put(&self.file, stored.next_durable)?;
        stored.put(&self.file, self.checkpoint(CheckpointKind::Lost))?;
        stored.put_head(&self.file, head)?;
        self.file.sync()?;
        // A key without heads would mean that they were removed.
        sync_directory(&paths.heads)?;
        if let Some(text) = text {
            match write_key(&paths.key, &text) {
                Ok(()) => {}
                // The keys of a machine may be read-only.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::PermissionDenied
                            | std::io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return self.file.clear();
                }
                Err(error) => return Err(with_path(&paths.key, error)),
            }
        }
        self.stored = Some(stored);
        Ok(())
    }

    /// A checkpoint of where the log ends now.
    fn checkpoint(&self, kind: CheckpointKind) -> Checkpoint {
        let (machine, since) = self.began;
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Checkpoint {
            kind,
            at: self.at,
            machine: MachineTime {
                ms: machine.ms.saturating_add(passed),
                ..machine
            },
            count: 0,
        }
    }

    /// Reads what other processes have written. Returns whether the log now writes to
    /// another file.
    pub(in crate::audit) fn refresh(&mut self) -> std::io::Result<bool> {
        let Some(stored) = &mut self.stored else {
            return Ok(false);
        };
        let Some(written) = self.file.read(CheckpointKind::Head as u64)? else {
            return Ok(false);
        };
        if written == stored.head.1 {
            return Ok(false);
        }
        // Ignore a head that was rolled back or is not authentic.
        let newer = stored
            .key
            .decode(&written, CheckpointKind::Head)
            .filter(|head| head.at.lines >= stored.head.0.at.lines);
        let Some(newer) = newer else {
            return Ok(false);
        };
        let is_other_file = newer.at.file != self.at.file;
        stored.head = (newer, written);
        self.at = newer.at;
        let key = &stored.key;
        if let Some(next) = self.file.checkpoint(key, CheckpointKind::NextDurable)? {
            stored.next_durable = next;
        }
        // Accepting a loss reinitializes the heads.
        if let Some(begin) = self.file.checkpoint(key, CheckpointKind::Begin)? {
            stored.begin = begin;
        }
        Ok(is_other_file)
    }

    /// Advances to the end of `file`, past records of processes that were stopped before
    /// they wrote the head. Returns whether the file ends within a line.
    pub(in crate::audit) fn catch_up(
        &mut self,
        file: &File,
        length: u64,
        max_gap: u64,
    ) -> std::io::Result<bool> {
        if length == self.at.bytes {
            return Ok(false);
        }
        if length > self.at.bytes && length - self.at.bytes <= max_gap {
            self.at.advance_to(file, length)?;
            return Ok(self.at.bytes < length);
        }
        // The file was truncated or replaced. The digest still covers what was there
        // before, so verification detects it.
        self.at.bytes = length;
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        Ok(last != [b'\n'])
    }

    /// Stores that a complete line was written, after [`Heads::catch_up`].
    pub(in crate::audit) fn advance(&mut self, line: Digest, bytes: u64) -> std::io::Result<()> {
        self.at.advance(line, bytes);
        self.store()
    }

    /// Stores that all lines up to the end of `file` were written.
    pub(in crate::audit) fn advance_to_end(&mut self, file: &File) -> std::io::Result<()> {
        let length = file.metadata()?.len();
        self.at.advance_to(file, length)?;
        self.store()
    }

    fn store(&mut self) -> std::io::Result<()> {
        let head = self.checkpoint(CheckpointKind::Head);
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let durable_after = u64::try_from(DURABLE_AFTER.as_millis()).unwrap_or(u64::MAX);
        let next = stored.next_durable;
        let is_durable = next.machine.boot == head.machine.boot
            && head.machine.ms.saturating_sub(next.machine.ms) >= durable_after;
        if is_durable {
            let durable = Checkpoint {
                kind: CheckpointKind::Durable,
                ..next
            };
            // A sync may have stored a later one.
            let known = self.file.checkpoint(&stored.key, CheckpointKind::Durable)?;
            if known.is_none_or(|known| known.at.lines < durable.at.lines) {
                stored.put(&self.file, durable)?;
            }
            stored.next_durable = Checkpoint {
                kind: CheckpointKind::NextDurable,
                ..stored.head.0
            };
            stored.put(&self.file, stored.next_durable)?;
        }
        stored.put_head(&self.file, head)
    }

    /// The present position, to be stored once everything before it is on the disk.
    pub(in crate::audit) fn durable_mark(&self) -> Option<DurableMark> {
        let stored = self.stored.as_ref()?;
        Some(DurableMark {
            file: self.file.clone(),
            key: stored.key.clone(),
            begin: stored.begin,
            durable: self.checkpoint(CheckpointKind::Durable),
        })
    }

    /// Stores the end of a full file on the disk, before the file gets its number. Until
    /// [`Heads::begin_file`] it has no effect.
    pub(in crate::audit) fn close_file(&self) -> std::io::Result<()> {
        let Some(stored) = &self.stored else {
            return Ok(());
        };
        stored.put(&self.file, self.checkpoint(CheckpointKind::Closed))?;
        self.file.sync()
    }

    /// Stores on the disk that the next file is the current one, after the full one got its
    /// number, and before anything is written to the next.
    pub(in crate::audit) fn begin_file(&mut self) -> std::io::Result<()> {
        self.at = self.at.next_file();
        let head = self.checkpoint(CheckpointKind::Head);
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        stored.put_head(&self.file, head)?;
        self.file.sync()
    }

    /// Finishes what a stopped process had begun: the full file has its number, and the
    /// head does not say so yet.
    fn finish_rotation(&mut self, paths: &LogPaths, max_gap: u64) -> std::io::Result<()> {
        let path = numbered_path(&paths.log, self.at.file);
        let Some(full) = open_if_exists(&path).map_err(|error| with_path(&path, error))? else {
            return Ok(());
        };
        let length = full.metadata()?.len();
        let current = std::fs::metadata(&paths.log).map_or(0, |metadata| metadata.len());
        // A planted file does not end the current one.
        if length < self.at.bytes || current > 0 {
            return Ok(());
        }
        self.catch_up(&full, length, max_gap)?;
        full.sync_data()?;
        sync_directory(&path)?;
        self.close_file()?;
        self.begin_file()
    }

    /// After a reboot the log may end before its head, or what was written last may be in
    /// ruins, which are removed. Counts the missing records as lost if they were not
    /// durable.
    fn recover_after_reboot(&mut self, paths: &LogPaths) -> std::io::Result<()> {
        let now = self.checkpoint(CheckpointKind::Head).machine;
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let head = stored.head.0;
        if head.machine.boot == now.boot {
            return Ok(());
        }
        let durable = self.file.checkpoint(&stored.key, CheckpointKind::Durable)?;
        let Some(durable) = durable else {
            return Ok(());
        };
        let Some(durable) =
            self.file
                .durable_in(paths, &stored.key, &stored.begin, durable.at, head.at.file)?
        else {
            return Ok(());
        };
        let log = open_if_exists(&paths.log).map_err(|error| with_path(&paths.log, error))?;
        let length = match &log {
            Some(log) => intact_length(log, durable.bytes)?,
            None => 0,
        };
        let Some(found) = surviving_part(&durable, &head.at, log.as_ref(), length)? else {
            return Ok(());
        };
        if let Some(log) = &log
            && length < log.metadata()?.len()
        {
            let log = File::options().write(true).open(&paths.log)?;
            log.set_len(length)
                .and_then(|()| log.sync_all())
                .map_err(|error| with_path(&paths.log, error))?;
        }
        if found.lines < head.at.lines {
            let before = self.file.checkpoint(&stored.key, CheckpointKind::Lost)?;
            let lost = Checkpoint {
                kind: CheckpointKind::Lost,
                at: found,
                count: before
                    .map_or(0, |before| before.count)
                    .saturating_add(head.at.lines - found.lines),
                ..head
            };
            stored.put(&self.file, lost)?;
        }
        self.at = found;
        let head = self.checkpoint(CheckpointKind::Head);
        match &mut self.stored {
            Some(stored) => stored.put_durable_head(&self.file, head),
            None => Ok(()),
        }
    }
}

impl StoredHeads {
    /// Reads the stored heads; `None` if they are missing or not authentic.
    fn read(file: &HeadFile, key: &LogKey) -> std::io::Result<Option<Self>> {
        let begin = file.checkpoint(key, CheckpointKind::Begin)?;
        let head = file.checkpoint(key, CheckpointKind::Head)?;
        let (Some(begin), Some(head)) = (begin, head) else {
            return Ok(None);
        };
        let next_durable = file.checkpoint(key, CheckpointKind::NextDurable)?;
        Ok(Some(StoredHeads {
            head: (head, key.encode(&head)),
            key: key.clone(),
            begin,
            next_durable: next_durable.unwrap_or(Checkpoint {
                kind: CheckpointKind::NextDurable,
                ..head
            }),
        }))
    }

    fn put(&self, file: &HeadFile, checkpoint: Checkpoint) -> std::io::Result<()> {
        let slot = match checkpoint.kind {
            CheckpointKind::Closed => closed_slot(&self.begin, checkpoint.at.file)
                .ok_or_else(|| std::io::Error::other("the heads begin after it"))?,
            kind => kind as u64,
        };
        file.write(slot, &self.key.encode(&checkpoint))
    }

    fn put_head(&mut self, file: &HeadFile, head: Checkpoint) -> std::io::Result<()> {
        let written = self.key.encode(&head);
        file.write(CheckpointKind::Head as u64, &written)?;
        self.head = (head, written);
        Ok(())
    }

    /// Stores a head after all its records were written to the disk.
    fn put_durable_head(&mut self, file: &HeadFile, head: Checkpoint) -> std::io::Result<()> {
        self.next_durable = Checkpoint {
            kind: CheckpointKind::NextDurable,
            ..head
        };
        self.put_head(file, head)?;
        self.put(file, self.next_durable)?;
        self.put(
            file,
            Checkpoint {
                kind: CheckpointKind::Durable,
                ..head
            },
        )
    }
}

/// A position that becomes durable with a sync of the log.
pub(in crate::audit) struct DurableMark {
    file: HeadFile,
    key: LogKey,
    begin: Checkpoint,
    durable: Checkpoint,
}

impl DurableMark {
    /// Whether the current file was synced before, together with its name.
    pub(in crate::audit) fn has_durable_name(&self) -> bool {
        let known = self.file.checkpoint(&self.key, CheckpointKind::Durable);
        known.is_ok_and(|known| {
            known.is_some_and(|known| known.at.file == self.durable.at.file && known.at.bytes > 0)
        })
    }

    /// Stores the position under the lock, unless a later one is known.
    pub(in crate::audit) fn store(&self) -> std::io::Result<()> {
        let _lock = self.file.lock()?;
        let stored = |kind| self.file.checkpoint(&self.key, kind);
        // Accepting a loss reinitializes the heads.
        let is_same_log = stored(CheckpointKind::Begin)? == Some(self.begin);
        let known = stored(CheckpointKind::Durable)?;
        let is_newer = known.is_none_or(|known| known.at.lines < self.durable.at.lines);
        if is_same_log && is_newer {
            let written = self.key.encode(&self.durable);
            self.file.write(CheckpointKind::Durable as u64, &written)?;
        }
        Ok(())
    }
}

/// Discards the heads of a log and starts new ones at its end, under the lock. Before
/// that, `note` gets the key and the end of the log, which it may advance to a later
/// file.
pub(in crate::audit) fn reinitialize<T>(
    paths: &LogPaths,
    clock: &dyn Clock,
    note: impl FnOnce(&LogKey, &mut Position) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let failed = |error| with_path(&paths.key, error);
    let file = HeadFile::open(&paths.heads)?;
    let _lock = file.lock()?;
    let key = if let Some(key) = LogKey::read(&paths.key).map_err(failed)? {
        key
    } else {
        let (key, text) = LogKey::generate()?;
        write_key(&paths.key, &text).map_err(failed)?;
        key
    };
    let before = file.checkpoint(&key, CheckpointKind::Head)?;
    let before = before.map(|head| head.at);
    let mut heads = Heads::without_head(file, clock);
    // Running processes accept a head only if it has at least as many lines as theirs.
    heads.at.lines = before.map_or(0, |before| before.lines);
    heads.at = end_of_log(paths, heads.at)?;
    heads.at.file = heads.at.file.max(before.map_or(1, |before| before.file));
    let noted = note(&key, &mut heads.at)?;
    heads.start(paths, Some(key), 0)?;
    Ok(noted)
}

/// The most that a writer reads of what other processes wrote: no file is longer, except
/// by one record.
pub(in crate::audit) fn max_gap(max_bytes: u64) -> u64 {
    let longest = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    max_bytes.min(MAX_GAP_BYTES).saturating_add(longest)
}
