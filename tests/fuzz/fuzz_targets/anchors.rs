//! The anchor: the small file outside the database that remembers how far the
//! journal had come, and that may be cut short or come from elsewhere.
//!
//! What reads it is the store's own, and so are the checks, which stand beside it
//! as assertions: [`entail::store::fuzzing::anchor`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::anchor(data));
