//! Signed documents, as they lie in a database that anybody may have written to.
//!
//! What reads them is the store's own, and so are the checks, which stand beside
//! it as assertions: [`entail::store::fuzzing::document`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::document(data));
