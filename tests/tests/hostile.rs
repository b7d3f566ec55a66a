//! Whatever a component does, what comes of it is named: each case of the collection
//! against the engine, and a part of it against the library, with a neighbour.
//!
//! The whole through the library is `cargo run --release -p entail-tests --bin hostile`.

// What goes wrong here should fail the case, or the run, at once.
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

/// Fewer would mean that some have got lost.
const AT_LEAST: usize = 600;

/// Every so many-th goes through the library as well.
const THROUGH_THE_LIBRARY: usize = 9;

fn main() -> ExitCode {
    // Components are compiled by this very program.
    if let Some(code) = entail_policy::run_compile_worker() {
        return code;
    }
    let arguments = Arguments::from_args();
    let cases: Vec<Arc<Case>> = hostile::collection().into_iter().map(Arc::new).collect();
    let mut trials = vec![Trial::test("there are enough of them", {
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
        .expect("it is there");
    for case in cases.iter().step_by(THROUGH_THE_LIBRARY) {
        let cause = host.run(case).await?;
        if !case.expected.includes(cause) {
            return Err(format!("{}: {cause:?}, not {:?}", case.name, case.expected).into());
        }
    }
    host.flood(looping).await?;
    host.recover().await?;
    // How long it took is for the program to say: tests run beside others.
    let times = neighbour.stop().await?;
    assert!(times.count() > 0, "the neighbour was never served");
    host.check_records()?;
    Ok(())
}

async fn swapped() -> Result<(), Failed> {
    let swap = Swap::new(Sandbox::this_program()).await;
    let (asked, swaps) = swap.ask_and_swap(Duration::from_secs(2), 10).await;
    assert_eq!(asked.failed, Vec::<String>::new());
    assert!(
        swaps > 2 && asked.granted > 0 && asked.refused > 0,
        "{asked:?}"
    );
    let (granted, refused) = swap.check_records()?;
    assert_eq!((granted, refused), (asked.granted, asked.refused));
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
    Err(format!("{cause:?}, and it should be {:?}", case.expected).into())
}

/// One engine for all of them, as in a host.
fn shared() -> &'static Engine {
    static ENGINE: OnceLock<(Engine, tempfile::TempDir)> = OnceLock::new();
    let (engine, _) = ENGINE.get_or_init(|| {
        let cache = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::this_program();
        (engine::engine(cache.path(), sandbox), cache)
    });
    engine
}
