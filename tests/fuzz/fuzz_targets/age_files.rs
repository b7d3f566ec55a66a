//! age files: sealed secrets from an untrusted database, and a passphrase-protected
//! identity.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::age_file`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::age_file(data));
