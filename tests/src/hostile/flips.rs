//! The built-in policy with some bits changed. The effects are unknown, but must be
//! contained.

use fastrand::Rng;

use super::{BUILT_IN, Case, Expected};

const SEED: u64 = 4;
const ONE_BIT: usize = 56;
const SOME_BYTES: usize = 24;

pub(super) fn cases() -> Vec<Case> {
    let mut random = Rng::with_seed(SEED);
    let mut cases = Vec::new();
    let mut flipped = std::collections::BTreeSet::new();
    while cases.len() < ONE_BIT {
        let mut bytes = BUILT_IN.to_vec();
        // Not in the preamble, which has separate cases.
        let at = random.usize(8..bytes.len());
        let bit = random.u8(0..8);
        bytes[at] ^= 1 << bit;
        if flipped.insert((at, bit)) {
            let name = format!("flip/bit {bit} of byte {at}");
            cases.push(Case::new(name, bytes, Expected::Contained));
        }
    }
    for number in 0..SOME_BYTES {
        let mut bytes = BUILT_IN.to_vec();
        let count = 1 << (number % 6);
        for _ in 0..count {
            let at = random.usize(8..bytes.len());
            bytes[at] = random.u8(..);
        }
        let name = format!("flip/{count} bytes at random, {number}");
        cases.push(Case::new(name, bytes, Expected::Contained));
    }
    cases
}
