//! The exports: texts are UTF-8 in the memory of the module, each with its address and length.
//!
//! Only this module has `unsafe` code.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};

/// The version of these exports.
const ABI: u32 = 1;

/// Returns the version of the exports, 1.
#[unsafe(no_mangle)]
extern "C" fn entail_abi() -> u32 {
    ABI
}

/// Allocates `length` bytes for a text, and returns their address; 0 if there is no memory.
#[unsafe(no_mangle)]
extern "C" fn entail_allocate(length: usize) -> *mut u8 {
    match layout(length) {
        // SAFETY: the layout has a size.
        Some(layout) => unsafe { alloc(layout) },
        None => std::ptr::null_mut(),
    }
}

/// Frees a text: one that the host allocated, or an answer.
///
/// # Safety
///
/// The text is at that address with that length, and is not used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn entail_free(text: *mut u8, length: usize) {
    if let Some(layout) = layout(length)
        && !text.is_null()
    {
        // SAFETY: the caller got it with this length from `entail_allocate`, or it is an answer,
        // which `give` allocated with the same layout.
        unsafe { dealloc(text, layout) }
    }
}

/// Resolves a request on a bundle. The result has the address of the answer in its upper 32 bits,
/// and its length in the lower; 0 if there is no memory. The host frees all three texts.
///
/// # Safety
///
/// Both texts are at their addresses with these lengths.
#[unsafe(no_mangle)]
unsafe extern "C" fn entail_resolve(
    bundle: *const u8,
    bundle_length: usize,
    request: *const u8,
    request_length: usize,
) -> u64 {
    // SAFETY: as the caller promises.
    let (bundle, request) = unsafe { (text(bundle, bundle_length), text(request, request_length)) };
    give(&entail_bundle::answer_bytes(bundle, request))
}

/// # Safety
///
/// There are `length` bytes at that address.
unsafe fn text<'a>(address: *const u8, length: usize) -> &'a [u8] {
    if address.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(address, length) }
}

/// Copies an answer for the host, and returns its address and length.
fn give(answer: &str) -> u64 {
    let address = entail_allocate(answer.len());
    if address.is_null() {
        return 0;
    }
    // SAFETY: there are as many bytes at that address, and nothing else uses them.
    unsafe { std::ptr::copy_nonoverlapping(answer.as_ptr(), address, answer.len()) };
    (address.addr() as u64) << 32 | answer.len() as u64
}

fn layout(length: usize) -> Option<Layout> {
    Layout::array::<u8>(length.max(1)).ok()
}
