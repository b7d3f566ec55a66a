//! The allocator of the component: a fixed arena inside the initial memory.
//!
//! Growing a memory costs the host a change of its memory map, for each call
//! twice; an arena that is there from the start costs nothing until a page of
//! it is touched. What a call allocates is freed when it ends, so a host may
//! also keep one instance for any number of calls. Facts too large for the arena
//! end the call with a trap, which a host answers with a refusal.

use core::mem::MaybeUninit;

/// Sixteen times what a chain of 8 scopes with 64 credentials each needs.
const ARENA_BYTES: usize = 4 * 1024 * 1024;

#[global_allocator]
#[allow(unsafe_code)] // the one place: handing the arena to the allocator
static ALLOCATOR: talc::wasm::WasmArenaTalc = {
    static mut ARENA: [MaybeUninit<u8>; ARENA_BYTES] = [MaybeUninit::uninit(); ARENA_BYTES];
    // SAFETY: nothing but the allocator ever refers to ARENA, and a component
    // instance has one thread.
    unsafe { talc::wasm::new_wasm_arena_allocator(&raw mut ARENA) }
};
