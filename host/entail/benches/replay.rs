//! Replay: records per second, on all processors.
//!
//! `cargo bench -p entail --bench replay` makes a log of 100,000 decisions by resolving,
//! grants and refusals of three kinds; a number as the argument changes how many.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // allowed in benchmarks

use std::time::Instant;

use entail::policy::Inheritance;
use entail::{
    Change, CredentialRef, Entail, Filter, Home, Options, Principal, Request, RuleChanges, Secret,
    SecretEdit, SetCredential, replay,
};

const RECORDS: usize = 100_000;

/// Enough projects for a varied log, and few enough to create at once.
const PROJECTS: usize = 30;

/// The number of runs; the best one counts, since other load only slows it down.
const RUNS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let records = std::env::args().find_map(|count| count.parse().ok());
    runtime.block_on(measure(records.unwrap_or(RECORDS)));
}

async fn measure(records: usize) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::create(&directory.path().join("home"), None)
        .await
        .unwrap();
    let entail = Entail::open(&home, Options::default()).unwrap();
    fill(&entail).await;
    let started = Instant::now();
    for n in 0..records {
        let scope = path(n % PROJECTS);
        let request = Request::new(scope.parse().unwrap(), "openai".parse().unwrap());
        // A third is refused.
        let _ = entail.probe(&Principal::LocalOwner, &request).await;
    }
    println!(
        "{records} decisions made and recorded in {:.1?}",
        started.elapsed()
    );
    let policy = entail.policies().built_in().unwrap().clone();
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let started = Instant::now();
        let replay = replay(&home, &Principal::LocalOwner, &policy, &Filter::default()).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(replay.counts.same, u64::try_from(records).unwrap());
        assert_eq!(replay.counts.changed(), 0);
        let each = f64::from(u32::try_from(records).unwrap()) / seconds;
        best = best.max(each);
        println!("decided again and compared in {seconds:.2} s: {each:.0} records a second");
    }
    let processors = std::thread::available_parallelism().unwrap();
    println!("the best: {best:.0} records a second on {processors} processors");
}

fn path(project: usize) -> String {
    format!("acme/p{project:02}")
}

/// An organization with two keys, and projects of three kinds: inheriting, falling back
/// from their own key, and isolated.
async fn fill(entail: &Entail) {
    let change = async |change: Change| {
        entail
            .change(&Principal::LocalOwner, &change)
            .await
            .unwrap();
    };
    let set = |scope: &str, name: &str| {
        Change::SetCredential(Box::new(SetCredential {
            credential: CredentialRef {
                scope: scope.parse().unwrap(),
                provider: "openai".parse().unwrap(),
                name: name.parse().unwrap(),
            },
            mode: None,
            fields: vec![(
                "api_key".to_owned(),
                Secret::from("canary-of-the-benchmark-0123456789"),
            )],
            rules: RuleChanges::default(),
            secret: SecretEdit::Given,
            grace_ms: 0,
        }))
    };
    change(Change::AddScope {
        scope: "acme".parse().unwrap(),
    })
    .await;
    change(set("acme", "default")).await;
    change(set("acme", "backup")).await;
    for project in 0..PROJECTS {
        let scope = path(project);
        change(Change::AddScope {
            scope: scope.parse().unwrap(),
        })
        .await;
        let inheritance = match project % 3 {
            0 => Inheritance::Inherit,
            1 => Inheritance::FallBack,
            _ => Inheritance::Isolated,
        };
        if inheritance == Inheritance::FallBack {
            change(set(&scope, "own")).await;
        }
        change(Change::SetInheritance {
            scope: scope.parse().unwrap(),
            provider: Some("openai".parse().unwrap()),
            inheritance,
        })
        .await;
    }
}
