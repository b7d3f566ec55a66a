//! The built-in policy with some of its bits changed. Nobody knows what each of them
//! does; whatever it is must stay within the facts.

use fastrand::Rng;

use super::{BUILT_IN, Case, Expected};

const SEED: u64 = 4;
const ONE_BIT: usize = 56;
const SOME_BYTES: usize = 24;

pub(super) fn cases() -> Vec<Case> {
    let mut chance = Rng::with_seed(SEED);
    let mut cases = Vec::new();
    let mut bytes_taken = std::collections::BTreeSet::new();
    while cases.len() < ONE_BIT {
        let mut bytes = BUILT_IN.to_vec();
        // Not in the preamble: that is a case of its own.
        let at = chance.usize(8..bytes.len());
        let bit = chance.u8(0..8);
        bytes[at] ^= 1 << bit;
        if bytes_taken.insert((at, bit)) {
            let name = format!("flip/bit {bit} of byte {at}");
            cases.push(Case::new(name, bytes, Expected::Contained));
        }
    }
    for number in 0..SOME_BYTES {
        let mut bytes = BUILT_IN.to_vec();
        let count = 1 << (number % 6);
        for _ in 0..count {
            let at = chance.usize(8..bytes.len());
            bytes[at] = chance.u8(..);
        }
        let name = format!("flip/{count} bytes at random, {number}");
        cases.push(Case::new(name, bytes, Expected::Contained));
    }
    cases
}
