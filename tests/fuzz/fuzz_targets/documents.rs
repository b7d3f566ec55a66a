//! Documents, from an untrusted database.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::document`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::document(data));
