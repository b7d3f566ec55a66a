//! Shares of a recovery key: text that people keep, copy and type.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::share`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::share(data));
