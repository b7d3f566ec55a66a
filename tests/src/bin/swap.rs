//! Swaps policies under full load: no request fails, and each decision is that of one of the
//! two policies.
//!
//! ```sh
//! cargo run --release -p entail-tests --bin swap -- --seconds 30
//! cargo run --release -p entail-tests --bin swap -- --calls 1000000
//! ```

#![allow(clippy::unwrap_used)] // any failure here should end the program

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use entail::policy::Sandbox;
use entail_tests::hostile::measure::{growth, ratio, resident_kib};
use entail_tests::hostile::swap::Swap;

/// The maximum ratio of the 99th percentile to the undisturbed one.
const P99: f64 = 1.5;

/// The maximum growth of memory, in percent.
const GROWTH: f64 = 5.0;

#[derive(Parser)]
#[command(about = "Swaps policies under load, or calls one very often")]
struct Cli {
    /// The number of seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The number of swaps per second
    #[arg(long, default_value_t = 10)]
    swaps: u32,
    /// Only call the policy this number of times, and measure the memory
    #[arg(long)]
    calls: Option<usize>,
}

fn main() -> ExitCode {
    // This program also compiles the components.
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
    let elapsed = started.elapsed();
    let after = resident_kib();
    let grown = growth(before, after);
    #[allow(clippy::cast_precision_loss)] // not that many
    let rate = calls as f64 / elapsed.as_secs_f64();
    println!("{calls} calls in {elapsed:.1?}, {rate:.0} a second");
    println!("resident {before} KiB before, {after} KiB after: {grown:+.1} %");
    grown <= GROWTH
}

async fn load(swap: &Swap, cli: &Cli) -> bool {
    // Each policy is active half of the time, as during the swaps.
    let half = Duration::from_secs(cli.seconds.div_ceil(2).min(10));
    let mut alone = swap.send_requests(half).await;
    swap.activate(false).await;
    let refused = swap.send_requests(half).await;
    alone.times.merge(refused.times);
    println!("undisturbed: {}", alone.times);

    let time = Duration::from_secs(cli.seconds);
    let (tally, swaps) = swap.send_requests_and_swap(time, cli.swaps).await;
    let ratio = ratio(tally.times.p99(), alone.times.p99());
    println!("during {swaps} swaps: {}", tally.times);
    println!("p99: {ratio:.2} times the undisturbed one");
    println!(
        "{} granted, {} refused, {} failed",
        tally.granted,
        tally.refused,
        tally.failed.len()
    );
    if let Some(first) = tally.failed.first() {
        println!("the first failure: {first}");
    }
    let (granted, refused) = match swap.check_records() {
        Ok(counts) => counts,
        Err(record) => {
            println!("a record that neither policy explains: {record}");
            return false;
        }
    };
    println!("the log: {granted} granted by one, {refused} refused by the other");
    let all = granted + refused == alone.times.count() + tally.times.count();
    if !all {
        println!("the log has another number of records than requests were sent");
    }
    tally.failed.is_empty() && tally.refused > 0 && tally.granted > 0 && all && ratio <= P99
}
