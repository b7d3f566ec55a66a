//! Resolving end to end, in process, and how its time grows with the store.
//!
//! `cargo bench -p entail` prints the figures for 10 to 100,000 projects;
//! `cargo bench -p entail -- 1000000` for the given number. Next to them is the lower
//! bound, measured in the same run: the time in which SQLite reads one row.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // allowed in benchmarks

use std::hint::black_box;
use std::time::{Duration, Instant};

use entail::policy::{Engine, EngineConfig, Inheritance};
use entail::store::{Author, Batch, DocumentKey, RandomId};
use entail::{
    Change, CredentialRef, DEFAULT_POLICY, Entail, Home, IdentitySource, Options, Principal,
    Request, RuleChanges, Secret, SecretEdit, SetCredential,
};
use serde_json::value::{RawValue, to_raw_value};

const CALLS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|size| size.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10, 1_000, 100_000]
    } else {
        sizes
    };
    println!(
        "{:>9}  {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:>9}",
        "projects", "open", "row", "decide", "warm", "no cache", "new scope", "memory"
    );
    for size in sizes {
        runtime.block_on(measure(size));
    }
}

async fn measure(projects: usize) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    fill(&home, projects).await;

    let before = resident_kib();
    let started = Instant::now();
    let entail = Entail::open(&home, Options::default()).unwrap();
    let opened = started.elapsed();
    let one = Request::new(
        path(projects / 2).parse().unwrap(),
        "openai".parse().unwrap(),
    );
    let warm = median(CALLS, || resolve(&entail, &one)).await;

    let options = Options {
        cache_secrets_for: None,
        ..Options::default()
    };
    let without_cache = Entail::open(&home, options).unwrap();
    let cold = median(CALLS / 10, || resolve(&without_cache, &one)).await;

    // A scope that is not cached: it is read and verified first.
    let fresh = Entail::open(&home, Options::default()).unwrap();
    let mut next = 0;
    let new_scope = median(projects.min(CALLS / 10), || {
        next += 1;
        let request = Request::new(
            path(scattered(next, projects)).parse().unwrap(),
            one.provider.clone(),
        );
        let fresh = &fresh;
        async move { resolve(fresh, &request).await }
    })
    .await;
    println!(
        "{projects:>9}  {opened:>9.2?} {:>9.2?} {:>9.2?} {warm:>9.2?} {cold:>9.2?} {new_scope:>9.2?}  {:>5} MiB",
        row_floor(&home, projects),
        decide_floor(&entail, &one).await,
        resident_kib().saturating_sub(before) / 1024,
    );
}

async fn resolve(entail: &Entail, request: &Request) {
    black_box(
        entail
            .resolve(&Principal::LocalOwner, request)
            .await
            .unwrap(),
    );
}

async fn median<F: Future>(calls: usize, mut call: impl FnMut() -> F) -> Duration {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let started = Instant::now();
        call().await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time of deciding alone, on the facts of the request.
async fn decide_floor(entail: &Entail, request: &Request) -> Duration {
    let facts = entail
        .explain(&Principal::LocalOwner, request)
        .await
        .unwrap()
        .facts;
    let policy = Engine::new(EngineConfig::default())
        .admit_trusted(DEFAULT_POLICY)
        .unwrap();
    median(CALLS, || {
        std::future::ready(black_box(policy.decide(&facts).unwrap()))
    })
    .await
}

/// The time of SQLite to read one random row with a prepared statement.
fn row_floor(home: &Home, projects: usize) -> Duration {
    let database = rusqlite::Connection::open(home.database_file()).unwrap();
    let mut statement = database
        .prepare("SELECT payload FROM documents WHERE kind = 'scope' AND name = ?1")
        .unwrap();
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|n| {
            let name = path(scattered(n, projects));
            let started = Instant::now();
            black_box(
                statement
                    .query_row([name], |row| row.get::<_, Vec<u8>>(0))
                    .unwrap(),
            );
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// A scattered order that visits every project once before repeating.
fn scattered(n: usize, projects: usize) -> usize {
    n.wrapping_mul(7_919) % projects
}

fn path(project: usize) -> String {
    format!("acme/p{project:07}")
}

async fn fill(home: &Home, projects: usize) {
    let entail = Entail::open(home, Options::default()).unwrap();
    let me = Principal::LocalOwner;
    entail
        .change(
            &me,
            &Change::AddScope {
                scope: "acme".parse().unwrap(),
            },
        )
        .await
        .unwrap();
    let set = SetCredential {
        credential: CredentialRef {
            scope: "acme".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            name: "default".parse().unwrap(),
        },
        mode: None,
        fields: vec![(
            "api_key".to_owned(),
            Secret::from("canary-of-the-benchmark-0123456789"),
        )],
        rules: RuleChanges::default(),
        secret: SecretEdit::Given,
        grace_ms: 0,
    };
    entail
        .change(&me, &Change::SetCredential(Box::new(set)))
        .await
        .unwrap();
    drop(entail);
    // Many at a time, as an import would.
    let store = home
        .store(home.keys(IdentitySource::Directory).unwrap())
        .unwrap();
    let inherit = serde_json::json!({"default_inheritance": Inheritance::Inherit});
    let body: Box<RawValue> = to_raw_value(&inherit).unwrap();
    let change = to_raw_value("the benchmark's projects").unwrap();
    let all: Vec<usize> = (0..projects).collect();
    let first = store.revision().await.unwrap();
    for (revision, some) in (first..).zip(all.chunks(10_000)) {
        let put = some
            .iter()
            .map(|n| (DocumentKey::new("scope", path(*n)), body.clone()))
            .collect();
        let author = Author {
            principal: RandomId::generate().unwrap(),
            at_ms: 1,
            change: &change,
            log: None,
        };
        store
            .commit(
                revision,
                Batch {
                    put,
                    ..Batch::default()
                },
                author,
            )
            .await
            .unwrap();
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
