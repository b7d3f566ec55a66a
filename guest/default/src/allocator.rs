//! The allocator of the component: a fixed arena inside the initial memory, used
//! from its start on and taken back as a whole when nothing of it is in use.
//!
//! What a call allocates is freed when it ends, so each call starts with an empty
//! arena, and a host may keep one instance for any number of calls. Growing a
//! memory costs the host a change of its memory map, for each call twice; an
//! arena that is there from the start costs nothing until a page of it is
//! touched, and touching them in order keeps them few. Facts too large for the
//! arena end the call with a trap, which a host answers with a refusal.
//!
//! This is the one place with `unsafe` among the sources of the policy.

#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr;

/// Sixteen times what a chain of 8 scopes with 64 credentials each needs.
const ARENA_BYTES: usize = 4 * 1024 * 1024;

#[global_allocator]
static ARENA: Arena = Arena {
    memory: UnsafeCell::new([MaybeUninit::uninit(); ARENA_BYTES]),
    used: Cell::new(0),
    live: Cell::new(0),
};

struct Arena {
    memory: UnsafeCell<[MaybeUninit<u8>; ARENA_BYTES]>,
    /// Where the part that was handed out ends.
    used: Cell<usize>,
    /// How many allocations have not been freed.
    live: Cell<usize>,
}

// SAFETY: an instance of a component has one thread.
unsafe impl Sync for Arena {}

impl Arena {
    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Where an allocation lies that was handed out.
    fn offset(&self, allocation: *mut u8) -> usize {
        allocation.addr() - self.start().addr()
    }
}

// SAFETY: what `alloc` returns lies within `memory`, is aligned, and overlaps
// nothing that is in use: it begins at or after `used`, which goes back only to
// the start of the last allocation when that is freed, or to 0 when none is left.
// Nothing here allocates or unwinds.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.start().addr();
        let offset = (start + self.used.get()).next_multiple_of(layout.align()) - start;
        let end = offset.saturating_add(layout.size());
        if end > ARENA_BYTES {
            return ptr::null_mut();
        }
        self.used.set(end);
        self.live.set(self.live.get() + 1);
        // SAFETY: `offset` is within the arena, as `end` is.
        unsafe { self.start().add(offset) }
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        self.live.set(self.live.get() - 1);
        let offset = self.offset(allocation);
        if self.live.get() == 0 {
            self.used.set(0);
        } else if offset + layout.size() == self.used.get() {
            self.used.set(offset);
        }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let offset = self.offset(allocation);
        let end = offset.saturating_add(new_size);
        if offset + layout.size() == self.used.get() && end <= ARENA_BYTES {
            // The last one grows or shrinks where it is.
            self.used.set(end);
            return allocation;
        }
        // SAFETY: the caller keeps the contract of `realloc`: the alignment is a
        // valid one, and `new_size` does not overflow when rounded up to it.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(allocation, moved, layout.size().min(new_size));
                self.dealloc(allocation, layout);
            }
            moved
        }
    }
}
