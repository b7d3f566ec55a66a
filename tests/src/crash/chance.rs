//! The choices that decide what survives.

use std::ops::Range;

use super::Fate;

/// What disks write whole or not at all.
const SECTOR: usize = 512;

/// What becomes of one unsynced change to the contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Survival {
    Whole,
    Lost,
    /// Its bytes are lost, but the file is as long as if they were there.
    Length,
    /// Only these of its bytes.
    Part(Range<usize>),
}

/// Chooses, for one image.
#[derive(Debug)]
pub(super) struct Chance {
    fate: Fate,
    choices: fastrand::Rng,
    /// How likely a change is to survive whole, in sixteenths. Another one for
    /// each image, so that some lose nearly everything and some nearly nothing.
    odds: u8,
}

impl Chance {
    /// The same seed chooses differently at every point.
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

    /// Whether a file's sync also keeps its name, if it is new.
    pub(super) fn sync_keeps_new_name(&mut self) -> bool {
        match self.fate {
            Fate::NothingUnsynced => false,
            Fate::EverythingUnsynced => true,
            Fate::Random(_) => self.choices.bool(),
        }
    }

    /// How many of so many changes to names.
    pub(super) fn changes_to_names(&mut self, of: usize) -> usize {
        match self.fate {
            Fate::NothingUnsynced => 0,
            Fate::EverythingUnsynced => of,
            Fate::Random(_) => self.choices.usize(..=of),
        }
    }

    /// What is left of a write of so many bytes.
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

    /// Whether a change of length survives.
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

    /// One side of a boundary between sectors, if the write crosses one.
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
