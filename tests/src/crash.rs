//! What is left of a folder when power is lost, and what a program does when a
//! system call fails.
//!
//! The program itself runs, unchanged, under strace. [`record`] writes down, in
//! order, what it does to the files below a folder and which lines it writes on
//! standard output: a line there is an acknowledgement, a promise that what was
//! done before it is kept. [`Recording::crash`] then makes the folder that could
//! be found after power was lost at any point. [`run_with_fault`] runs the program
//! while one of its calls on those files fails.
//!
//! A recording promises to be complete: a call that could change the folder and
//! is not understood is an error, and what was recorded, replayed to its end, is
//! compared with the folder that the program left.
//!
//! What survives a loss of power:
//!
//! - The contents of a file, as they were when it was last synced. Each later
//!   write survives, is lost, is lost but has made the file longer, or is torn at
//!   a multiple of 512 bytes; each later change of length survives or is lost.
//!   What survives keeps its order.
//! - A name (made, renamed, linked, removed), once its folder was synced. Of the
//!   later changes to names the first few survive, as they stand in a file
//!   system's journal. POSIX promises no more; ext4 also keeps the name of a new
//!   file, and all changes to names before it, when the file itself is synced. An
//!   image follows one or the other.
//!
//! What it does not promise:
//!
//! - A sector is written whole or not at all, and a write never harms the bytes
//!   beside it. What was synced is never lost: disks that lie are not modelled.
//! - Ownership and times are not kept; modes are, and survive at once. Hard links
//!   become copies. Symbolic links, `O_SYNC`, `copy_file_range`, io_uring and
//!   writable shared mappings are errors.
//! - A rename from one folder into another survives once either was synced.
//! - strace sees when a call begins and ends, not when it takes place between.
//!   Threads that change the same bytes or names at the same moment can so be
//!   written down in the wrong order; the comparison at the end finds that.
//! - A fault fails a whole call and does not do it; short writes are not made.

mod chance;
mod disk;
mod effect;
mod fault;
mod folder;
mod follow;
mod names;
mod processes;
mod strace;
mod trace;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chance::Chance;
use disk::Disk;
use effect::Effect;
pub use fault::{CALLS, Fault, Faulted, run_with_fault};
use follow::Follower;
use strace::Log;

/// What a program did to a folder, and what it acknowledged.
#[derive(Debug)]
pub struct Recording {
    effects: Vec<Effect>,
    /// The disk as it was before the effect of that number, in ascending order.
    keyframes: Vec<(usize, Disk)>,
    names: FileNames,
}

/// The names that files below a folder had, or were looked for, while a program
/// ran; what [`run_with_fault`] aims at.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    /// The program's own number then: a name that holds it holds another one in
    /// the next run.
    process: u32,
    /// Relative to the folder, which is the empty path.
    relative: BTreeSet<PathBuf>,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost, all of it.
    NothingUnsynced,
    /// It survives, all of it.
    EverythingUnsynced,
    /// Each part has its own fate; the number is the seed of the choice.
    Random(u64),
}

/// Runs `command` under strace and records what it and its children do to the
/// files below `folder`, and every line that they write on its standard output.
///
/// What `folder` holds before counts as synced. Of `command` the program, the
/// arguments, the changes to the environment and the current folder are used; its
/// standard input is empty.
///
/// # Errors
///
/// When strace is missing, when `command` fails, when it does to the folder what
/// is not understood here, or when somebody else changes the folder meanwhile.
pub fn record(command: &Command, folder: &Path) -> io::Result<Recording> {
    strace::check()?;
    let before = folder::read(folder)?;
    let mut follower = Follower::new(folder, command, &before)?;
    let log = Log::new();
    let child = strace::recording(command, log.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(output) = &child.stdout {
        // Both ends of a pipe have the same name.
        let link = format!("/proc/self/fd/{}", output.as_raw_fd());
        follower.acknowledge_on(fs::read_link(link)?);
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the recorded program ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    follow_log(&mut follower, log.path())?;
    let (effects, names) = follower.finish();
    let recording = Recording::new(Disk::new(&before), effects, names);
    recording.compare_with(&folder::read(folder)?)?;
    Ok(recording)
}

fn follow_log(follower: &mut Follower, log: &Path) -> io::Result<()> {
    let mut reader = trace::Reader::default();
    for line in BufReader::new(fs::File::open(log)?).lines() {
        if let Some(event) = reader.read(&line?)? {
            follower.follow(event)?;
        }
    }
    Ok(())
}

impl Recording {
    fn new(disk: Disk, effects: Vec<Effect>, names: FileNames) -> Self {
        let mut keyframes = vec![(0, disk.clone())];
        let mut disk = disk;
        let mut cost = 0;
        for (index, effect) in effects.iter().enumerate() {
            disk.apply(index, &effects);
            cost += effect.cost();
            // Often enough that no replay takes longer than to write the image;
            // seldom enough that all of them take about the room of the effects.
            if cost > disk.size() {
                keyframes.push((index + 1, disk.clone()));
                cost = 0;
            }
        }
        Recording {
            effects,
            keyframes,
            names,
        }
    }

    /// At how many points power could be lost: one after each recorded effect.
    pub fn points(&self) -> usize {
        self.effects.len()
    }

    /// The names of the files that the program used.
    pub fn names(&self) -> &FileNames {
        &self.names
    }

    /// What happened at a point, for the message of a test that fails.
    pub fn describe(&self, point: usize) -> String {
        match self.effects.get(point) {
            Some(effect) => effect.describe(),
            None => "nothing".to_owned(),
        }
    }

    /// Makes `into`, an empty folder or none, what the folder could be after power
    /// was lost just after the effect at `point` (from 0). Returns the lines
    /// that were acknowledged by then.
    ///
    /// # Errors
    ///
    /// When there is no such point, when `into` is not empty, or whatever the
    /// system says.
    pub fn crash(&self, point: usize, fate: Fate, into: &Path) -> io::Result<Vec<String>> {
        if point >= self.points() {
            return Err(io::Error::other(format!(
                "there are only {} points, so none has the number {point}",
                self.points()
            )));
        }
        let mut chance = Chance::new(fate, point);
        let image = self.disk(point + 1).survivors(&self.effects, &mut chance);
        folder::write(&image, into)?;
        Ok(self.acknowledged(point))
    }

    /// The disk after so many effects.
    fn disk(&self, after: usize) -> Disk {
        let (next, mut disk) = self
            .keyframes
            .iter()
            .rev()
            .find(|(next, _)| *next <= after)
            .cloned()
            .unwrap_or_default();
        for index in next..after {
            disk.apply(index, &self.effects);
        }
        disk
    }

    fn acknowledged(&self, point: usize) -> Vec<String> {
        self.effects
            .iter()
            .take(point + 1)
            .filter_map(|effect| match effect {
                Effect::Acknowledge(line) => Some(line.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether the recording missed nothing.
    fn compare_with(&self, found: &folder::Image) -> io::Result<()> {
        let mut chance = Chance::new(Fate::EverythingUnsynced, self.points());
        let disk = self.disk(self.points());
        let expected = disk.survivors(&self.effects, &mut chance);
        match expected.difference(found) {
            None => Ok(()),
            Some(path) => Err(io::Error::other(format!(
                "the recording does not explain what {} is now",
                path.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
