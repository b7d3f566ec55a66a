//! A cache of compiled code, so that the next process need not compile again.
//!
//! It is a directory with one file for each component and engine, and a file with the key
//! that they are authenticated with. Both may be deleted at any time, and need no backup.
//!
//! # Security
//!
//! The files in the directory are not trusted: an entry that does not authenticate (see
//! [`compiled`](crate::compiled)) is not used, and is replaced. Links are not followed,
//! pipes and devices not read, and reads are bounded. If the directory or the key cannot
//! be used, that is no error: code is then compiled each time.
//!
//! A process with the key can make this program run any code. It is therefore in a file that
//! only its owner can read, outside of the directory.

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
use crate::digest::PolicyDigest;

/// The most bytes of all entries; the oldest are removed beyond it. Enough for hundreds of
/// policies of ordinary size, or a dozen that include an interpreter.
const MAX_BYTES: u64 = 512 << 20;

/// The most bytes of one entry: a larger one would displace all others.
const MAX_ENTRY_BYTES: u64 = MAX_BYTES / 2;

/// The time of an entry that is used is updated when it is older than this, so that
/// entries in use are not the oldest.
const TOUCH_AFTER: Duration = Duration::from_hours(24);

/// A temporary file that is older than this was left by a process that was killed.
const ABANDONED: Duration = Duration::from_hours(1);

/// The suffix of an entry.
const ENTRY: &str = ".code";

/// The suffix of a temporary file.
const TEMPORARY_SUFFIX: &str = ".new";

/// Files of earlier versions in the directory: names, and prefixes of names.
const FORMER_NAMES: [&str; 2] = ["modules", "compiled"];
const FORMER_PREFIXES: [&str; 2] = ["trial-", ".cleanup."];

/// The mode of the directory, and the bits that it must not have.
const DIRECTORY_MODE: Mode = Mode::RWXU;
const OTHERS_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);

/// The mode of files, and the bits that the key must not have.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// A cache of compiled code. A clone is the same one.
#[derive(Clone)]
pub struct CodeCache {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    key_file: PathBuf,
    /// Read when it is first needed; `None` inside if there is none.
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
    /// A cache in `directory`, authenticated with the key in `key_file`. Both are created
    /// when they are first needed, private to their owner; their parent directories are
    /// not. The key must not be in the directory: a process that could replace the entries
    /// could then replace the key.
    pub fn new(directory: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        CodeCache {
            inner: Arc::new(Inner {
                directory: directory.into(),
                key_file: key_file.into(),
                key: OnceLock::new(),
            }),
        }
    }

    /// Returns the code of a component for an engine, and the limits that it was compiled
    /// under.
    pub(crate) fn find(
        &self,
        component: PolicyDigest,
        compatibility: Compatibility,
    ) -> Option<(Code, CompileLimits)> {
        let directory = open_directory(&self.inner.directory)?;
        let name = entry_name(component, compatibility);
        let (file, found) = open_file(&directory, name.as_ref())?;
        let entry = read(&file, &found, MAX_ENTRY_BYTES)?;
        let opened = Code::open(self.key()?, component, compatibility, entry)?;
        update_time(&file);
        Some(opened)
    }

    /// Stores the code of a component for an engine, if possible. Replaces an older entry.
    pub(crate) fn store(
        &self,
        component: PolicyDigest,
        compatibility: Compatibility,
        code: &Code,
        limits: CompileLimits,
    ) {
        let Some(key) = self.key() else { return };
        let entry = code.entry(key, component, compatibility, limits);
        if u64::try_from(entry.len()).is_ok_and(|bytes| bytes > MAX_ENTRY_BYTES) {
            return;
        }
        // If this fails, the directory exists already, or opening it fails below.
        let _ = mkdir(&self.inner.directory, DIRECTORY_MODE);
        let Some(directory) = open_directory(&self.inner.directory) else {
            return;
        };
        let name = entry_name(component, compatibility);
        if self.write(&directory, &name, &entry).is_some() {
            self.clean_up(&directory, name.as_ref());
        }
    }

    /// Writes an entry; readers find the old one or the new one.
    fn write(&self, directory: &File, name: &str, entry: &[u8]) -> Option<()> {
        let temporary = write_temporary(directory, name, entry)?;
        let rename = || renameat(directory, &temporary, directory, name);
        let renamed = rename().or_else(|_| {
            // A rename replaces anything but a directory.
            remove(&self.inner.directory.join(name));
            rename()
        });
        if renamed.is_err() {
            let _ = unlinkat(directory, &temporary, AtFlags::empty());
        }
        renamed.ok()
    }

    /// Removes files of earlier versions and killed processes, and the oldest entries beyond
    /// [`MAX_BYTES`]. Keeps `written`.
    fn clean_up(&self, directory: &File, written: &OsStr) {
        let mut entries: Vec<(SystemTime, u64, Vec<u8>)> = Vec::new();
        for found in Dir::read_from(directory).into_iter().flatten().flatten() {
            let name = OsStr::from_bytes(found.file_name().to_bytes());
            let Some(text) = name.to_str() else { continue };
            let is_former = |prefix: &&str| text.starts_with(prefix);
            if FORMER_NAMES.contains(&text) || FORMER_PREFIXES.iter().any(is_former) {
                remove(&self.inner.directory.join(name));
                continue;
            }
            let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let changed = changed(&stat);
            if text.ends_with(TEMPORARY_SUFFIX) && is_older(changed, ABANDONED) {
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

/// The file name of an entry. Nothing relies on it: the content of the entry is
/// authenticated.
fn entry_name(component: PolicyDigest, compatibility: Compatibility) -> String {
    let digest = component.to_string().replace(':', "-");
    format!("{digest}-{:016x}{ENTRY}", compatibility.short())
}

/// Opens a directory of this user that no other user can write to.
fn open_directory(path: &Path) -> Option<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = openat(CWD, path, flags, Mode::empty()).ok()?;
    let stat = fstat(&directory).ok()?;
    (is_own(&stat) && !has(&stat, OTHERS_WRITE)).then(|| directory.into())
}

/// Opens a regular file of this user, without blocking.
fn open_file(directory: impl AsFd, name: &OsStr) -> Option<(File, Stat)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
    let file = openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    (is_file && is_own(&stat)).then(|| (file.into(), stat))
}

fn has(stat: &Stat, bits: Mode) -> bool {
    Mode::from_raw_mode(stat.st_mode).intersects(bits)
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

/// Reads an opened file, if it is not longer than `limit`.
fn read(file: &File, found: &Stat, limit: u64) -> Option<Vec<u8>> {
    let size = size(found);
    if size > limit {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn update_time(file: &File) {
    let changed = file.metadata().and_then(|found| found.modified());
    if changed.is_ok_and(|changed| is_older(changed, TOUCH_AFTER)) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Writes a file under a temporary name, and returns the name.
fn write_temporary(directory: impl AsFd, name: &str, bytes: &[u8]) -> Option<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = format!("{name}.{}-{count}{TEMPORARY_SUFFIX}", std::process::id());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let directory = directory.as_fd();
    let open = || openat(directory, temporary.as_str(), flags, FILE_MODE);
    let file = match open() {
        Ok(file) => file,
        // Left by a killed process with the same id.
        Err(rustix::io::Errno::EXIST) => {
            unlinkat(directory, temporary.as_str(), AtFlags::empty()).ok()?;
            open().ok()?
        }
        Err(_) => return None,
    };
    if File::from(file).write_all(bytes).is_err() {
        let _ = unlinkat(directory, temporary.as_str(), AtFlags::empty());
        return None;
    }
    Some(temporary)
}

/// Removes a file, or a directory with its contents; does not follow links.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
}

fn read_key(file: &Path) -> Option<Key> {
    let (mut file, found) = open_file(CWD, file.as_os_str())?;
    if has(&found, OTHERS) || usize::try_from(found.st_size) != Ok(KEY_BYTES) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(bytes.as_mut_slice()).ok()?;
    Some(Key::new(bytes))
}

/// Makes a key, unless another process has made one meanwhile; replaces one that cannot be
/// used.
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
    let temporary = write_temporary(&directory, name, bytes.as_slice())?;
    let temporary = temporary.as_str();
    let linked = linkat(&directory, temporary, &directory, name, AtFlags::empty());
    let made = match linked {
        Ok(()) => Some(Key::new(bytes)),
        // If two processes replace it at the same time, the second key stays; entries that
        // were made with the first are replaced later.
        Err(rustix::io::Errno::EXIST) => read_key(file).or_else(|| {
            renameat(&directory, temporary, &directory, name)
                .is_ok()
                .then(|| Key::new(bytes))
        }),
        Err(_) => None,
    };
    let _ = unlinkat(&directory, temporary, AtFlags::empty());
    made
}
