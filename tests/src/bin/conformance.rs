//! Compares the default policy with the naive model of its rules, and checks the guard with
//! random grants, over random trees and, on request, every small configuration.

// A tool for developers of the policy: any failure ends it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use entail_policy::{Decision, Facts};
use entail_tests::{agreement, ceiling, component, generate, native};

/// The number of random grants for each facts, besides each credential alone.
const GRANTS: usize = 4;

/// Compares the default policy with the naive model of its rules
#[derive(Parser)]
struct Arguments {
    /// The number of random trees
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    trees: u64,

    /// Also compare every small configuration
    #[arg(long)]
    exhaustive: bool,

    /// Also compare the policy as a component
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut agreed = compare_all("guard", &arguments, |count, facts| {
        ceiling::compare(count, facts, GRANTS).map_err(|breach| breach.to_string())
    });
    agreed &= all_agree("native", &arguments, native::decide);
    if let Some(file) = &arguments.component {
        let policy = component::load(file).expect("the component is admitted");
        agreed &= all_agree("component", &arguments, |facts| {
            component::decide(&policy, facts)
        });
    }
    if agreed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Facts by number.
type Numbered = fn(u64) -> Facts;

fn all_agree(
    runtime: &str,
    arguments: &Arguments,
    decide: impl Fn(&Facts) -> Result<Decision, String> + Sync,
) -> bool {
    compare_all(runtime, arguments, |count, facts| {
        agreement::compare(count, facts, &decide).map_err(|disagreement| disagreement.to_string())
    })
}

fn compare_all(
    what: &str,
    arguments: &Arguments,
    compare: impl Fn(u64, Numbered) -> Result<(), String>,
) -> bool {
    let small = (
        generate::count(),
        generate::nth as Numbered,
        "small configurations",
    );
    let random = (
        arguments.trees,
        generate::random as Numbered,
        "random trees",
    );
    let runs = [arguments.exhaustive.then_some(small), Some(random)];
    runs.into_iter().flatten().all(|(count, facts, of)| {
        let start = Instant::now();
        match compare(count, facts) {
            Ok(()) => {
                println!(
                    "{what}, {of}: {count} agree, {:.1} s",
                    start.elapsed().as_secs_f64()
                );
                true
            }
            Err(difference) => {
                println!("{what}, {of}: {difference}");
                false
            }
        }
    })
}
