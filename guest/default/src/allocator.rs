//! The allocator of the component: a fixed arena in the initial memory that is used
//! from its start and reset when nothing in it is in use.
//!
//! All memory of a call is freed when the call ends, so each call starts with an
//! empty arena, and a host may use one instance for any number of calls. Growing a
//! memory makes the host change its memory mappings, twice for each call. An arena in
//! the initial memory costs nothing until one of its pages is touched, and touching
//! them in order keeps their number small. If the facts do not fit in the arena, the
//! call traps, and the host refuses the request.
//!
//! Only this module of the policy has `unsafe` code.

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
    /// The end of the allocated part.
    used: Cell<usize>,
    /// The number of allocations that are not freed.
    live: Cell<usize>,
}

// SAFETY: an instance of a component has one thread.
unsafe impl Sync for Arena {}

impl Arena {
    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// The offset of an allocation.
    fn offset(&self, allocation: *mut u8) -> usize {
        allocation.addr() - self.start().addr()
    }
}

// SAFETY: an allocation is within `memory`, is aligned, and overlaps no other
// allocation: it begins at or after `used`, which decreases only to the start of the
// last allocation when that is freed, or to 0 when no allocation is left. No function
// here allocates or unwinds.
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
            // The last allocation grows or shrinks in place.
            self.used.set(end);
            return allocation;
        }
        // SAFETY: the caller satisfies the contract of `realloc`: the alignment is
        // valid, and `new_size` does not overflow when rounded up to it.
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
