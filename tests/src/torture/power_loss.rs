//! Simulates power losses: records what a worker does to its home, and recreates the home
//! as it could be after a loss at each point.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use entail::{Entail, Filter, Home, OutcomeFilter, Principal, Request, count_records, verify_log};

use super::check::{Ledger, check};
use super::worker::{make_home, scope};
use super::{Program, block_on, settings};
use crate::crash::{Fate, Recording, record};

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
        let image = directory.path().join("image");
        let mut failure = None;
        each_image(&recording, images / 2, seed, &image, |lines, point| {
            let mut ledger = Ledger::new(1);
            ledger.add_lines(
                lines
                    .iter()
                    .map(String::as_str)
                    .filter(|line| !line.starts_with("rotated")),
            );
            let checked = block_on(check(&image, cache.path(), &ledger));
            if let Err(error) = checked {
                failure = Some(format!("{role}, power lost {point}: {error}"));
                return false;
            }
            lost.images += 1;
            on_image(lost);
            true
        });
        if let Some(failure) = failure {
            panic!("{failure} (in {})", directory.keep().display());
        }
    }
    lost
}

/// Records a reader with a log that is new, becomes full, and goes on, and checks at least `images`
/// images of the home: each revealed secret has its records, nothing counts as a breach, and
/// the log continues.
///
/// # Panics
///
/// If a check fails.
pub fn log_power_loss(
    program: &Program,
    images: usize,
    seed: u64,
    mut on_image: impl FnMut(Lost),
) -> Lost {
    let cache = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let mut lost = Lost::default();
    block_on(make_home(&home, cache.path(), 1));
    let settings = "[decision-log]\nmax-bytes = 16384\n";
    std::fs::write(home.join("settings.toml"), settings).unwrap();
    restrict(&home);
    let arguments = ["work", "--role", "reader", "--number", "0", "--from", "0"];
    let mut command = program.command(&arguments);
    command
        .args(["--limit", "16", "--home"])
        .arg(&home)
        .arg("--cache")
        .arg(cache.path());
    let recording = record(&command, &home).unwrap();
    assert!(home.join("decisions.000001.jsonl").exists());
    lost.points = recording.points();
    let image = directory.path().join("image");
    let mut failure = None;
    each_image(&recording, images, seed, &image, |lines, point| {
        if let Err(error) = block_on(check_log(&image, cache.path(), lines.len())) {
            failure = Some(format!("power lost {point}: {error}"));
            return false;
        }
        lost.images += 1;
        on_image(lost);
        true
    });
    if let Some(failure) = failure {
        panic!("{failure} (in {})", directory.keep().display());
    }
    lost
}

/// Checks the log of a home from which at least `revealed` secrets were revealed.
async fn check_log(directory: &Path, cache: &Path, revealed: usize) -> Result<(), String> {
    let to_text = |error: entail::Error| error.to_string();
    let home = Home::open(directory).map_err(to_text)?;
    let opened = Filter {
        outcome: Some(OutcomeFilter::Opened),
        ..Filter::default()
    };
    let verify = || {
        let report = verify_log(&home, &Principal::LocalOwner, &[]).map_err(to_text)?;
        match report.breaches.first() {
            Some(breach) => Err(format!("{breach:?} in {report:?}")),
            None => Ok(count_records(&home, &Principal::LocalOwner, &opened).map_err(to_text)?),
        }
    };
    let found = verify()?;
    if found < revealed {
        return Err(format!(
            "{revealed} were revealed, and {found} are recorded"
        ));
    }
    // The next process continues the log.
    let entail = Entail::open(&home, settings(cache)).map_err(to_text)?;
    let request = Request::new(scope(0).parse().unwrap(), "openai".parse().unwrap());
    let resolved = entail.resolve(&Principal::LocalOwner, &request).await;
    resolved.map_err(to_text)?;
    // What was not revealed may be dropped together with a lost line before it.
    match verify()? {
        after if (revealed + 1..=found + 1).contains(&after) => Ok(()),
        after => Err(format!(
            "{revealed} were revealed, {found} recorded, and {after} afterwards"
        )),
    }
}

/// Creates at least `images` images, spread over all points, until `check` returns `false`. It
/// gets the acknowledged lines and a description of the point.
fn each_image(
    recording: &Recording,
    images: usize,
    seed: u64,
    image: &Path,
    mut check: impl FnMut(&[String], &str) -> bool,
) {
    let per_point = images.div_ceil(recording.points()).max(3);
    for point in 0..recording.points() {
        for number in 0..per_point {
            let fate = match number {
                0 => Fate::NothingUnsynced,
                1 => Fate::EverythingUnsynced,
                _ => Fate::Random(seed + u64::try_from(number).unwrap()),
            };
            let _ = std::fs::remove_dir_all(image);
            let lines = recording.crash(point, fate, image).unwrap();
            restrict(image);
            let described = recording.describe(point);
            if !check(
                &lines,
                &format!("after {described} (point {point}, {fate:?})"),
            ) {
                return;
            }
        }
    }
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
