//! Every hostile component is contained with the expected result: each case of the collection
//! through the engine, and some through the library, next to a neighbour.
//!
//! `cargo run --release -p entail-tests --bin hostile` runs all of them through the library.

// Any failure here should fail the case, or the run, at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use entail_policy::{Engine, Sandbox};
use entail_tests::hostile::library::Host;
use entail_tests::hostile::swap::Swap;
use entail_tests::hostile::{self, Case, engine};
use libtest_mimic::{Arguments, Failed, Trial};

/// The minimum number of cases: fewer would mean that some are missing.
const AT_LEAST: usize = 600;

/// One in this many cases runs through the library as well.
const THROUGH_THE_LIBRARY: usize = 9;

fn main() -> ExitCode {
    // This program also compiles the components.
    if let Some(code) = entail_policy::run_compile_worker() {
        return code;
    }
    let arguments = Arguments::from_args();
    let cases: Vec<Arc<Case>> = hostile::collection().into_iter().map(Arc::new).collect();
    let mut trials = vec![Trial::test("the collection has enough cases", {
        let count = cases.len();
        move || match count >= AT_LEAST {
            true => Ok(()),
            false => Err(format!("only {count}").into()),
        }
    })];
    for case in &cases {
        let case = Arc::clone(case);
        let name = format!("engine::{}", case.name.escape_default());
        trials.push(Trial::test(name, move || is_contained(&case)));
    }
    trials.push(Trial::test(
        "library::a neighbour is served while others misbehave",
        move || block_on(beside_a_neighbour(&cases)),
    ));
    trials.push(Trial::test(
        "library::policies are swapped under load and no request fails",
        || block_on(swapped()),
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}

async fn beside_a_neighbour(cases: &[Arc<Case>]) -> Result<(), Failed> {
    let mut host = Host::new(Sandbox::this_program()).await;
    let neighbour = host.neighbour();
    let looping = cases
        .iter()
        .find(|case| case.name == "loop/in decide when evil")
        .expect("the collection has the case");
    for case in cases.iter().step_by(THROUGH_THE_LIBRARY) {
        let cause = host.run(case).await?;
        if !case.expected.includes(cause) {
            return Err(format!("{}: {cause:?}, not {:?}", case.name, case.expected).into());
        }
    }
    host.flood(looping).await?;
    host.recover().await?;
    // The times are not compared, since other tests run at the same time.
    let times = neighbour.stop().await?;
    assert!(times.count() > 0, "the neighbour was never served");
    host.check_records()?;
    Ok(())
}

async fn swapped() -> Result<(), Failed> {
    let swap = Swap::new(Sandbox::this_program()).await;
    let (tally, swaps) = swap
        .send_requests_and_swap(Duration::from_secs(2), 10)
        .await;
    assert_eq!(tally.failed, Vec::<String>::new());
    assert!(
        swaps > 2 && tally.granted > 0 && tally.refused > 0,
        "{tally:?}"
    );
    let (granted, refused) = swap.check_records()?;
    assert_eq!((granted, refused), (tally.granted, tally.refused));
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

fn is_contained(case: &Case) -> Result<(), Failed> {
    let cause = engine::run(shared(), case);
    if engine::is_as_expected(case, cause) {
        return Ok(());
    }
    Err(format!("{cause:?}, not {:?}", case.expected).into())
}

/// One engine for all cases, as in a host.
fn shared() -> &'static Engine {
    static ENGINE: OnceLock<(Engine, tempfile::TempDir)> = OnceLock::new();
    let (engine, _) = ENGINE.get_or_init(|| {
        let cache = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::this_program();
        (engine::engine(cache.path(), sandbox), cache)
    });
    engine
}
