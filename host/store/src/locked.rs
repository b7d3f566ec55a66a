//! Memory for secrets: separate pages that are not swapped out, not included in core dumps,
//! and not inherited by child processes, as far as the platform supports it.
//!
//! This is the only module of this crate with `unsafe` code. It relies on these invariants:
//!
//! - A [`Locked`] owns one anonymous private mapping until it is dropped. Nobody else has
//!   the pointer.
//! - A slice of the mapping borrows the `Locked`, and is never longer than the mapping.
//! - The mapping is zero-filled, so every byte of it is initialized.

#![allow(unsafe_code)] // see above

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munlock, munmap};
use zeroize::Zeroize as _;

/// How often memory could not be locked.
static LOCK_FAILURES: AtomicUsize = AtomicUsize::new(0);

/// Bytes in separate pages. Zero at first, overwritten on drop.
pub(crate) struct Locked {
    start: NonNull<u8>,
    /// The requested number of bytes.
    length: usize,
    /// The mapped number of bytes: at least one page.
    mapped: usize,
    /// Whether the system locked the pages.
    is_pinned: bool,
}

// SAFETY: this value owns the mapping, like a `Vec<u8>` owns its heap memory; any thread
// can use and unmap it.
unsafe impl Send for Locked {}
// SAFETY: a shared reference only allows reading.
unsafe impl Sync for Locked {}

/// How often memory for a secret could not be locked since this process started. The memory
/// was used anyway. The usual cause is a low `ulimit -l`.
pub fn memory_lock_failures() -> usize {
    LOCK_FAILURES.load(Ordering::Relaxed)
}

impl Locked {
    /// Maps and locks `length` bytes. A failure to lock is not an error: see
    /// [`memory_lock_failures`].
    ///
    /// # Errors
    ///
    /// If no memory can be mapped.
    pub(crate) fn new(length: usize) -> std::io::Result<Self> {
        let mapped = length.max(1).next_multiple_of(rustix::param::page_size());
        // SAFETY: a new mapping at an address that the system chooses does not touch existing
        // memory.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        };
        let pages = start.as_ptr().cast();
        // SAFETY: `mapped` bytes from `start` on are the mapping that was just created; neither
        // call changes its contents. An older kernel rejects advice that it does not know.
        let is_pinned = unsafe {
            let _ = madvise(pages, mapped, Advice::LinuxDontDump);
            let _ = madvise(pages, mapped, Advice::LinuxWipeOnFork);
            mlock(pages, mapped).is_ok()
        };
        if !is_pinned {
            LOCK_FAILURES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Locked {
            start,
            length,
            mapped,
            is_pinned,
        })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping has at least `length` initialized bytes, lives as long as `self`,
        // and is not written while `self` is shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.as_mut_slice().zeroize();
        let pages = self.start.as_ptr().cast();
        // SAFETY: `new` created the mapping with this length, and it is not used afterwards.
        unsafe {
            if self.is_pinned {
                let _ = munlock(pages, self.mapped);
            }
            let _ = munmap(pages, self.mapped);
        }
    }
}

/// Takes ownership of a file descriptor that this process inherited; it is closed when the
/// file is dropped. `None` for the three standard descriptors and for one that is not open.
pub fn inherited_file(number: i32) -> Option<std::fs::File> {
    use std::os::fd::{FromRawFd as _, OwnedFd};
    if number <= 2 {
        return None;
    }
    // SAFETY: the descriptor is only queried; the borrow ends immediately.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(borrowed).ok()?;
    // SAFETY: it is open, and the caller names a descriptor that was passed to this process
    // for this purpose, so nothing else in the process owns it.
    Some(std::fs::File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_memory_is_zero_and_writable() {
        let mut memory = Locked::new(5000).unwrap();
        assert!(memory.as_slice().iter().all(|byte| *byte == 0));
        memory.as_mut_slice().fill(7);
        assert_eq!(memory.as_slice(), vec![7; 5000]);
    }

    #[test]
    fn pages_are_locked_and_excluded_from_core_dumps() {
        let memory = Locked::new(1).unwrap();
        let address = format!("{:x}-", memory.start.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.contains(&address));
        // The system may have merged the mapping into a larger one.
        let Some(flags) = lines.find_map(|line| line.strip_prefix("VmFlags:")) else {
            return;
        };
        assert!(flags.contains(" dd"), "{flags}");
        if memory_lock_failures() == 0 {
            assert!(flags.contains(" lo"), "{flags}");
        }
    }
}
