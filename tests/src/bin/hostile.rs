//! Runs the hostile collection through the library: everything must be contained, the
//! neighbour must be served meanwhile, and the memory of the process must not grow.
//!
//! The allocator of the GNU C library returns little of the memory that is freed: with 16
//! arenas it grows for a few rounds and then stops. The host does not hold that memory. So
//! this program runs with one arena ([`TIGHT`]), unless the environment sets these variables:
//! `MALLOC_ARENA_MAX=16`, for example, shows that growth.
//!
//! ```sh
//! cargo run --release -p entail-tests --bin hostile -- --rounds 3
//! ```

#![allow(clippy::unwrap_used)] // any failure here should end the program

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use entail::policy::Sandbox;
use entail_tests::hostile::archive::{self, Archived};
use entail_tests::hostile::collection;
use entail_tests::hostile::library::Host;
use entail_tests::hostile::measure::{Times, growth, ratio, resident_kib};

/// The maximum ratio of the neighbour's median to its undisturbed median.
const MEDIAN: f64 = 2.0;

/// The maximum growth of memory, in percent.
const GROWTH: f64 = 5.0;

/// Settings with which the allocator returns free memory.
const TIGHT: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

#[derive(Parser)]
#[command(about = "Activates each hostile component, next to a normal policy")]
struct Cli {
    /// The number of rounds, after one to warm up
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Not cases whose name starts with this
    #[arg(long)]
    except: Vec<String>,
    /// Seconds for which the neighbour is undisturbed before each round
    #[arg(long, default_value_t = 5)]
    undisturbed: u64,
    /// Show each case
    #[arg(long)]
    verbose: bool,
    /// Only generate the components in this directory
    #[arg(long, hide = true)]
    make: Option<PathBuf>,
}

fn main() -> ExitCode {
    // This program also compiles the components.
    if let Some(code) = entail::policy::run_compile_worker() {
        return code;
    }
    let cli = Cli::parse();
    if let Some(directory) = cli.make {
        archive::write(&collection(), &directory);
        return ExitCode::SUCCESS;
    }
    if TIGHT
        .iter()
        .all(|(name, _)| std::env::var_os(name).is_none())
    {
        let program = std::env::current_exe().unwrap();
        let arguments = std::env::args_os().skip(1);
        let failed = Command::new(program).args(arguments).envs(TIGHT).exec();
        println!("it could not restart itself: {failed}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(show(&cli)) {
        0 => ExitCode::SUCCESS,
        failures => {
            println!("{failures} failed");
            ExitCode::FAILURE
        }
    }
}

async fn show(cli: &Cli) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let mut cases = generate_in(directory.path());
    let looping = cases
        .iter()
        .find(|case| case.outline().name == "loop/in decide when evil")
        .unwrap()
        .read();
    cases.retain(|case| {
        let name = &case.outline().name;
        let is_excluded = cli.except.iter().any(|start| name.starts_with(start));
        name.contains(&cli.only) && !is_excluded
    });
    let groups = groups(&cases);
    println!("{} components: {groups}", cases.len());

    let mut host = Host::new(Sandbox::this_program()).await;
    let mut failures = 0;
    let mut check = |what: &str, result: Result<(), String>| {
        if let Err(error) = result {
            println!("FAILED {what}: {error}");
            failures += 1;
        }
    };

    println!("resident {} KiB", resident_kib());

    let mut warm = 0;
    for round in 0..=cli.rounds {
        // The speed of a machine varies over time.
        let alone = host.neighbour();
        tokio::time::sleep(Duration::from_secs(cli.undisturbed)).await;
        let alone = alone.stop().await.unwrap();
        println!("the neighbour, undisturbed: {alone}");

        let started = Instant::now();
        let neighbour = host.neighbour();
        for case in &cases {
            let case = case.read();
            let result = host.run(&case).await;
            if cli.verbose {
                println!("{:>7.1?} {}: {result:?}", started.elapsed(), case.name);
            }
            let verdict = result.and_then(|cause| match case.expected.includes(cause) {
                true => Ok(()),
                false => Err(format!("{cause:?}, not {:?}", case.expected)),
            });
            check(&case.name, verdict);
        }
        match neighbour.stop().await {
            Ok(times) => {
                println!("the neighbour, during round {round}: {times}");
                check(
                    "the neighbour's median",
                    neighbour_is_served(&times, &alone),
                );
            }
            Err(error) => check("the neighbour", Err(error)),
        }
        let neighbour = host.neighbour();
        check("the flood", host.flood(&looping).await);
        match neighbour.stop().await {
            Ok(times) => println!("the neighbour, during the flood: {times}"),
            Err(error) => check("the neighbour", Err(error)),
        }
        check("the recovery", host.recover().await);
        let resident = resident_kib();
        println!(
            "round {round}: {:.0} s, resident {resident} KiB",
            started.elapsed().as_secs_f64()
        );
        if round == 0 {
            warm = resident;
        } else {
            println!("resident: {:+.1} %", growth(warm, resident));
        }
    }
    if cli.rounds > 0 {
        let grown = growth(warm, resident_kib());
        let result = match grown <= GROWTH {
            true => Ok(()),
            false => Err(format!("it grew by {grown:.1} %")),
        };
        check("the memory", result);
    }
    match host.check_records() {
        Ok(records) => println!("{records} requests, each with one record"),
        Err(error) => check("the decision log", Err(error)),
    }
    failures
}

/// Generates the components in another process.
fn generate_in(directory: &Path) -> Vec<Archived> {
    let maker = Command::new(std::env::current_exe().unwrap())
        .arg("--make")
        .arg(directory)
        .status();
    assert!(
        maker.unwrap().success(),
        "the components were not generated"
    );
    archive::open(directory)
}

fn neighbour_is_served(times: &Times, alone: &Times) -> Result<(), String> {
    let ratio = ratio(times.median(), alone.median());
    match ratio <= MEDIAN {
        true => Ok(()),
        false => Err(format!("{ratio:.1} times the undisturbed one")),
    }
}

/// The number of components in each group.
fn groups(cases: &[Archived]) -> String {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        let group = case.outline().name.split('/').next().unwrap_or_default();
        *groups.entry(group).or_default() += 1;
    }
    let groups: Vec<String> = groups
        .iter()
        .map(|(group, count)| format!("{count} {group}"))
        .collect();
    groups.join(", ")
}
