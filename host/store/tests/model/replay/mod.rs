//! The replay of traces of the model on the real store.

mod changes;
mod forging;
mod machine;
mod readers;
mod restoring;
mod world;

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use entail_store::{CheckReport, Document, DocumentBlobs, Progress, Store, Tampering, Visitor};
use stateright::Model as _;

use super::actions::{Action, Outcome, Source};
use super::checks::COUNTEREXAMPLES;
use super::model::KeyringModel;
use super::rules::Rules;
use super::scopes::REPLAYED;
use super::state::{ADMIN, OTHER, State};
use world::World;

/// How many random traces are replayed, and how long they are.
const TRACES: u64 = 300;
const STEPS: usize = 12;

/// Replays actions until one applies to nothing. Returns how many were taken.
async fn replay(actions: impl IntoIterator<Item = Action>) -> usize {
    let mut trace = Trace::begin().await;
    for action in actions {
        if !trace.take(action).await {
            break;
        }
    }
    trace.taken.len()
}

/// A trace that is replayed.
struct Trace {
    model: KeyringModel,
    state: State,
    world: World,
    taken: Vec<(Action, Outcome)>,
}

impl Trace {
    async fn begin() -> Self {
        let model = KeyringModel {
            rules: Rules::default(),
            scope: REPLAYED,
        };
        let state = model.init_states().remove(0);
        let world = World::create(&state).await;
        Trace {
            model,
            state,
            world,
            taken: Vec::new(),
        }
    }

    /// Takes an action in the model and on the store, and compares what became of it. `false`
    /// if it applies to nothing.
    async fn take(&mut self, action: Action) -> bool {
        let Some((next, expected)) = self.model.step(&self.state, action) else {
            return false;
        };
        self.taken.push((action, expected));
        let found = match (self.world.take(action, &self.state, &next).await, expected) {
            (Outcome::RestoredElsewhere, Outcome::Refused(_)) => expected,
            (found, _) => found,
        };
        assert_eq!(found, expected, "the last of {:#?}", self.taken);
        self.state = next;
        let reader = match action {
            Action::Read(home) | Action::Write(home) if expected == Outcome::Done => Some(home),
            _ => None,
        };
        self.world.compare_secrets(&self.state, reader).await;
        true
    }
}

#[tokio::test]
async fn the_store_keeps_the_rules_in_the_traces_that_need_them() {
    for (rule, actions) in &*COUNTEREXAMPLES {
        let taken = replay(actions.iter().copied()).await;
        println!("without {rule:?}: {taken} of {} steps", actions.len());
        assert!(taken > 1, "{rule:?}");
    }
}

#[tokio::test]
async fn the_store_does_what_the_model_does() {
    let mut taken = 0;
    for seed in 0..TRACES {
        let mut random = Random(seed);
        let mut trace = Trace::begin().await;
        for _ in 0..STEPS {
            let mut actions = Vec::new();
            trace.model.actions(&trace.state, &mut actions);
            let Some(action) = random.choose_by_kind(&actions) else {
                break;
            };
            trace.take(action).await;
        }
        taken += trace.taken.len();
    }
    println!("{TRACES} traces with {taken} steps");
    assert!(taken > 2_500, "only {taken} steps");
}

/// The shortest traces of faults that the model found in the store. Each ends with the step that
/// showed the fault.
const FOUND: [(&str, &[Action]); 3] = [
    (
        "an epoch of a backup that a reader knew who came and went since",
        &[
            Action::BackUp,
            Action::AddReader,
            Action::RemoveReader,
            Action::Restore(Source::Backup(0)),
            Action::Write(ADMIN),
        ],
    ),
    (
        "a process that follows the old database after a restore",
        &[
            Action::BackUp,
            Action::Write(ADMIN),
            Action::RotateSigner,
            Action::Poll(ADMIN),
            Action::Restore(Source::Backup(0)),
            Action::Replace {
                branch: 0,
                revision: 3,
                with_later_keyrings: false,
            },
            Action::Poll(ADMIN),
        ],
    ),
    (
        "a keyring that no checkpoint names, continued by a restore",
        &[
            Action::BackUp,
            Action::ForgeKeyring {
                branch: 0,
                revision: 1,
                after: 1,
            },
            Action::Replace {
                branch: 0,
                revision: 1,
                with_later_keyrings: true,
            },
            Action::Restore(Source::Backup(0)),
            Action::Read(OTHER),
        ],
    ),
];

#[tokio::test]
async fn faults_that_the_model_found_stay_fixed() {
    for (fault, actions) in FOUND {
        println!("{fault}");
        assert_eq!(replay(actions.iter().copied()).await, actions.len());
    }
}

/// Pseudo-random numbers (SplitMix64): the same traces in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Chooses a kind of action first: there are many forgeries, and one rotation.
    fn choose_by_kind(&mut self, actions: &[Action]) -> Option<Action> {
        let mut kinds = Vec::new();
        for kind in actions.iter().map(std::mem::discriminant) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() {
            return None;
        }
        let kind = kinds[self.below(kinds.len())];
        let mut of_kind = actions.to_vec();
        of_kind.retain(|action| std::mem::discriminant(action) == kind);
        Some(of_kind[self.below(of_kind.len())])
    }
}

/// A temporary directory in memory if possible: the store waits for the disk at every step.
fn temporary_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Puts a database file in the place of another, as anyone can who can write its directory.
fn replace_file(from: &Path, to: &Path) {
    for suffix in ["-wal", "-shm"] {
        let mut sibling = to.as_os_str().to_owned();
        sibling.push(suffix);
        let _ = std::fs::remove_file(sibling);
    }
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(from, mode).unwrap();
    std::fs::rename(from, to).unwrap();
}

fn make_private(directory: &Path) {
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(directory, mode).unwrap();
}

fn write_private(file: &Path, bytes: &[u8]) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file).unwrap().write_all(bytes).unwrap();
}

/// Ignores the contents of documents.
struct NoopVisitor;

impl Visitor for NoopVisitor {
    fn progress(&mut self, _progress: Progress) {}

    fn document(&mut self, _document: &Document, _blobs: &DocumentBlobs<'_>) -> Vec<Tampering> {
        Vec::new()
    }
}

/// Verifies a whole store.
async fn faults(store: &Store) -> Vec<Tampering> {
    let report: CheckReport = store
        .check(&mut NoopVisitor, &|_| Vec::new())
        .await
        .unwrap();
    report.faults
}
