//! Nodes of the document tree, from an untrusted database.
//!
//! The parser and the checks are in the store: [`entail::store::fuzzing::tree_node`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| entail::store::fuzzing::tree_node(data));
