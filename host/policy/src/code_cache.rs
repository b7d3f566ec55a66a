//! A cache of compiled code, so that the next process need not compile again.
//!
//! A directory with one file for each component and engine, and a file with the key
//! that they are authenticated with. Both may be deleted at any time, and need not be
//! backed up.
//!
//! # Security
//!
//! Nothing in the directory is trusted: what does not fit is not used, is made anew, and
//! takes its place ([`compiled`](crate::compiled) says what fits). Neither a link nor a
//! pipe nor a device is followed, waited for, or read without end. Nor is it an error
//! when the directory or the key cannot be used: then code is compiled each time.
//!
//! Whoever has the key can have this program run any code. So it is in a file that only
//! its owner can use, outside of the directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, linkat, mkdir, openat, renameat,
    statat, unlinkat,
};
use zeroize::Zeroizing;

use crate::compiled::{Code, Compatibility, CompileLimits, KEY_BYTES, Key};
use crate::digest::Digest;

/// Bytes of all entries, at most; then the oldest go. Some hundred policies of ordinary
/// size, or a dozen that bring their language along.
const MAX_BYTES: u64 = 512 << 20;

/// Bytes of one entry, at most; it would leave little room for others.
const MAX_ENTRY_BYTES: u64 = MAX_BYTES / 2;

/// How old the time of an entry may be when it is used: then it is brought up to date, so
/// that entries in use are not the oldest.
const USED: Duration = Duration::from_hours(24);

/// A file that has not been finished by then was left by a process that was stopped.
const ABANDONED: Duration = Duration::from_hours(1);

/// What the name of an entry ends with.
const ENTRY: &str = ".code";

/// What the name of a file that is not finished ends with.
const UNFINISHED: &str = ".new";

/// What earlier versions left in the directory: names, and how names begin.
const FORMER: [&str; 2] = ["modules", "compiled"];
const FORMER_PREFIXES: [&str; 2] = ["trial-", ".cleanup."];

/// The mode of the directory, and the bits that it must not have.
const DIRECTORY_MODE: Mode = Mode::RWXU;
const OTHERS_WRITE: u32 = 0o022;

/// The mode of files, and the bits that the key must not have.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const OTHERS: u32 = 0o077;

/// A cache of compiled code. A clone is the same one.
#[derive(Clone)]
pub struct CodeCache {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    key_file: PathBuf,
    /// Read when it is first needed; none if it cannot be had.
    key: OnceLock<Option<Key>>,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("directory", &self.inner.directory)
            .field("key_file", &self.inner.key_file)
            .finish_non_exhaustive()
    }
}

impl CodeCache {
    /// Keeps code in `directory`, authenticated with the key in `key_file`. Both are made
    /// when they are first needed, for their owner alone; the directories above are not.
    /// The key must not be in the directory: it would authenticate nothing there.
    pub fn new(directory: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        CodeCache {
            inner: Arc::new(Inner {
                directory: directory.into(),
                key_file: key_file.into(),
                key: OnceLock::new(),
            }),
        }
    }

    /// The code of a component for an engine, and what compiling it was allowed to take.
    pub(crate) fn find(
        &self,
        component: Digest,
        compatibility: Compatibility,
    ) -> Option<(Code, CompileLimits)> {
        let directory = open_directory(&self.inner.directory)?;
        let name = entry_name(component, compatibility);
        let (file, found) = open_file(&directory, name.as_ref())?;
        let entry = read(&file, &found, MAX_ENTRY_BYTES)?;
        let opened = Code::open(self.key()?, component, compatibility, entry)?;
        bring_up_to_date(&file);
        Some(opened)
    }

    /// Keeps the code of a component for an engine, in the place of what was there, if
    /// that can be done.
    pub(crate) fn keep(
        &self,
        component: Digest,
        compatibility: Compatibility,
        code: &Code,
        limits: CompileLimits,
    ) {
        let Some(key) = self.key() else { return };
        let entry = code.entry(key, component, compatibility, limits);
        if u64::try_from(entry.len()).is_ok_and(|bytes| bytes > MAX_ENTRY_BYTES) {
            return;
        }
        // Whatever else has its name is for others to mind.
        let _ = mkdir(&self.inner.directory, DIRECTORY_MODE);
        let Some(directory) = open_directory(&self.inner.directory) else {
            return;
        };
        let name = entry_name(component, compatibility);
        if self.write(&directory, &name, &entry).is_some() {
            self.clean_up(&directory, name.as_ref());
        }
    }

    /// Puts an entry in its place; whoever reads finds the old or the new.
    fn write(&self, directory: &File, name: &str, entry: &[u8]) -> Option<()> {
        let unfinished = write_unfinished(directory, name, entry)?;
        let put = || renameat(directory, &unfinished, directory, name);
        let done = put().or_else(|_| {
            // A directory in its place is the only thing that would not give way.
            remove(&self.inner.directory.join(name));
            put()
        });
        if done.is_err() {
            let _ = unlinkat(directory, &unfinished, AtFlags::empty());
        }
        done.ok()
    }

    /// Removes what earlier versions and stopped processes left, and the oldest entries
    /// of too many. `written` stays.
    fn clean_up(&self, directory: &File, written: &OsStr) {
        let mut entries: Vec<(SystemTime, u64, Vec<u8>)> = Vec::new();
        for found in Dir::read_from(directory).into_iter().flatten().flatten() {
            let name = OsStr::from_bytes(found.file_name().to_bytes());
            let Some(text) = name.to_str() else { continue };
            let is_former = |prefix: &&str| text.starts_with(prefix);
            if FORMER.contains(&text) || FORMER_PREFIXES.iter().any(is_former) {
                remove(&self.inner.directory.join(name));
                continue;
            }
            let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let changed = changed(&stat);
            if text.ends_with(UNFINISHED) && is_older(changed, ABANDONED) {
                let _ = unlinkat(directory, name, AtFlags::empty());
            } else if text.ends_with(ENTRY) && name != written {
                entries.push((changed, size(&stat), name.as_bytes().to_vec()));
            }
        }
        let own = statat(directory, written, AtFlags::SYMLINK_NOFOLLOW);
        let mut bytes = own.map_or(0, |stat| size(&stat));
        // The newest first.
        entries.sort_unstable_by(|a, b| b.cmp(a));
        for (_, size, name) in entries {
            bytes = bytes.saturating_add(size);
            if bytes > MAX_BYTES {
                let _ = unlinkat(directory, OsStr::from_bytes(&name), AtFlags::empty());
            }
        }
    }

    fn key(&self) -> Option<&Key> {
        let key = || read_key(&self.inner.key_file).or_else(|| make_key(&self.inner.key_file));
        self.inner.key.get_or_init(key).as_ref()
    }
}

/// The name says for what the code is, but it is what is in the entry that counts.
fn entry_name(component: Digest, compatibility: Compatibility) -> String {
    let digest = component.to_string().replace(':', "-");
    format!("{digest}-{:016x}{ENTRY}", compatibility.short())
}

/// Opens a directory of this user, which nobody else can write.
fn open_directory(path: &Path) -> Option<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = openat(CWD, path, flags, Mode::empty()).ok()?;
    let stat = fstat(&directory).ok()?;
    (is_own(&stat) && stat.st_mode & OTHERS_WRITE == 0).then(|| directory.into())
}

/// Opens an ordinary file of this user, without waiting for anything.
fn open_file(directory: impl AsFd, name: &OsStr) -> Option<(File, Stat)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
    let file = openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    (is_file && is_own(&stat)).then(|| (file.into(), stat))
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

fn changed(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn is_older(time: SystemTime, than: Duration) -> bool {
    SystemTime::now()
        .duration_since(time)
        .is_ok_and(|age| age > than)
}

/// Reads a whole file that was opened, if it is not longer than `limit`.
fn read(file: &File, found: &Stat, limit: u64) -> Option<Vec<u8>> {
    let size = size(found);
    if size > limit {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn bring_up_to_date(file: &File) {
    let changed = file.metadata().and_then(|found| found.modified());
    if changed.is_ok_and(|changed| is_older(changed, USED)) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Writes a file of a name of its own, which is yet to be put in its place.
fn write_unfinished(directory: impl AsFd, name: &str, bytes: &[u8]) -> Option<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let unfinished = format!("{name}.{}-{count}{UNFINISHED}", std::process::id());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let directory = directory.as_fd();
    let open = || openat(directory, unfinished.as_str(), flags, FILE_MODE);
    let file = match open() {
        Ok(file) => file,
        // One that a process of the same number left when it was stopped.
        Err(rustix::io::Errno::EXIST) => {
            unlinkat(directory, unfinished.as_str(), AtFlags::empty()).ok()?;
            open().ok()?
        }
        Err(_) => return None,
    };
    if File::from(file).write_all(bytes).is_err() {
        let _ = unlinkat(directory, unfinished.as_str(), AtFlags::empty());
        return None;
    }
    Some(unfinished)
}

/// Removes a file, or a directory with all that is in it; a link is not followed.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
}

fn read_key(file: &Path) -> Option<Key> {
    let (mut file, found) = open_file(CWD, file.as_os_str())?;
    if found.st_mode & OTHERS != 0 || usize::try_from(found.st_size) != Ok(KEY_BYTES) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(bytes.as_mut_slice()).ok()?;
    Some(Key::new(bytes))
}

/// Makes a key, unless another process has made one meanwhile; one that cannot be used is
/// replaced.
fn make_key(file: &Path) -> Option<Key> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).ok()?;
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = file.file_name()?.to_str()?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = openat(CWD, parent, flags, Mode::empty()).ok()?;
    let unfinished = write_unfinished(&directory, name, bytes.as_slice())?;
    let unfinished = unfinished.as_str();
    let linked = linkat(&directory, unfinished, &directory, name, AtFlags::empty());
    let made = match linked {
        Ok(()) => Some(Key::new(bytes)),
        // Of two that replace one at the same time, the second one counts; what was
        // authenticated with the first is made anew.
        Err(rustix::io::Errno::EXIST) => read_key(file).or_else(|| {
            renameat(&directory, unfinished, &directory, name)
                .is_ok()
                .then(|| Key::new(bytes))
        }),
        Err(_) => None,
    };
    let _ = unlinkat(&directory, unfinished, AtFlags::empty());
    made
}
