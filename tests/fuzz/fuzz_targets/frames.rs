//! Frames of sealed secrets: what comes out of an age file that anybody may have
//! made who knows a recipient.
//!
//! What reads them is the store's own, and so are the checks, which stand beside
//! it as assertions: [`entail::store::fuzzing::frame`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::frame(data));
