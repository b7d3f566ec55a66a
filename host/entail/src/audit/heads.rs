//! Where the log ended: a small file beside the log, `decisions.head`, that remembers
//! how far the log had come and what stood in it.
//!
//! The chains within the log have no key: who can write it can write all of it anew.
//! The head is written with each record, under a lock that all writers of a home take
//! in turn, and is authenticated by a key of the home, `keys/log.key`. It holds the
//! number of lines so far and a digest over all of them, so one head covers the records
//! of every process. One more mark per full file remembers how that one ended.
//!
//! | mark | what it remembers |
//! |---|---|
//! | begin | where the heads begin, and whether there were others before that were lost |
//! | head | the newest record |
//! | settled | a record that is on the disk whatever happened |
//! | settling | the one that will be next |
//! | lost | how many records were lost when the machine stopped |
//! | closed | the end of a full file; one for each |
//!
//! A writer goes on from the head, not from what it finds in the log. Whatever was cut
//! off or changed behind its back therefore shows for good, also after later records.
//!
//! # A machine that stops
//!
//! Records and heads are on their way to the disk, not waited for. When the machine
//! stops, the newest of both can be lost, and the log may end before its head. A mark
//! therefore holds the start of the machine that it was made in. In the same one, a log
//! that ends before its head was cut. After another start, what came after the settled
//! mark may be missing, and is counted as lost; anything else is not excused. A full
//! file is fsynced as soon as it has its number; if the machine stops in the very moment
//! in between, that can look like a breach.
//!
//! # Security
//!
//! Who can write the log and the heads but not read the key can put both back together
//! to an earlier state, and can cut what came after the settled mark (at most a minute
//! or two of a busy log, the last two records of an idle one) if the machine is started
//! anew before the next look. Who can read the key can do anything.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entail_store::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::OFlags;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::files::{self, about};
use super::lines::{LineKind, Lines, MAX_LINE_BYTES, Part, last_line};
use crate::clock::{Clock, Uptime};

/// Where a mark begins: within one sector of a disk, so that none is torn.
const MARK_BYTES: u64 = 256;

/// What of it is authenticated.
const BODY_BYTES: usize = 128;

/// All that is written of it: the body and its authentication code.
const WRITTEN_BYTES: usize = BODY_BYTES + 32;

/// What each mark begins with: another layout has another.
const MAGIC: [u8; 4] = *b"EHM1";

/// How long the kernel may keep what was written before it is on the disk: twice the
/// thirty seconds that are usual.
const SETTLED_AFTER: Duration = Duration::from_mins(1);

/// How long a process may wait for others that are writing records: within the time that
/// recording may take in all.
const LOCK_WITHIN: Duration = Duration::from_millis(1_400);

/// However large a file of the log may become, a writer reads no more of it before it
/// writes a record: half a second's worth.
const MAX_GAP_BYTES: u64 = 512 * 1024 * 1024;

/// Looks for a free lock before sleeping: records are written in microseconds.
const SPINS: u32 = 50;

/// Between two looks whether the lock is free.
const PAUSE: Duration = Duration::from_micros(200);

/// What marks are for. The number is the place in the file, but for closed ones, which
/// come after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Begin = 0,
    Head = 1,
    Settled = 2,
    Settling = 3,
    Lost = 4,
    Closed = 5,
}

/// A place between two lines of the log, and all that stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The number that the file has, or will have once it is full.
    pub(super) file: u64,
    /// Bytes before it in that file.
    pub(super) bytes: u64,
    /// Lines before it in all files, from where the heads begin.
    pub(super) lines: u64,
    /// A digest over those lines.
    pub(super) digest: Digest,
    /// The digest of the last of them.
    pub(super) last: Option<Digest>,
}

impl Position {
    /// Goes past a line, given its digest and its length with the newline.
    pub(super) fn pass(&mut self, line: Digest, bytes: u64) {
        let mut both = [0; 64];
        let (before, after) = both.split_at_mut(32);
        before.copy_from_slice(self.digest.as_bytes());
        after.copy_from_slice(line.as_bytes());
        self.digest = Digest::of(&both);
        self.last = Some(line);
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Goes past the whole lines of `file` up to `end`. A line that is too long is
    /// nobody's, and counts as an empty one.
    pub(super) fn pass_all(&mut self, file: &File, end: u64) -> std::io::Result<()> {
        let mut lines = Lines::new(Part::new(file, self.bytes, end), self.bytes);
        let mut line = Vec::new();
        loop {
            let before = lines.offset();
            match lines.next(&mut line)? {
                LineKind::Rest => return Ok(()),
                LineKind::Whole | LineKind::TooLong => {
                    self.pass(Digest::of(&line), lines.offset() - before);
                }
            }
        }
    }

    /// The beginning of the next file.
    fn next_file(self) -> Self {
        Position {
            file: self.file + 1,
            bytes: 0,
            ..self
        }
    }

    /// Whether the same stands before both.
    pub(super) fn agrees(&self, other: &Position) -> bool {
        (self.lines, self.digest) == (other.lines, other.digest)
    }
}

/// The time since a start of the machine, as a mark holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MachineTime {
    /// Names the start; all zero if the system does not say.
    pub(super) boot: [u8; 16],
    pub(super) ms: u64,
}

impl MachineTime {
    pub(super) fn of(uptime: Option<Uptime>) -> Self {
        let Some(uptime) = uptime else {
            return MachineTime::default();
        };
        let mut boot = [0; 16];
        let name = Digest::of(uptime.boot.as_bytes());
        for (byte, of_name) in boot.iter_mut().zip(name.as_bytes()) {
            *byte = *of_name;
        }
        MachineTime {
            boot,
            ms: uptime.ms,
        }
    }
}

/// What is remembered of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) at: Position,
    pub(super) machine: MachineTime,
    /// Of [`Kind::Begin`], 1 if there were heads before that were lost; of
    /// [`Kind::Lost`], how many records were lost.
    pub(super) count: u64,
}

/// The key that marks are authenticated by.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

/// A mark as it is in the file.
type Written = [u8; WRITTEN_BYTES];

impl Key {
    /// A new one, and how it is written down.
    fn generate() -> std::io::Result<(Self, Zeroizing<String>)> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut()).map_err(std::io::Error::other)?;
        let mut text = Zeroizing::new(Digest::from(*bytes).to_string());
        text.push('\n');
        Ok((Key::new(&bytes)?, text))
    }

    fn new(bytes: &[u8; 32]) -> std::io::Result<Self> {
        // It takes keys of any length.
        let mac = Hmac::new_from_slice(bytes).map_err(std::io::Error::other)?;
        Ok(Key(mac))
    }

    /// Reads the key; `None` if there is none.
    pub(super) fn read(path: &Path) -> std::io::Result<Option<Self>> {
        let Some(file) = files::open_if_there(path)? else {
            return Ok(None);
        };
        check_private(path, &file)?;
        let mut text = Zeroizing::new(String::new());
        // It has 65 bytes.
        file.take(128).read_to_string(&mut text)?;
        let key: Result<Digest, _> = text.trim_end().parse();
        match key {
            Ok(key) => Key::new(key.as_bytes()).map(Some),
            Err(_) => Err(std::io::Error::other(
                "it is not the key of a decision log: 64 hexadecimal digits",
            )),
        }
    }

    fn write(&self, mark: &Mark) -> Written {
        let mut written = [0; WRITTEN_BYTES];
        let at = &mark.at;
        let last = at.last.map_or([0; 32], |last| *last.as_bytes());
        let parts: [&[u8]; 10] = [
            &MAGIC,
            &(mark.kind as u32).to_le_bytes(),
            &at.file.to_le_bytes(),
            &at.bytes.to_le_bytes(),
            &at.lines.to_le_bytes(),
            at.digest.as_bytes(),
            &last,
            &mark.machine.boot,
            &mark.machine.ms.to_le_bytes(),
            &mark.count.to_le_bytes(),
        ];
        let (body, code) = written.split_at_mut(BODY_BYTES);
        let mut rest = &mut *body;
        for part in parts {
            // They are as long as the body together.
            let _ = rest.write_all(part);
        }
        code.copy_from_slice(&self.code(body));
        written
    }

    fn read_mark(&self, written: &Written, kind: Kind) -> Option<Mark> {
        let (body, code) = written.split_at(BODY_BYTES);
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(code).ok()?;
        let mut fields = Fields(body);
        let is_ours = fields.take()? == MAGIC && u32::from_le_bytes(fields.take()?) == kind as u32;
        let mut number = || fields.take().map(u64::from_le_bytes);
        let (file, bytes, lines) = (number()?, number()?, number()?);
        let digest = Digest::from(fields.take::<32>()?);
        let last = fields.take::<32>()?;
        let boot = fields.take()?;
        let mut number = || fields.take().map(u64::from_le_bytes);
        is_ours.then_some(Mark {
            kind,
            at: Position {
                file,
                bytes,
                lines,
                digest,
                last: (last != [0; 32]).then(|| Digest::from(last)),
            },
            machine: MachineTime {
                boot,
                ms: number()?,
            },
            count: number()?,
        })
    }

    fn code(&self, body: &[u8]) -> [u8; 32] {
        *self.code_of(&[body]).as_bytes()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// The authentication code of some bytes that do not begin as marks do.
    pub(super) fn code_of(&self, parts: &[&[u8]]) -> Digest {
        let code: [u8; 32] = self.mac(parts).finalize().into_bytes().into();
        Digest::from(code)
    }

    /// Whether it is the authentication code of these bytes.
    pub(super) fn authenticates(&self, parts: &[&[u8]], code: &Digest) -> bool {
        self.mac(parts).verify_slice(code.as_bytes()).is_ok()
    }
}

/// The fields of a mark that are left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// The file of the heads.
#[derive(Clone)]
pub(super) struct HeadFile {
    file: Arc<File>,
}

impl HeadFile {
    /// Opens the file to write it, making it (mode 0600) if need be.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)
            .map_err(|error| about(path, error))?;
        Self::checked(path, file)
    }

    /// Opens the file to read it; `None` if it is not there.
    pub(super) fn open_to_read(path: &Path) -> std::io::Result<Option<Self>> {
        let opened = files::open_if_there(path).map_err(|error| about(path, error))?;
        opened.map(|file| Self::checked(path, file)).transpose()
    }

    fn checked(path: &Path, file: File) -> std::io::Result<Self> {
        check_private(path, &file)?;
        Ok(HeadFile {
            file: Arc::new(file),
        })
    }

    /// Keeps out other writers until it is dropped.
    pub(super) fn lock(&self) -> std::io::Result<Held> {
        let end = Instant::now() + LOCK_WITHIN;
        let mut tries = 0;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(Held(Arc::clone(&self.file))),
                Err(std::fs::TryLockError::WouldBlock) if tries < SPINS => {
                    tries += 1;
                    std::thread::yield_now();
                }
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        "another process has not let go of the log; is one stopped?",
                    ));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn read(&self, index: u64) -> std::io::Result<Option<Written>> {
        let mut written = [0; WRITTEN_BYTES];
        match self.file.read_exact_at(&mut written, index * MARK_BYTES) {
            Ok(()) => Ok(Some(written)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A mark that is not a closed one; `None` if it is not there, or not as it was
    /// written.
    pub(super) fn mark(&self, key: &Key, kind: Kind) -> std::io::Result<Option<Mark>> {
        let written = self.read(kind as u64)?;
        Ok(written.and_then(|written| key.read_mark(&written, kind)))
    }

    /// How a full file ended; `None` if that is not there, or not as it was written.
    pub(super) fn closed(
        &self,
        key: &Key,
        begin: &Mark,
        number: u64,
    ) -> std::io::Result<Option<Position>> {
        let Some(index) = closed_index(begin, number) else {
            return Ok(None);
        };
        let written = self.read(index)?;
        let mark = written.and_then(|written| key.read_mark(&written, Kind::Closed));
        Ok(mark.map(|mark| mark.at).filter(|at| at.file == number))
    }

    /// Goes from what was settled to the beginning of the file `number`, if that comes
    /// later, through all that the full files hold. `None` if they are not as they were
    /// when they were closed.
    pub(super) fn settled_in(
        &self,
        paths: &Paths,
        key: &Key,
        begin: &Mark,
        mut settled: Position,
        number: u64,
    ) -> std::io::Result<Option<Position>> {
        while settled.file < number {
            let path = files::numbered(&paths.log, settled.file);
            let full = files::open_if_there(&path).map_err(|error| about(&path, error))?;
            let (Some(full), Some(closed)) = (full, self.closed(key, begin, settled.file)?) else {
                return Ok(None);
            };
            settled.pass_all(&full, closed.bytes)?;
            if settled != closed {
                return Ok(None);
            }
            settled = closed.next_file();
        }
        Ok(Some(settled))
    }

    /// Fsyncs it.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

/// Where the mark of a closed file is.
fn closed_index(begin: &Mark, number: u64) -> Option<u64> {
    Some(Kind::Closed as u64 + number.checked_sub(begin.at.file)?)
}

/// Keeps out other writers of the log, until it is dropped.
pub(super) struct Held(Arc<File>);

impl Drop for Held {
    fn drop(&mut self) {
        // It also ends with the file.
        let _ = self.0.unlock();
    }
}

/// Where the files are that belong together.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) log: PathBuf,
    pub(super) heads: PathBuf,
    pub(super) key: PathBuf,
}

impl Paths {
    pub(super) fn of(home: &crate::Home) -> Self {
        Paths {
            log: home.decision_log(),
            heads: home.decision_log().with_extension("head"),
            key: home.keys_folder().join("log.key"),
        }
    }
}

/// The heads, as a writer goes on with them. Every method is to be called under the
/// lock.
pub(super) struct Heads {
    file: HeadFile,
    /// `None` if no key can be made: then nothing is remembered.
    kept: Option<Kept>,
    at: Position,
    /// When this process began, by the machine's time and by its own.
    began: (MachineTime, Instant),
}

/// What is remembered, and how.
struct Kept {
    key: Key,
    begin: Mark,
    /// The head as this process wrote it last.
    head: (Mark, Written),
    settling: Mark,
}

impl Heads {
    /// Goes on from what is remembered; begins if nothing is.
    pub(super) fn begin(
        paths: &Paths,
        file: HeadFile,
        clock: &dyn Clock,
        max_gap: u64,
    ) -> std::io::Result<Self> {
        let failed = |error| about(&paths.key, error);
        let began = (MachineTime::of(clock.uptime()), Instant::now());
        let key = Key::read(&paths.key).map_err(failed)?;
        let mut heads = Heads {
            file,
            kept: None,
            at: Position {
                file: 1,
                bytes: 0,
                lines: 0,
                digest: Digest::from([0; 32]),
                last: None,
            },
            began,
        };
        let mut lost = 0;
        if let Some(key) = &key {
            if let Some(kept) = Kept::read(&heads.file, key)? {
                heads.at = kept.head.0.at;
                heads.kept = Some(kept);
                heads.finish_file(paths, max_gap)?;
                heads.look_after_a_start(paths)?;
                return Ok(heads);
            }
            // There is a key, so there were heads.
            lost = 1;
        }
        heads.at = end_of_log(paths, heads.at)?;
        heads.start(paths, key, lost)?;
        Ok(heads)
    }

    /// Where the log ends.
    pub(super) fn at(&self) -> &Position {
        &self.at
    }

    /// Whether anything is remembered.
    pub(super) fn are_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Writes the first marks, and a key if there is none. The key comes last: with it
    /// there must be heads.
    fn start(&mut self, paths: &Paths, key: Option<Key>, lost: u64) -> std::io::Result<()> {
        let (key, text) = if let Some(key) = key {
            (key, None)
        } else {
            let (key, text) = Key::generate()?;
            (key, Some(text))
        };
        // Marks of an earlier beginning are none of this one's.
        self.file.file.set_len(0)?;
        let begin = Mark {
            count: lost,
            ..self.mark(Kind::Begin)
        };
        let head = self.mark(Kind::Head);
        let mut kept = Kept {
            head: (head, key.write(&head)),
            settling: self.mark(Kind::Settling),
            begin,
            key,
        };
        kept.put(&self.file, begin)?;
        kept.put(&self.file, self.mark(Kind::Settled))?;
        kept.put(&self.file, kept.settling)?;
        kept.put(&self.file, self.mark(Kind::Lost))?;
        kept.put_head(&self.file, head)?;
        self.file.file.sync_data()?;
        if let Some(text) = text {
            let made = make_key(&paths.key, &text);
            match made {
                Ok(()) => {}
                // A node may have its keys where nothing can be written.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::PermissionDenied
                            | std::io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return self.file.file.set_len(0);
                }
                Err(error) => return Err(about(&paths.key, error)),
            }
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// A mark of where the log ends, now.
    fn mark(&self, kind: Kind) -> Mark {
        let (machine, since) = self.began;
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Mark {
            kind,
            at: self.at,
            machine: MachineTime {
                ms: machine.ms.saturating_add(passed),
                ..machine
            },
            count: 0,
        }
    }

    /// Takes in what other processes have written. Answers whether the file that is
    /// being written is another one now.
    pub(super) fn refresh(&mut self) -> std::io::Result<bool> {
        let Some(kept) = &mut self.kept else {
            return Ok(false);
        };
        let Some(written) = self.file.read(Kind::Head as u64)? else {
            return Ok(false);
        };
        if written == kept.head.1 {
            return Ok(false);
        }
        // What was put back, or is no head of ours, does not lead this process astray.
        let newer = kept
            .key
            .read_mark(&written, Kind::Head)
            .filter(|mark| mark.at.lines >= kept.head.0.at.lines);
        let Some(newer) = newer else {
            return Ok(false);
        };
        let is_other = newer.at.file != self.at.file;
        kept.head = (newer, written);
        self.at = newer.at;
        if let Some(settling) = self.file.mark(&kept.key, Kind::Settling)? {
            kept.settling = settling;
        }
        // Somebody may have accepted a loss, and begun anew.
        if let Some(begin) = self.file.mark(&kept.key, Kind::Begin)? {
            kept.begin = begin;
        }
        Ok(is_other)
    }

    /// Goes to the end of `file`, past what processes wrote there that were stopped
    /// before they wrote the head. Answers whether it ends within a line.
    pub(super) fn catch_up(
        &mut self,
        file: &File,
        length: u64,
        max_gap: u64,
    ) -> std::io::Result<bool> {
        if length == self.at.bytes {
            return Ok(false);
        }
        if length > self.at.bytes && length - self.at.bytes <= max_gap {
            self.at.pass_all(file, length)?;
            return Ok(self.at.bytes < length);
        }
        // It was cut, or is another file. What follows is joined to what was there
        // before, and so shows it.
        self.at.bytes = length;
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        Ok(last != [b'\n'])
    }

    /// Remembers a line that was written whole, after [`Heads::catch_up`].
    pub(super) fn pass(&mut self, line: Digest, bytes: u64) -> std::io::Result<()> {
        self.at.pass(line, bytes);
        self.remember()
    }

    /// The same for whatever lines `file` ends with now.
    pub(super) fn pass_all(&mut self, file: &File) -> std::io::Result<()> {
        let length = file.metadata()?.len();
        self.at.pass_all(file, length)?;
        self.remember()
    }

    fn remember(&mut self) -> std::io::Result<()> {
        let head = self.mark(Kind::Head);
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let settled_after = u64::try_from(SETTLED_AFTER.as_millis()).unwrap_or(u64::MAX);
        let settling = kept.settling;
        let is_settled = settling.machine.boot == head.machine.boot
            && head.machine.ms.saturating_sub(settling.machine.ms) >= settled_after;
        if is_settled {
            let settled = Mark {
                kind: Kind::Settled,
                ..settling
            };
            kept.put(&self.file, settled)?;
            kept.settling = Mark {
                kind: Kind::Settling,
                ..kept.head.0
            };
            kept.put(&self.file, kept.settling)?;
        }
        kept.put_head(&self.file, head)
    }

    /// Remembers that the file is full, once it has its number.
    pub(super) fn close_file(&mut self) -> std::io::Result<()> {
        let closed = self.mark(Kind::Closed);
        self.at = self.at.next_file();
        let head = self.mark(Kind::Head);
        if let Some(kept) = &mut self.kept {
            kept.put(&self.file, closed)?;
            kept.put_head(&self.file, head)?;
        }
        Ok(())
    }

    /// Takes to its end what a process had begun that was stopped: the file has its
    /// number, and the head does not know it yet.
    fn finish_file(&mut self, paths: &Paths, max_gap: u64) -> std::io::Result<()> {
        let path = files::numbered(&paths.log, self.at.file);
        let Some(full) = files::open_if_there(&path).map_err(|error| about(&path, error))? else {
            return Ok(());
        };
        let length = full.metadata()?.len();
        let present = std::fs::metadata(&paths.log).map_or(0, |metadata| metadata.len());
        // A file that somebody put there does not end the present one.
        if length < self.at.bytes || present > 0 {
            return Ok(());
        }
        self.catch_up(&full, length, max_gap)?;
        self.close_file()
    }

    /// After a start of the machine, the log may end before its head: whatever of it
    /// was not settled counts as lost then.
    fn look_after_a_start(&mut self, paths: &Paths) -> std::io::Result<()> {
        let now = self.mark(Kind::Head).machine;
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let head = kept.head.0;
        if head.machine.boot == now.boot {
            return Ok(());
        }
        let Some(settled) = self.file.mark(&kept.key, Kind::Settled)? else {
            return Ok(());
        };
        let Some(settled) =
            self.file
                .settled_in(paths, &kept.key, &kept.begin, settled.at, head.at.file)?
        else {
            return Ok(());
        };
        let log = files::open_if_there(&paths.log).map_err(|error| about(&paths.log, error))?;
        let length = match &log {
            Some(log) => log.metadata()?.len(),
            None => 0,
        };
        let Some(found) = settled_part(&settled, &head.at, log.as_ref(), length)? else {
            return Ok(());
        };
        if found != head.at {
            let before = self.file.mark(&kept.key, Kind::Lost)?;
            let lost = Mark {
                kind: Kind::Lost,
                at: found,
                count: before
                    .map_or(0, |mark| mark.count)
                    .saturating_add(head.at.lines - found.lines),
                ..head
            };
            kept.put(&self.file, lost)?;
        }
        self.at = found;
        let head = self.mark(Kind::Head);
        match &mut self.kept {
            Some(kept) => kept.settle(&self.file, head),
            None => Ok(()),
        }
    }
}

/// What of the log is there after a start of the machine: it leads from what was
/// settled to the head, or ends before it. `None` if it is anything else.
pub(super) fn settled_part(
    settled: &Position,
    head: &Position,
    log: Option<&File>,
    length: u64,
) -> std::io::Result<Option<Position>> {
    let end = length.min(head.bytes);
    let in_order = settled.file == head.file && settled.lines <= head.lines && settled.bytes <= end;
    if !in_order {
        return Ok(None);
    }
    let mut found = *settled;
    if let Some(log) = log {
        found.pass_all(log, end)?;
    }
    let is_whole = found == *head;
    let is_begun = length < head.bytes && found.lines <= head.lines;
    Ok((is_whole || is_begun).then_some(found))
}

impl Kept {
    /// Reads what is remembered; `None` if it is not there, or not as it was written.
    fn read(file: &HeadFile, key: &Key) -> std::io::Result<Option<Self>> {
        let begin = file.mark(key, Kind::Begin)?;
        let head = file.mark(key, Kind::Head)?;
        let (Some(begin), Some(head)) = (begin, head) else {
            return Ok(None);
        };
        // Without it, settling begins anew.
        let settling = file.mark(key, Kind::Settling)?.unwrap_or(Mark {
            kind: Kind::Settling,
            ..head
        });
        Ok(Some(Kept {
            head: (head, key.write(&head)),
            key: key.clone(),
            begin,
            settling,
        }))
    }

    fn put(&self, file: &HeadFile, mark: Mark) -> std::io::Result<()> {
        let index = match mark.kind {
            Kind::Closed => closed_index(&self.begin, mark.at.file)
                .ok_or_else(|| std::io::Error::other("the heads begin after it"))?,
            kind => kind as u64,
        };
        let written = self.key.write(&mark);
        file.file.write_all_at(&written, index * MARK_BYTES)
    }

    fn put_head(&mut self, file: &HeadFile, head: Mark) -> std::io::Result<()> {
        let written = self.key.write(&head);
        let index = Kind::Head as u64;
        file.file.write_all_at(&written, index * MARK_BYTES)?;
        self.head = (head, written);
        Ok(())
    }

    /// Remembers a head of which all is on the disk.
    fn settle(&mut self, file: &HeadFile, head: Mark) -> std::io::Result<()> {
        self.settling = Mark {
            kind: Kind::Settling,
            ..head
        };
        self.put_head(file, head)?;
        self.put(file, self.settling)?;
        self.put(
            file,
            Mark {
                kind: Kind::Settled,
                ..head
            },
        )
    }
}

/// Writes a key down, whole or not at all.
fn make_key(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("key.new");
    // One that was left behind by a process that was stopped.
    let _ = std::fs::remove_file(&unfinished);
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&unfinished, path));
    if made.is_err() {
        let _ = std::fs::remove_file(&unfinished);
        return made;
    }
    sync_directory(path)
}

/// Fsyncs the names in the directory of a file.
pub(super) fn sync_directory(file: &Path) -> std::io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Forgets what was remembered of a log, and begins anew where it ends now, under the lock.
/// `note` is told the key and the end, which it may give a higher number, and notes it
/// before anything is forgotten.
pub(super) fn begin_anew<T>(
    paths: &Paths,
    clock: &dyn Clock,
    note: impl FnOnce(&Key, &mut Position) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let failed = |error| about(&paths.key, error);
    let file = HeadFile::open(&paths.heads)?;
    let _held = file.lock()?;
    let key = if let Some(key) = Key::read(&paths.key).map_err(failed)? {
        key
    } else {
        let (key, text) = Key::generate()?;
        make_key(&paths.key, &text).map_err(failed)?;
        key
    };
    let known = file.mark(&key, Kind::Head)?.map(|head| head.at);
    let mut heads = Heads {
        file,
        kept: None,
        at: Position {
            file: 1,
            bytes: 0,
            // Processes that remember more go on with the new heads.
            lines: known.map_or(0, |known| known.lines),
            digest: Digest::from([0; 32]),
            last: None,
        },
        began: (MachineTime::of(clock.uptime()), Instant::now()),
    };
    heads.at = end_of_log(paths, heads.at)?;
    heads.at.file = heads.at.file.max(known.map_or(1, |known| known.file));
    let noted = note(&key, &mut heads.at)?;
    heads.start(paths, Some(key), 0)?;
    Ok(noted)
}

/// Where the log ends if nothing is remembered of it: what is there is taken as it is.
fn end_of_log(paths: &Paths, mut at: Position) -> std::io::Result<Position> {
    let log = files::log_files(&paths.log)?;
    let newest = log.iter().filter_map(|file| file.number).max();
    at.file = newest.map_or(1, |number| number + 1);
    for file in log.iter().rev() {
        let opened = files::open_to_read(&file.path).map_err(|error| about(&file.path, error))?;
        let (line, end) = last_line(&opened, opened.metadata()?.len())?;
        if file.number.is_none() {
            at.bytes = end;
        }
        if let Some(line) = line {
            at.last = Some(Digest::of(&line));
            break;
        }
    }
    Ok(at)
}

/// The most that a writer reads of what it did not write itself: no file is longer, but
/// for a record.
pub(super) fn max_gap(max_bytes: u64) -> u64 {
    let longest = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    max_bytes.min(MAX_GAP_BYTES).saturating_add(longest)
}

fn check_private(path: &Path, file: &File) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(std::io::Error::other(format!(
            "{shown} is not a regular file; move it away"
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(std::io::Error::other(format!(
            "others can use {shown}; run: chmod 600 {shown}"
        )));
    }
    Ok(())
}
