//! Compares the default policy with the naive model of its rules, and what the guard
//! lets policies grant that answer at random, over every small configuration and as many
//! random trees as asked for.

// A tool for those who work on the policy: whatever goes wrong ends it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use entail_policy::{Decision, Facts};
use entail_tests::{agreement, ceiling, component, generate, native};

/// Random answers of a policy to each facts, besides each credential alone.
const ANSWERS: usize = 4;

/// Compares the default policy with the naive model of its rules
#[derive(Parser)]
struct Arguments {
    /// How many random trees
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    trees: u64,

    /// Every small configuration too
    #[arg(long)]
    exhaustive: bool,

    /// The policy as a component too, not only natively
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut agreed = all_hold("guard", &arguments, |count, facts| {
        ceiling::hold(count, facts, ANSWERS).map_err(|breach| breach.to_string())
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
    all_hold(runtime, arguments, |count, facts| {
        agreement::compare(count, facts, &decide).map_err(|found| found.to_string())
    })
}

fn all_hold(
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
            Err(found) => {
                println!("{what}, {of}: {found}");
                false
            }
        }
    })
}
