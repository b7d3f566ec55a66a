//! Frames of sealed secrets: the plaintext of an age file that anyone who knows a recipient
//! may have created.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::frame`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::frame(data));
