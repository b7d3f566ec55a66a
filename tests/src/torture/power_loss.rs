//! Simulates power losses: records what a worker does to its home, and recreates the home
//! as it could be after a loss at each point.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::check::{Ledger, check};
use super::worker::make_home;
use super::{Program, block_on};
use crate::crash::{Fate, record};

/// The result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// The number of points at which power was lost.
    pub points: usize,
    /// The number of images that were checked.
    pub images: usize,
}

/// Records a writer and a rotator, and checks at least `images` images of the home after a
/// power loss, spread over all points.
///
/// # Panics
///
/// If a check fails.
pub fn power_loss(
    program: &Program,
    images: usize,
    seed: u64,
    mut on_image: impl FnMut(Lost),
) -> Lost {
    let cache = tempfile::tempdir().unwrap();
    let mut lost = Lost::default();
    for (role, limit) in [("writer", "24"), ("rotator", "2")] {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        block_on(make_home(&home, cache.path(), 1));
        let mut command =
            program.command(&["work", "--role", role, "--number", "0", "--from", "0"]);
        command
            .args(["--limit", limit, "--home"])
            .arg(&home)
            .arg("--cache")
            .arg(cache.path());
        let recording = record(&command, &home).unwrap();
        lost.points += recording.points();
        let per_point = (images / 2).div_ceil(recording.points()).max(3);
        let image = directory.path().join("image");
        for point in 0..recording.points() {
            for number in 0..per_point {
                let fate = match number {
                    0 => Fate::NothingUnsynced,
                    1 => Fate::EverythingUnsynced,
                    _ => Fate::Random(seed + u64::try_from(number).unwrap()),
                };
                let _ = std::fs::remove_dir_all(&image);
                let lines = recording.crash(point, fate, &image).unwrap();
                restrict(&image);
                let mut ledger = Ledger::new(1);
                ledger.add_lines(
                    lines
                        .iter()
                        .map(String::as_str)
                        .filter(|line| !line.starts_with("rotated")),
                );
                if let Err(error) = block_on(check(&image, cache.path(), &ledger)) {
                    let kept_directory = directory.keep();
                    panic!(
                        "{role}, power lost after {} (point {point}, {fate:?}): {error} (in {})",
                        recording.describe(point),
                        kept_directory.display()
                    );
                }
                lost.images += 1;
                on_image(lost);
            }
        }
    }
    lost
}

/// Sets the modes of a home.
fn restrict(directory: &Path) {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            restrict(&path);
        } else {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
    }
}
