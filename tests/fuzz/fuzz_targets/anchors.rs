//! The anchor: the small file outside the database that records the newest journal entry.
//! It may be truncated or come from elsewhere.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::anchor`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::anchor(data));
