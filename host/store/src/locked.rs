//! Memory for secrets: pages of their own that are not swapped out, not in a core
//! dump, and not in a child process, as far as the platform allows.
//!
//! The one place of the host with `unsafe` code of its own. What it rests on:
//!
//! - A [`Locked`] owns one anonymous, private mapping, from its making to its drop;
//!   nobody else has the pointer, and it is not handed out.
//! - A slice of it is only lent for as long as the `Locked` is borrowed, shared or
//!   exclusively, and is never longer than the mapping.
//! - The mapping begins as zeros, so every byte of it is initialised.

#![allow(unsafe_code)] // see above

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munlock, munmap};
use zeroize::Zeroize as _;

/// How many times memory could not be locked.
static NOT_LOCKED: AtomicUsize = AtomicUsize::new(0);

/// Bytes in pages of their own. They begin as zeros and are overwritten on drop.
pub(crate) struct Locked {
    start: NonNull<u8>,
    /// What was asked for.
    length: usize,
    /// What is mapped: at least one page.
    mapped: usize,
    stays: bool,
}

// SAFETY: the mapping belongs to this value alone, like the heap memory of a
// `Vec<u8>`: it can be used and unmapped from any thread.
unsafe impl Send for Locked {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for Locked {}

/// How many times memory for a secret could not be locked, since this process
/// began; it was used nevertheless. The usual cause is a low `ulimit -l`.
pub fn times_not_locked() -> usize {
    NOT_LOCKED.load(Ordering::Relaxed)
}

impl Locked {
    /// Maps and locks `length` bytes. That they cannot be locked is no error: see
    /// [`times_not_locked`].
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub(crate) fn new(length: usize) -> std::io::Result<Self> {
        let mapped = length.max(1).next_multiple_of(rustix::param::page_size());
        // SAFETY: a new mapping at a place of the system's choosing touches nothing
        // that is in use.
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
        // SAFETY: `mapped` bytes from `start` on are the mapping that was just made;
        // neither call changes what is in it. Advice that an older kernel does not
        // know, it refuses.
        let stays = unsafe {
            let _ = madvise(pages, mapped, Advice::LinuxDontDump);
            let _ = madvise(pages, mapped, Advice::LinuxWipeOnFork);
            mlock(pages, mapped).is_ok()
        };
        if !stays {
            NOT_LOCKED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Locked {
            start,
            length,
            mapped,
            stays,
        })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping has at least `length` initialised bytes, lives as long
        // as `self`, and is not written while `self` is shared.
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
        // SAFETY: the mapping was made by `new` with this length, and nobody can
        // use it after this.
        unsafe {
            if self.stays {
                let _ = munlock(pages, self.mapped);
            }
            let _ = munmap(pages, self.mapped);
        }
    }
}

/// Takes over a file descriptor that this process was started with; it is closed
/// when the file is dropped. None for the three standard ones and for one that is
/// not open.
pub fn inherited_file(number: i32) -> Option<std::fs::File> {
    use std::os::fd::{FromRawFd as _, OwnedFd};
    if number <= 2 {
        return None;
    }
    // SAFETY: the number is only asked about; the borrow ends at once.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(borrowed).ok()?;
    // SAFETY: it is open, and the caller names a descriptor that was handed to this
    // process for this purpose, so nothing in it owns it.
    Some(std::fs::File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_at_first_and_keeps_what_is_written() {
        let mut memory = Locked::new(5000).unwrap();
        assert!(memory.as_slice().iter().all(|byte| *byte == 0));
        memory.as_mut_slice().fill(7);
        assert_eq!(memory.as_slice(), vec![7; 5000]);
    }

    #[test]
    fn its_pages_are_locked_and_left_out_of_core_dumps() {
        let memory = Locked::new(1).unwrap();
        let address = format!("{:x}-", memory.start.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.contains(&address));
        // The system may show it as a part of a larger one; then there is another
        // test that sees it.
        let Some(flags) = lines.find_map(|line| line.strip_prefix("VmFlags:")) else {
            return;
        };
        assert!(flags.contains(" dd"), "{flags}");
        if times_not_locked() == 0 {
            assert!(flags.contains(" lo"), "{flags}");
        }
    }
}
