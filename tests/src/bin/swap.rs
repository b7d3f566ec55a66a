//! Policies are swapped under full load: no request fails, and each answer is that of
//! one of the two.
//!
//! ```sh
//! cargo run --release -p entail-tests --bin swap -- --seconds 30
//! cargo run --release -p entail-tests --bin swap -- --calls 1000000
//! ```

#![allow(clippy::unwrap_used)] // whatever goes wrong here should end the program

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use entail::policy::Sandbox;
use entail_tests::hostile::measure::{growth, ratio, resident_kib};
use entail_tests::hostile::swap::Swap;

/// The 99th percentile may be so many times what it is undisturbed.
const P99: f64 = 1.5;

/// Memory may be so much more in the end, in percent.
const GROWTH: f64 = 5.0;

#[derive(Parser)]
#[command(about = "Swaps policies under load, or calls one very often")]
struct Cli {
    /// For how long to swap
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How often a second
    #[arg(long, default_value_t = 10)]
    swaps: u32,
    /// Only call the policy so often, and look at the memory
    #[arg(long)]
    calls: Option<usize>,
}

fn main() -> ExitCode {
    // Components are compiled by this very program.
    if let Some(code) = entail::policy::run_compile_worker() {
        return code;
    }
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let good = runtime.block_on(async {
        let swap = Swap::new(Sandbox::this_program()).await;
        match cli.calls {
            Some(calls) => call(&swap, calls).await,
            None => load(&swap, &cli).await,
        }
    });
    match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn call(swap: &Swap, calls: usize) -> bool {
    swap.decide(calls / 20).await;
    let before = resident_kib();
    let started = Instant::now();
    swap.decide(calls).await;
    let took = started.elapsed();
    let after = resident_kib();
    let grown = growth(before, after);
    #[allow(clippy::cast_precision_loss)] // not that many
    let rate = calls as f64 / took.as_secs_f64();
    println!("{calls} calls in {took:.1?}, {rate:.0} a second");
    println!("resident {before} KiB before, {after} KiB after: {grown:+.1} %");
    grown <= GROWTH
}

async fn load(swap: &Swap, cli: &Cli) -> bool {
    // Half of the time each, as it is while they are swapped.
    let half = Duration::from_secs(cli.seconds.div_ceil(2).min(10));
    let mut alone = swap.ask(half).await;
    swap.activate(false).await;
    let refused = swap.ask(half).await;
    alone.times.and(refused.times);
    println!("undisturbed: {}", alone.times);

    let time = Duration::from_secs(cli.seconds);
    let (asked, swaps) = swap.ask_and_swap(time, cli.swaps).await;
    let ratio = ratio(asked.times.p99(), alone.times.p99());
    println!("during {swaps} swaps: {}", asked.times);
    println!("p99: {ratio:.2} times the undisturbed one");
    println!(
        "{} granted, {} refused, {} failed",
        asked.granted,
        asked.refused,
        asked.failed.len()
    );
    if let Some(first) = asked.failed.first() {
        println!("the first that failed: {first}");
    }
    let (granted, refused) = match swap.check_records() {
        Ok(counts) => counts,
        Err(record) => {
            println!("a record that neither explains: {record}");
            return false;
        }
    };
    println!("the log: {granted} granted by one, {refused} refused by the other");
    let all = granted + refused == alone.times.count() + asked.times.count();
    if !all {
        println!("that is not as many as were asked");
    }
    asked.failed.is_empty() && asked.refused > 0 && asked.granted > 0 && all && ratio <= P99
}
