//! Compares the default policy with the naive model of its rules, over every
//! small configuration and as many random trees as asked for.

// A tool for those who work on the policy: whatever goes wrong ends it at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use entail_policy::{Decision, Facts};
use entail_tests::{agreement, component, generate, native};

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
    let mut agreed = all_agree("native", &arguments, native::decide);
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

fn all_agree(
    runtime: &str,
    arguments: &Arguments,
    decide: impl Fn(&Facts) -> Result<Decision, String> + Sync,
) -> bool {
    let small = !arguments.exhaustive
        || agrees(
            &format!("{runtime}, small configurations"),
            generate::count(),
            generate::nth,
            &decide,
        );
    small
        && agrees(
            &format!("{runtime}, random trees"),
            arguments.trees,
            generate::random,
            &decide,
        )
}

fn agrees(
    what: &str,
    count: u64,
    facts: impl Fn(u64) -> Facts + Sync,
    decide: impl Fn(&Facts) -> Result<Decision, String> + Sync,
) -> bool {
    let start = Instant::now();
    match agreement::compare(count, facts, decide) {
        Ok(()) => {
            println!(
                "{what}: {count} agree, {:.1} s",
                start.elapsed().as_secs_f64()
            );
            true
        }
        Err(disagreement) => {
            println!("{what}: {disagreement}");
            false
        }
    }
}
