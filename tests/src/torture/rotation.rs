//! Kills rotations of the identity.

use std::path::Path;
use std::time::{Duration, Instant};

use entail::{Change, Entail, Home, IdentitySource, Principal, Secret};

use super::{Program, add_scope, block_on, set_key, settings};

/// The number of scopes, each with a secret: enough for several commits per rotation.
const SCOPES: u32 = 40;

/// The maximum number of kills per rotation. After that it may complete.
const KILLS_PER_ROTATION: u32 = 12;

/// The result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotated {
    /// The number of killed rotations.
    pub kills: u64,
    /// The number of completed rotations.
    pub renewals: u64,
}

/// Kills the rotation of the identity `kills` times. After each kill every secret must
/// open; after each completed rotation the old identity must open none.
///
/// # Panics
///
/// If a check fails.
pub fn rotation(
    program: &Program,
    kills: u64,
    seed: u64,
    mut on_kill: impl FnMut(Rotated),
) -> Rotated {
    let mut random = fastrand::Rng::with_seed(seed);
    let cache = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    block_on(fill(&home, cache.path()));
    let mut rotated = Rotated::default();
    let mut usual = Duration::from_millis(200);
    while rotated.kills < kills {
        let before = std::fs::read_to_string(home.join("keys/identity.txt")).unwrap();
        // Numbers start after `--from 1`, and the rotator's change number 2 rotates the identity.
        let mut killed_now = 0;
        loop {
            let started = Instant::now();
            let mut worker = start_one(program, &home, cache.path());
            let is_last = killed_now >= KILLS_PER_ROTATION || rotated.kills >= kills;
            if !is_last {
                std::thread::sleep(usual.mul_f64(random.f64() * 0.9));
                worker.kill().unwrap();
            }
            let ended = worker.wait().unwrap();
            if ended.success() {
                if is_last && killed_now == 0 {
                    usual = started.elapsed();
                }
                break;
            }
            assert!(!is_last, "seed {seed}: a rotation failed with {ended}");
            killed_now += 1;
            rotated.kills += 1;
            let opened = block_on(opened_with(&home, cache.path(), IdentitySource::Directory));
            assert_eq!(opened, Ok(SCOPES), "seed {seed}, kill {}", rotated.kills);
            on_kill(rotated);
        }
        rotated.renewals += 1;
        let removed = IdentitySource::Given(Secret::from(last_identity(&before)));
        assert_eq!(
            block_on(opened_with(&home, cache.path(), removed)),
            Ok(0),
            "seed {seed}: a removed identity still opens a secret"
        );
    }
    rotated
}

/// The identity in `text` that a rotation removes.
fn last_identity(text: &str) -> &str {
    text.lines().rfind(|line| !line.starts_with('#')).unwrap()
}

fn start_one(program: &Program, home: &Path, cache: &Path) -> std::process::Child {
    program
        .command(&["work", "--role", "rotator", "--number", "0", "--from", "1"])
        .args(["--limit", "1"])
        .arg("--home")
        .arg(home)
        .arg("--cache")
        .arg(cache)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// The number of secrets that open, if there are no faults.
async fn opened_with(
    directory: &Path,
    cache: &Path,
    source: IdentitySource,
) -> Result<u32, String> {
    let to_text = |error: entail::Error| error.to_string();
    let is_old_identity = matches!(source, IdentitySource::Given(_));
    let home = Home::open(directory).map_err(to_text)?;
    let keys = home.keys(source).map_err(to_text)?;
    let entail = Entail::with_keys(&home, keys, settings(cache)).map_err(to_text)?;
    let verified = entail
        .maintenance()
        .verify(&Principal::LocalOwner, &mut |_| {})
        .await
        .map_err(to_text)?;
    match verified.faults.first() {
        Some(fault) => Err(fault.to_string()),
        None if !is_old_identity && !verified.foreign.is_empty() => {
            Err(format!("{:?} do not open", verified.foreign))
        }
        None => Ok(u32::try_from(verified.opened).unwrap()),
    }
}

async fn fill(directory: &Path, cache: &Path) {
    let home = Home::create(directory, None).await.unwrap();
    let entail = Entail::open(&home, settings(cache)).unwrap();
    let me = Principal::LocalOwner;
    add_scope(&entail, "acme").await;
    for number in 0..SCOPES {
        let scope = format!("acme/s{number}");
        add_scope(&entail, &scope).await;
        let set = set_key(&scope, format!("canary-of-the-rotation-{number:04}"));
        entail
            .change(&me, &Change::SetCredential(Box::new(set)))
            .await
            .unwrap();
    }
}
