//! The hostile collection through the library: everything is contained, the neighbour
//! is served meanwhile, and the memory of the process is what it was.
//!
//! Memory that a component took for a moment is free again, but the allocator of the
//! GNU C library gives back little of it: with some 16 pools of its own it grows for a
//! few rounds, and then no more. That is not what the host holds. So this program runs
//! with one pool ([`TIGHT`]), unless the environment says otherwise: with
//! `MALLOC_ARENA_MAX=16`, say, one sees that growth.
//!
//! ```sh
//! cargo run --release -p entail-tests --bin hostile -- --rounds 3
//! ```

#![allow(clippy::unwrap_used)] // whatever goes wrong here should end the program

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

/// The median of the neighbour may be so many times what it is undisturbed.
const MEDIAN: f64 = 2.0;

/// Memory may be so much more in the end, in percent.
const GROWTH: f64 = 5.0;

/// Settings by which the allocator gives back what is free.
const TIGHT: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

#[derive(Parser)]
#[command(about = "Activates each hostile component, next to a normal policy")]
struct Cli {
    /// How often, after once to warm up
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only those with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Not those that begin with this
    #[arg(long)]
    except: Vec<String>,
    /// Seconds for which the neighbour is undisturbed before each round
    #[arg(long, default_value_t = 5)]
    undisturbed: u64,
    /// Show each case
    #[arg(long)]
    verbose: bool,
    /// Only make the components, in this directory
    #[arg(long, hide = true)]
    make: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Components are compiled by this very program.
    if let Some(code) = entail::policy::run_compile_worker() {
        return code;
    }
    let cli = Cli::parse();
    if let Some(folder) = cli.make {
        archive::write(&collection(), &folder);
        return ExitCode::SUCCESS;
    }
    if TIGHT
        .iter()
        .all(|(name, _)| std::env::var_os(name).is_none())
    {
        let program = std::env::current_exe().unwrap();
        let arguments = std::env::args_os().skip(1);
        let failed = Command::new(program).args(arguments).envs(TIGHT).exec();
        println!("it could not start itself anew: {failed}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(show(&cli)) {
        0 => ExitCode::SUCCESS,
        wrong => {
            println!("{wrong} wrong");
            ExitCode::FAILURE
        }
    }
}

async fn show(cli: &Cli) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = made_in(folder.path());
    let looping = cases
        .iter()
        .find(|case| case.outline().name == "loop/in decide when evil")
        .unwrap()
        .read();
    cases.retain(|case| {
        let name = &case.outline().name;
        let is_left_out = cli.except.iter().any(|start| name.starts_with(start));
        name.contains(&cli.only) && !is_left_out
    });
    let groups = groups(&cases);
    println!("{} components: {groups}", cases.len());

    let mut host = Host::new(Sandbox::this_program()).await;
    let mut wrong = 0;
    let mut check = |what: &str, result: Result<(), String>| {
        if let Err(error) = result {
            println!("WRONG {what}: {error}");
            wrong += 1;
        }
    };

    println!("resident {} KiB", resident_kib());

    let mut warm = 0;
    for round in 0..=cli.rounds {
        // A machine is not equally fast all the time.
        let alone = host.neighbour();
        tokio::time::sleep(Duration::from_secs(cli.undisturbed)).await;
        let alone = alone.stop().await.unwrap();
        println!("the neighbour, undisturbed: {alone}");

        let started = Instant::now();
        let neighbour = host.neighbour();
        for case in &cases {
            let case = case.read();
            let came = host.run(&case).await;
            if cli.verbose {
                println!("{:>7.1?} {}: {came:?}", started.elapsed(), case.name);
            }
            let result = came.and_then(|cause| match case.expected.includes(cause) {
                true => Ok(()),
                false => Err(format!("{cause:?}, not {:?}", case.expected)),
            });
            check(&case.name, result);
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
        check("what comes after", host.recover().await);
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
    wrong
}

/// Has the components made by another process.
fn made_in(folder: &Path) -> Vec<Archived> {
    let maker = Command::new(std::env::current_exe().unwrap())
        .arg("--make")
        .arg(folder)
        .status();
    assert!(maker.unwrap().success(), "the components were not made");
    archive::open(folder)
}

fn neighbour_is_served(times: &Times, alone: &Times) -> Result<(), String> {
    let ratio = ratio(times.median(), alone.median());
    match ratio <= MEDIAN {
        true => Ok(()),
        false => Err(format!("{ratio:.1} times the undisturbed one")),
    }
}

/// How many there are of each kind.
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
