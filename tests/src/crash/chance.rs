//! The random choices of what survives a power loss.

use std::ops::Range;

/// What happens to unsynced changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of them are lost.
    NothingUnsynced,
    /// All of them survive.
    EverythingUnsynced,
    /// Each change survives or not at random, with this seed.
    Random(u64),
}

/// The unit that a disk writes atomically, in bytes.
const SECTOR: usize = 512;

/// What remains of one unsynced change to a file's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Survival {
    Whole,
    Lost,
    /// The bytes are lost, but the file has the length that they would give it.
    Length,
    /// Only this range of its bytes survives.
    Part(Range<usize>),
}

/// The choices for one image.
#[derive(Debug)]
pub(super) struct Chance {
    fate: Fate,
    choices: fastrand::Rng,
    /// The probability that a change survives whole, in sixteenths. It differs between images,
    /// so that some lose nearly everything and some nearly nothing.
    odds: u8,
}

impl Chance {
    /// The same seed gives different choices at each point.
    pub(super) fn new(fate: Fate, point: usize) -> Self {
        let seed = match fate {
            Fate::Random(seed) => seed,
            Fate::NothingUnsynced | Fate::EverythingUnsynced => 0,
        };
        let mut seeds = fastrand::Rng::with_seed(seed);
        let mut choices = fastrand::Rng::with_seed(seeds.u64(..) ^ point as u64);
        let odds = choices.u8(1..16);
        Chance {
            fate,
            choices,
            odds,
        }
    }

    /// Whether syncing a new file also makes its name durable.
    pub(super) fn sync_keeps_new_name(&mut self) -> bool {
        match self.fate {
            Fate::NothingUnsynced => false,
            Fate::EverythingUnsynced => true,
            Fate::Random(_) => self.choices.bool(),
        }
    }

    /// How many of `of` name changes survive.
    pub(super) fn changes_to_names(&mut self, of: usize) -> usize {
        match self.fate {
            Fate::NothingUnsynced => 0,
            Fate::EverythingUnsynced => of,
            Fate::Random(_) => self.choices.usize(..=of),
        }
    }

    /// What remains of a write of `length` bytes.
    pub(super) fn write(&mut self, offset: usize, length: usize) -> Survival {
        match self.fate {
            Fate::NothingUnsynced => Survival::Lost,
            Fate::EverythingUnsynced => Survival::Whole,
            Fate::Random(_) => self.random_write(offset, length),
        }
    }

    fn random_write(&mut self, offset: usize, length: usize) -> Survival {
        if self.survives() {
            return Survival::Whole;
        }
        match self.choices.u8(..4) {
            0 => Survival::Length,
            1 => Survival::Lost,
            _ => self.torn(offset, length),
        }
    }

    /// Whether a change of a file's length survives.
    pub(super) fn resize(&mut self) -> bool {
        match self.fate {
            Fate::NothingUnsynced => false,
            Fate::EverythingUnsynced => true,
            Fate::Random(_) => self.survives(),
        }
    }

    fn survives(&mut self) -> bool {
        self.choices.u8(..16) < self.odds
    }

    /// One side of a sector boundary, if the write crosses one.
    fn torn(&mut self, offset: usize, length: usize) -> Survival {
        let first = offset / SECTOR + 1;
        let end = (offset + length).div_ceil(SECTOR);
        if first >= end {
            return Survival::Lost;
        }
        let boundary = self.choices.usize(first..end) * SECTOR - offset;
        if self.choices.bool() {
            Survival::Part(0..boundary)
        } else {
            Survival::Part(boundary..length)
        }
    }
}
