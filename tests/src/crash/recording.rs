//! Recordings of what a program does to a directory, and crashes at any point of them.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::chance::{Chance, Fate};
use super::disk::Disk;
use super::effect::Effect;
use super::effect_recorder::EffectRecorder;
use super::file_names::FileNames;
use super::image::{self, Image};
use super::strace::{self, Log};
use super::trace;

/// What a program did to a directory, and what it acknowledged.
#[derive(Debug)]
pub struct Recording {
    pub(super) effects: Vec<Effect>,
    /// The disk before the effect with that index, in ascending order.
    pub(super) keyframes: Vec<(usize, Disk)>,
    names: FileNames,
}

/// Runs `command` under strace and records what it and its children do to the files below
/// `directory`, and every line that they write to its standard output.
///
/// The previous contents of `directory` count as synced. The program, arguments, environment
/// changes and working directory of `command` are used; its standard input is empty.
///
/// # Errors
///
/// If strace is missing, `command` fails, a call on the directory is not understood, or
/// another program changes the directory meanwhile.
pub fn record(command: &Command, directory: &Path) -> io::Result<Recording> {
    strace::check()?;
    let before = image::read(directory)?;
    let mut recorder = EffectRecorder::new(directory, command, &before)?;
    let log = Log::new();
    let child = strace::recording(command, log.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(output) = &child.stdout {
        // Both ends of a pipe have the same name.
        let link = format!("/proc/self/fd/{}", output.as_raw_fd());
        recorder.acknowledge_on(fs::read_link(link)?);
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the recorded program ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    record_log(&mut recorder, log.path())?;
    let (effects, names) = recorder.finish();
    let recording = Recording::new(Disk::new(&before), effects, names);
    recording.compare_with(&image::read(directory)?)?;
    Ok(recording)
}

fn record_log(recorder: &mut EffectRecorder, log: &Path) -> io::Result<()> {
    let mut reader = trace::Reader::default();
    for line in BufReader::new(fs::File::open(log)?).lines() {
        if let Some(event) = reader.read(&line?)? {
            recorder.record(event)?;
        }
    }
    Ok(())
}

impl Recording {
    pub(super) fn new(disk: Disk, effects: Vec<Effect>, names: FileNames) -> Self {
        let mut keyframes = vec![(0, disk.clone())];
        let mut disk = disk;
        let mut cost = 0;
        for (index, effect) in effects.iter().enumerate() {
            disk.apply(index, &effects);
            cost += effect.cost();
            // Frequent enough that a replay takes no longer than writing the image; rare enough
            // that all keyframes need about as much memory as the effects.
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

    /// The number of points at which power can be lost: one after each recorded effect.
    pub fn points(&self) -> usize {
        self.effects.len()
    }

    /// The names of the files that the program used.
    pub fn names(&self) -> &FileNames {
        &self.names
    }

    /// Describes a point, for the message of a failed test.
    pub fn describe(&self, point: usize) -> String {
        match self.effects.get(point) {
            Some(effect) => effect.describe(),
            None => "nothing".to_owned(),
        }
    }

    /// Writes a possible directory after a power loss just after the effect at `point` (from 0)
    /// to `into`, which must be empty or not exist. Returns the lines that were acknowledged by
    /// then.
    ///
    /// # Errors
    ///
    /// If there is no such point, `into` is not empty, or it cannot be written.
    pub fn crash(&self, point: usize, fate: Fate, into: &Path) -> io::Result<Vec<String>> {
        if point >= self.points() {
            return Err(io::Error::other(format!(
                "there are only {} points, but point {point} was requested",
                self.points()
            )));
        }
        let mut chance = Chance::new(fate, point);
        let image = self.disk(point + 1).survivors(&self.effects, &mut chance);
        image::write(&image, into)?;
        Ok(self.acknowledged(point))
    }

    /// The disk after this number of effects.
    pub(super) fn disk(&self, after: usize) -> Disk {
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

    /// Fails if the replayed recording differs from the actual directory.
    fn compare_with(&self, found: &Image) -> io::Result<()> {
        let mut chance = Chance::new(Fate::EverythingUnsynced, self.points());
        let disk = self.disk(self.points());
        let expected = disk.survivors(&self.effects, &mut chance);
        match expected.difference(found) {
            None => Ok(()),
            Some(path) => Err(io::Error::other(format!(
                "the recording does not explain the state of {}",
                path.display()
            ))),
        }
    }
}
